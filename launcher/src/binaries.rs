//! Finds Postgres (15 or newer, with btree_gist) and Redis (7 or newer): installed ones, or Debian
//! packages unpacked into the data folder without installing them.
//!
//! `tools` finds what only the checks need. `MELMASTOON_IGNORE_INSTALLED=true` ignores installed
//! programs.
//!
//! Not here: running servers, which are never used or touched.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use tokio::process::Command;

use crate::builder::workspace_root;
use crate::data_dir::DataDir;
use crate::progress::Progress;
use crate::run_as::{RunAs, owned_dir};
use crate::user_error::UserError;

mod debian;
mod dpkg_status;
mod node;
pub mod tools;

/// `true` makes the launcher fetch every program, even if it is installed.
pub(crate) const IGNORE_INSTALLED_VAR: &str = "MELMASTOON_IGNORE_INSTALLED";
const MIN_POSTGRES_VERSION: u32 = 15;
const MIN_REDIS_VERSION: u32 = 7;
/// Debian package names.
const POSTGRES_PACKAGE: &str = "postgresql";
const REDIS_PACKAGE: &str = "redis-server";

/// An executable that was found to run, with its environment.
#[derive(Debug, Clone)]
pub struct Binary {
    /// The file, or for Postgres the folder of `postgres` and `initdb`.
    pub path: PathBuf,
    pub version: String,
    /// `LD_LIBRARY_PATH` for unpacked packages.
    pub env: Env,
}

type Env = Vec<(String, OsString)>;

#[derive(Debug, Clone)]
pub struct Binaries {
    pub postgres: Binary,
    pub redis: Binary,
}

impl Binaries {
    /// Finds both, fetching what is missing into the workspace's `.local`, which all stacks of this
    /// clone share.
    pub async fn find(user: Option<&RunAs>, progress: &Progress) -> anyhow::Result<Self> {
        let (postgres, redis) = installed().await;
        if let (Some(postgres), Some(redis)) = (&postgres, &redis) {
            return Ok(Self { postgres: postgres.clone(), redis: redis.clone() });
        }
        let folder = DataDir::open(&workspace_root().join(".local"))?;
        let root = owned_dir(&folder, "debian", user)?.join("root");
        // Another launcher of this clone may be fetching them.
        let _fetching = folder.wait_for("fetch.lock").await?;
        if let Some(found) = with_unpacked(&root, postgres.as_ref(), redis.as_ref()).await {
            return Ok(found);
        }
        let wanted = [
            postgres.is_none().then_some(POSTGRES_PACKAGE),
            redis.is_none().then_some(REDIS_PACKAGE),
        ];
        let wanted: Vec<&str> = wanted.into_iter().flatten().collect();
        let step = progress.step("Fetching Debian packages of Postgres and Redis, once");
        debian::fetch(&root, &wanted).await.map_err(|error| missing(&wanted, &error))?;
        let found = with_unpacked(&root, postgres.as_ref(), redis.as_ref()).await;
        let found = found.context("the fetched programs do not run here");
        let found = found.map_err(|error| missing(&wanted, &error))?;
        step.done(format!("Fetched {} into .local (nothing was installed)", wanted.join(" and ")));
        Ok(found)
    }
}

async fn installed() -> (Option<Binary>, Option<Binary>) {
    if installed_are_ignored() {
        return (None, None);
    }
    let folders = search_path().into_iter().chain(debian_bins(Path::new("/")));
    (postgres_in(folders, Env::new()).await, redis_in(search_path(), Env::new()).await)
}

#[expect(clippy::disallowed_methods, reason = "a setting of how programs are found, like PATH")]
fn installed_are_ignored() -> bool {
    std::env::var(IGNORE_INSTALLED_VAR).is_ok_and(|value| value == "true")
}

/// The installed programs, completed by those unpacked under `root`.
async fn with_unpacked(
    root: &Path,
    postgres: Option<&Binary>,
    redis: Option<&Binary>,
) -> Option<Binaries> {
    let env = debian::environment(root);
    let postgres = match postgres {
        Some(installed) => installed.clone(),
        None => postgres_in(debian_bins(root), env.clone()).await?,
    };
    let redis = match redis {
        Some(installed) => installed.clone(),
        None => redis_in([root.join("usr/bin")], env).await?,
    };
    Some(Binaries { postgres, redis })
}

fn missing(wanted: &[&str], error: &anyhow::Error) -> anyhow::Error {
    let packages = wanted.join(" ");
    UserError::ProgramMissing { packages, why: format!("{error:#}") }.into()
}

#[expect(clippy::disallowed_methods, reason = "PATH is how programs are found")]
fn search_path() -> Vec<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    // Debian keeps servers in folders that are not on an ordinary user's PATH.
    std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/bin".into()]).collect()
}

/// Debian's Postgres `bin` folders under `root`, newest first.
fn debian_bins(root: &Path) -> Vec<PathBuf> {
    let Ok(entries) = root.join("usr/lib/postgresql").read_dir() else { return vec![] };
    let mut versions: Vec<PathBuf> = entries.flatten().map(|e| e.path().join("bin")).collect();
    versions.sort();
    versions.reverse();
    versions
}

async fn redis_in(folders: impl IntoIterator<Item = PathBuf>, env: Env) -> Option<Binary> {
    for path in folders.into_iter().map(|folder| folder.join("redis-server")) {
        // "Redis server v=7.0.15 sha=…"
        let Some(answer) = output(&path, "--version", &env).await else { continue };
        let version = answer.split_whitespace().find_map(|word| word.strip_prefix("v="));
        if let Some(version) = version.filter(|text| major(text) >= MIN_REDIS_VERSION) {
            return Some(Binary { path, version: version.to_owned(), env });
        }
    }
    None
}

async fn postgres_in(folders: impl IntoIterator<Item = PathBuf>, env: Env) -> Option<Binary> {
    for folder in folders {
        // A link on PATH resolves to the folder that also has initdb.
        let Ok(program) = folder.join("postgres").canonicalize() else { continue };
        let Some(path) = program.parent().map(Path::to_owned) else { continue };
        // "postgres (PostgreSQL) 15.12 (Debian …)"
        let Some(answer) = output(&program, "--version", &env).await else { continue };
        let version = answer.split_whitespace().nth(2).unwrap_or_default().to_owned();
        if major(&version) >= MIN_POSTGRES_VERSION
            && is_executable(&path.join("initdb"))
            && has_btree_gist(&path)
        {
            return Some(Binary { path, version, env });
        }
    }
    None
}

/// Packages and manual builds keep extensions in different folders.
fn has_btree_gist(bin: &Path) -> bool {
    let version = bin.parent().and_then(Path::file_name).unwrap_or_default();
    [
        bin.join("../share/extension"),
        bin.join("../share/postgresql/extension"),
        bin.join("../../../../share/postgresql").join(version).join("extension"),
    ]
    .iter()
    .any(|folder| folder.join("btree_gist.control").is_file())
}

fn is_executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

async fn output(program: &Path, arg: &str, env: &Env) -> Option<String> {
    if !is_executable(program) {
        return None;
    }
    let mut command = Command::new(program);
    command.arg(arg).envs(env.iter().map(|(name, value)| (name, value)));
    let output = command.output().await.ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

fn major(version: &str) -> u32 {
    let digits: String = version.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_their_first_number() {
        assert_eq!(major("15.12"), 15);
        assert_eq!(major("17beta1"), 17);
        assert_eq!(major("none"), 0);
    }
}
