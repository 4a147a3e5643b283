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
/// Debian package of Prometheus and promtool.
const PROMETHEUS_PACKAGE: &str = "prometheus";

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
}

/// Returns the path of an executable that runs as it is, fetching it if it is missing.
pub async fn find(tool: Tool, progress: &Progress) -> anyhow::Result<PathBuf> {
    match tool {
        Tool::Promtool => of_prometheus("promtool", progress).await,
        Tool::Prometheus => of_prometheus("prometheus", progress).await,
        Tool::Node => Ok(node(progress).await?.node),
        Tool::Npm => Ok(node(progress).await?.npm),
        Tool::RedisServer => {
            let user = RunAs::choose()?;
            let programs = Binaries::find(user.as_ref(), progress).await?;
            runnable("redis-server", &programs.redis)
        }
    }
}

/// Finds a program of Debian's package prometheus.
async fn of_prometheus(name: &'static str, progress: &Progress) -> anyhow::Result<PathBuf> {
    for folder in installed_folders() {
        if let Some(found) = runs_in(&folder, name).await {
            return Ok(found);
        }
    }
    let folder = data_folder()?;
    let root = folder.dir("tools/prometheus")?.join("root");
    let _fetching = folder.wait_for("prometheus.lock").await?;
    if let Some(found) = runs_in(&root.join("usr/bin"), name).await {
        return Ok(found);
    }
    let missing = |why: &anyhow::Error| {
        let install = "Prometheus (on Debian as root: apt-get install -y prometheus)";
        UserError::ToolMissing { name, why: format!("{why:#}"), install }
    };
    let step = progress.step("Fetching Prometheus and promtool from Debian's packages, once");
    debian::fetch(&root, &[PROMETHEUS_PACKAGE]).await.map_err(|error| missing(&error))?;
    let found = runs_in(&root.join("usr/bin"), name).await;
    let found = found.with_context(|| format!("the fetched {name} does not run here"));
    let found = found.map_err(|error| missing(&error))?;
    step.done("Fetched Prometheus and promtool into .local (nothing was installed)");
    Ok(found)
}

async fn runs_in(folder: &Path, name: &str) -> Option<PathBuf> {
    let path = folder.join(name);
    output(&path, "--version", &Env::new()).await.map(|_| path)
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
