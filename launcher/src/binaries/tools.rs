//! Finds tools that only the checks run, and servers that tests start themselves: installed ones, or
//! fetched ones unpacked below the workspace's `.local`.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::ValueEnum;

use super::{
    Binaries, Binary, Env, debian, installed_are_ignored, is_executable, major, node, output,
    search_path,
};
use crate::builder::workspace_root;
use crate::data_dir::{DataDir, private_dir};
use crate::progress::Progress;
use crate::run_as::RunAs;
use crate::user_error::UserError;

const MIN_NODE_VERSION: u32 = 20;
/// Configuration of fontconfig, in the folder of unpacked packages that have fonts.
const FONTS_FILE: &str = "fonts.conf";

/// Debian packages that are fetched together.
struct Packages {
    /// Their folder under `.local/tools`.
    folder: &'static str,
    names: &'static [&'static str],
    /// What they are, for people.
    title: &'static str,
    /// How to install them.
    install: &'static str,
}

const PROMETHEUS: Packages = Packages {
    folder: "prometheus",
    names: &["prometheus"],
    title: "Prometheus and promtool",
    install: "Prometheus (on Debian as root: apt-get install -y prometheus)",
};
const CLIENTS: Packages = Packages {
    folder: "clients",
    names: &["curl", "openssl"],
    title: "curl and openssl",
    install: "curl and openssl (on Debian as root: apt-get install -y curl openssl)",
};
/// The fonts too, so that pages look alike everywhere.
const CHROMIUM: Packages = Packages {
    folder: "chromium",
    names: &["chromium-headless-shell", "fonts-dejavu-core"],
    title: "Chromium",
    install: "Chromium without a window (on Debian as root: apt-get install -y chromium-headless-shell)",
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Tool {
    /// Checks Prometheus alert rules.
    Promtool,
    /// Evaluates them during a drill.
    Prometheus,
    /// Node.js, 20 or newer.
    Node,
    /// The npm of that Node.js.
    Npm,
    /// Redis, 7 or newer.
    RedisServer,
    /// Its client, for commands of runbooks.
    RedisCli,
    /// The client of Postgres, for commands of runbooks.
    Psql,
    /// Sends HTTP requests, for commands of runbooks.
    Curl,
    /// Shows certificates, for commands of runbooks.
    Openssl,
    /// Shows the drills' report in tests.
    Chromium,
}

/// Returns the path of an executable that runs as it is, fetching it if it is missing.
pub async fn find(tool: Tool, progress: &Progress) -> anyhow::Result<PathBuf> {
    match tool {
        Tool::Promtool => PROMETHEUS.find("promtool", progress).await,
        Tool::Prometheus => PROMETHEUS.find("prometheus", progress).await,
        Tool::Node => Ok(node(progress).await?.node),
        Tool::Npm => Ok(node(progress).await?.npm),
        Tool::RedisServer => runnable("redis-server", &servers(progress).await?.redis),
        Tool::RedisCli => {
            let server = servers(progress).await?.redis;
            let path = server.path.with_file_name("redis-cli");
            runnable("redis-cli", &Binary { path, ..server })
        }
        Tool::Psql => {
            let server = servers(progress).await?.postgres;
            let path = server.path.join("psql");
            runnable("psql", &Binary { path, ..server })
        }
        Tool::Curl => CLIENTS.find("curl", progress).await,
        Tool::Openssl => CLIENTS.find("openssl", progress).await,
        Tool::Chromium => CHROMIUM.find("chromium-headless-shell", progress).await,
    }
}

async fn servers(progress: &Progress) -> anyhow::Result<Binaries> {
    let user = RunAs::choose()?;
    Binaries::find(user.as_ref(), progress).await
}

impl Packages {
    /// Finds one of their programs.
    async fn find(&self, name: &'static str, progress: &Progress) -> anyhow::Result<PathBuf> {
        for folder in installed_folders() {
            if let Some(found) = runs_in(&folder, name, Env::new()).await {
                return Ok(found.path);
            }
        }
        let folder = data_folder()?;
        let root = folder.dir("tools")?.join(self.folder).join("root");
        private_dir(&folder.join("tools").join(self.folder))?;
        let _fetching = folder.wait_for(&format!("{}.lock", self.folder)).await?;
        if let Some(found) = fetched(&root, name).await {
            return runnable(name, &found);
        }
        let missing = |why: &anyhow::Error| UserError::ToolMissing {
            name,
            why: format!("{why:#}"),
            install: self.install,
        };
        let title = self.title;
        let step = progress.step(format!("Fetching {title} from Debian's packages, once"));
        let fetching = debian::fetch(&root, self.names).await;
        fetching.and_then(|()| write_fonts_file(&root)).map_err(|error| missing(&error))?;
        let found = fetched(&root, name).await;
        let found = found.with_context(|| format!("the fetched {name} does not run here"));
        let found = found.map_err(|error| missing(&error))?;
        step.done(format!("Fetched {title} into .local (nothing was installed)"));
        runnable(name, &found)
    }
}

/// Finds a program of unpacked packages. Those of Chromium in `usr/bin` start an installed one.
async fn fetched(root: &Path, name: &str) -> Option<Binary> {
    let mut env = debian::environment(root);
    let fonts = root.join(FONTS_FILE);
    if fonts.is_file() {
        env.push(("FONTCONFIG_FILE".to_owned(), fonts.into_os_string()));
    }
    for folder in ["usr/lib/chromium", "usr/bin"] {
        if let Some(found) = runs_in(&root.join(folder), name, env.clone()).await {
            return Some(found);
        }
    }
    None
}

/// Writes where fontconfig finds the unpacked fonts, and no others.
fn write_fonts_file(root: &Path) -> anyhow::Result<()> {
    let fonts = root.join("usr/share/fonts");
    if !fonts.is_dir() {
        return Ok(());
    }
    let (fonts, cache) = (fonts.display(), root.join("fonts-cache"));
    let text = format!(
        "<?xml version=\"1.0\"?>\n<!DOCTYPE fontconfig SYSTEM \"fonts.dtd\">\n\
         <fontconfig><dir>{fonts}</dir><cachedir>{}</cachedir></fontconfig>\n",
        cache.display()
    );
    Ok(fs::write(root.join(FONTS_FILE), text)?)
}

async fn runs_in(folder: &Path, name: &str, env: Env) -> Option<Binary> {
    let path = folder.join(name);
    let argument = if name == "openssl" { "version" } else { "--version" };
    let version = output(&path, argument, &env).await?;
    Some(Binary { path, version, env })
}

async fn node(progress: &Progress) -> anyhow::Result<node::Node> {
    if let Some(found) = installed_node().await {
        return Ok(found);
    }
    let folder = data_folder()?;
    let _fetching = folder.wait_for("node.lock").await?;
    if let Some(found) = fetched_node(&folder).await {
        return Ok(found);
    }
    let missing = |why: &anyhow::Error| {
        let install = "Node.js 20 or newer with npm";
        UserError::ToolMissing { name: "Node.js", why: format!("{why:#}"), install }
    };
    let step = progress.step("Fetching Node.js, once");
    node::fetch(&folder).await.map_err(|error| missing(&error))?;
    let found = fetched_node(&folder).await.context("the fetched Node.js does not run here");
    let found = found.map_err(|error| missing(&error))?;
    step.done("Fetched Node.js into .local (nothing was installed)");
    Ok(found)
}

/// Returns the first Node.js and the first npm on PATH; npm runs with that Node.js.
async fn installed_node() -> Option<node::Node> {
    let folders = installed_folders();
    let first = |name: &str| {
        let mut paths = folders.iter().map(|folder| folder.join(name));
        paths.find(|path| is_executable(path))
    };
    let found = node::Node { node: first("node")?, npm: first("npm")? };
    runs_and_is_new(&found.node).await.then_some(found)
}

async fn fetched_node(folder: &DataDir) -> Option<node::Node> {
    let found = node::fetched(folder)?;
    runs_and_is_new(&found.node).await.then_some(found)
}

/// Whether `node --version`, such as "v22.20.0", is new enough.
async fn runs_and_is_new(node: &Path) -> bool {
    let version = output(node, "--version", &Env::new()).await;
    version.is_some_and(|text| major(text.trim().trim_start_matches('v')) >= MIN_NODE_VERSION)
}

fn installed_folders() -> Vec<PathBuf> {
    if installed_are_ignored() { vec![] } else { search_path() }
}

fn data_folder() -> anyhow::Result<DataDir> {
    DataDir::open(&workspace_root().join(".local"))
}

/// Returns the program itself, or for an unpacked one a script that sets its environment and execs it.
fn runnable(name: &str, program: &Binary) -> anyhow::Result<PathBuf> {
    if program.env.is_empty() {
        return Ok(program.path.clone());
    }
    let folder = data_folder()?.join("tools/bin");
    private_dir(&folder)?;
    let (script, draft) =
        (folder.join(name), folder.join(format!("{name}.{}", std::process::id())));
    let values = program
        .env
        .iter()
        .map(|(name, value)| format!("export {name}='{}'\n", value.to_string_lossy()));
    let values: String = values.collect();
    fs::write(&draft, format!("#!/bin/sh\n{values}exec '{}' \"$@\"\n", program.path.display()))?;
    fs::set_permissions(&draft, Permissions::from_mode(0o755))?;
    fs::rename(&draft, &script)?;
    Ok(script)
}
