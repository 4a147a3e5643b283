//! Builds the workspace's servers with cargo and finds their executables.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, bail};
use serde_json::Value;
use tokio::process::Command;
use tokio::sync::OnceCell;

use crate::data_dir::DataDir;
use crate::run_as::remove_any;
use crate::user_error::UserError;

/// Servers with a `<name>-sabotaged` executable, whose safeguards can be switched off.
pub const SABOTAGED: [&str; 2] = ["bff", "housekeeping"];
/// Package and executable have the same name.
pub const SERVERS: [&str; 5] = ["bff", "inventory", "housekeeping", "staff", "stand-ins"];

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Build {
    /// cargo's dev profile.
    #[default]
    Dev,
    /// cargo's release profile, for measurements.
    Release,
    /// The dev profile, with servers whose safeguards can be switched off, for drills.
    Sabotage,
    /// Already built, in this folder.
    Done { folder: PathBuf },
}

impl Build {
    /// The folder of the running executable, where `cargo build` put all of them.
    pub fn beside_this_program() -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("finding this program")?;
        let folder = program.parent().context("a program is in a folder")?.to_owned();
        Ok(Self::Done { folder })
    }
}

/// The root of the workspace this launcher was built from.
pub fn workspace_root() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package)
}

/// What cargo built for this process, which asks it once.
static DEV: OnceCell<BTreeMap<String, PathBuf>> = OnceCell::const_new();
static RELEASE: OnceCell<BTreeMap<String, PathBuf>> = OnceCell::const_new();
static SABOTAGE: OnceCell<BTreeMap<String, PathBuf>> = OnceCell::const_new();

/// Returns the path of each server's executable, building it if necessary. cargo shows its own
/// progress.
pub async fn programs(build: &Build) -> anyhow::Result<BTreeMap<String, PathBuf>> {
    let found = match build {
        Build::Done { folder } => {
            SERVERS.iter().map(|name| ((*name).to_owned(), folder.join(name))).collect()
        }
        Build::Dev => dev().await?,
        Build::Sabotage => SABOTAGE.get_or_try_init(sabotaged).await?.clone(),
        Build::Release => RELEASE.get_or_try_init(|| cargo_build(&["--release"])).await?.clone(),
    };
    for name in SERVERS {
        if !found.get(name).is_some_and(|path| path.is_file()) {
            bail!("{name} is not built: run ./up, which builds it.");
        }
    }
    Ok(found)
}

/// Links the launcher in a data folder, where `./desk` looks for it.
pub fn link_launcher(folder: &Path, program: &Path) -> anyhow::Result<()> {
    let link = DataDir::open(folder)?.join("launcher");
    if std::fs::read_link(&link).ok().as_deref() != Some(program) {
        remove_any(&link)?;
        std::os::unix::fs::symlink(program, &link)?;
    }
    Ok(())
}

async fn dev() -> anyhow::Result<BTreeMap<String, PathBuf>> {
    Ok(DEV.get_or_try_init(|| cargo_build(&[])).await?.clone())
}

/// Builds all servers, then the sabotaged ones one by one: packages built together would share
/// the `sabotage` feature.
async fn sabotaged() -> anyhow::Result<BTreeMap<String, PathBuf>> {
    let mut found = dev().await?;
    for server in SABOTAGED {
        let name = format!("{server}-sabotaged");
        let arguments = ["build", "--package", server, "--features", "sabotage", "--bin", &name];
        let programs = run_cargo(&arguments).await?;
        let program = programs.get(&name).with_context(|| format!("cargo built no {name}"))?;
        found.insert(server.to_owned(), program.clone());
    }
    Ok(found)
}

async fn cargo_build(more: &[&str]) -> anyhow::Result<BTreeMap<String, PathBuf>> {
    let mut arguments = vec!["build"];
    arguments.extend(more);
    // The launcher too, as in `./up`: the packages built together decide the features of their
    // dependencies, and other features would mean another build.
    for name in SERVERS.into_iter().chain(["launcher"]) {
        arguments.extend(["--package", name, "--bin", name]);
    }
    run_cargo(&arguments).await
}

async fn run_cargo(arguments: &[&str]) -> anyhow::Result<BTreeMap<String, PathBuf>> {
    let output = Command::new("cargo")
        .args(arguments)
        .arg("--message-format=json-render-diagnostics")
        .current_dir(workspace_root())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        // Not `output`, which would capture cargo's messages on standard error.
        .spawn()
        .context("running cargo")?
        .wait_with_output()
        .await
        .context("waiting for cargo")?;
    if !output.status.success() {
        return Err(UserError::BuildFailed.into());
    }
    Ok(executables(&String::from_utf8_lossy(&output.stdout)))
}

/// Reads the lines of `--message-format=json` that name an executable.
fn executables(messages: &str) -> BTreeMap<String, PathBuf> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let named = messages.filter_map(|message| {
        let name = message["target"]["name"].as_str()?.to_owned();
        Some((name, message["executable"].as_str()?.into()))
    });
    named.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_read_from_cargos_messages() {
        let messages = concat!(
            r#"{"reason":"compiler-artifact","target":{"name":"bff"},"executable":"/t/bff"}"#,
            "\n",
            r#"{"reason":"compiler-artifact","target":{"name":"auth"},"executable":null}"#,
            "\n",
            r#"{"reason":"build-finished","success":true}"#,
        );
        let found = executables(messages);
        assert_eq!(found, BTreeMap::from([("bff".to_owned(), PathBuf::from("/t/bff"))]));
    }
}
