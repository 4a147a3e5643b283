//! Fetches Debian packages without installing them: apt resolves and downloads into private folders,
//! which needs no root, and dpkg-deb unpacks.
//!
//! The machine is not changed: apt's and dpkg's own state is only read. `dpkg_status` builds the list
//! of installed packages that apt sees.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, bail};
use tokio::process::Command;

use super::Env;
use super::dpkg_status;
use crate::data_dir::private_dir;
use crate::run_as::remove_any;

/// Packages that the programs never load: the JIT compiler (switched off), wrapper scripts, and
/// Prometheus' web page. Prefixes of package names.
const UNNEEDED_PACKAGES: [&str; 15] = [
    "fonts-",
    "javascript-common",
    "libjs-",
    "libllvm",
    "perl",
    "libperl",
    "postgresql-common",
    "postgresql-client-common",
    "ssl-cert",
    "openssl",
    "libjson-perl",
    "libjson-xs-perl",
    "libcommon-sense-perl",
    "libtypes-serialiser-perl",
    "lsb-release",
];

const DPKG_STATUS: &str = "/var/lib/dpkg/status";
/// Prefers the distribution's packages to those of other vendors, whose layout differs.
const APT_PREFERENCES: &str = "Package: *\nPin: release o=Debian\nPin-Priority: 990\n\n\
                           Package: *\nPin: release o=Ubuntu\nPin-Priority: 990\n";

/// Environment with which a program unpacked under `root` finds its libraries.
pub(super) fn environment(root: &Path) -> Env {
    let mut folders = Vec::new();
    for top in ["usr/lib", "lib"] {
        let Ok(entries) = root.join(top).read_dir() else { continue };
        // Debian's multiarch folders: x86_64-linux-gnu, aarch64-linux-gnu.
        let multiarch = entries.flatten().map(|entry| entry.path());
        folders.extend(multiarch.filter(|path| path.to_string_lossy().ends_with("-linux-gnu")));
    }
    // libpulse looks for its private library at a fixed path.
    let private: Vec<PathBuf> = folders.iter().map(|folder| folder.join("pulseaudio")).collect();
    folders.extend(private.into_iter().filter(|folder| folder.is_dir()));
    let joined = std::env::join_paths(&folders).unwrap_or_default();
    let path = if joined.is_empty() { root.join("usr/lib").into_os_string() } else { joined };
    vec![("LD_LIBRARY_PATH".to_owned(), path)]
}

/// Resolves, downloads and unpacks into `root`, which is created only once it is complete.
pub(super) async fn fetch(root: &Path, wanted: &[&str]) -> anyhow::Result<()> {
    let work = root.with_file_name("work");
    remove_any(&work)?;
    let apt = Apt::prepare(&work)?;
    apt.run("apt-get", &["update"]).await?;
    let names = apt.resolve(wanted).await?;
    let packages: Vec<&str> = names.iter().map(String::as_str).collect();
    apt.run("apt-get", &[&["download"], packages.as_slice()].concat()).await?;
    let fresh = work.join("root");
    private_dir(&fresh)?;
    for entry in fs::read_dir(&apt.debs)?.flatten() {
        unpack(&entry.path(), &fresh).await?;
    }
    remove_any(root)?;
    // The user who runs the servers reads the unpacked packages.
    fs::set_permissions(&fresh, fs::Permissions::from_mode(0o755))?;
    fs::rename(&fresh, root)?;
    remove_any(&work)
}

struct Apt {
    /// Where packages are downloaded.
    debs: PathBuf,
    config: PathBuf,
}

impl Apt {
    fn prepare(work: &Path) -> anyhow::Result<Self> {
        for folder in ["state/lists/partial", "cache/archives/partial", "debs"] {
            private_dir(&work.join(folder))?;
        }
        let installed = fs::read_to_string(DPKG_STATUS).context("reading dpkg's status")?;
        fs::write(work.join("status"), dpkg_status::without_fetched_packages(&installed))?;
        fs::write(work.join("preferences"), APT_PREFERENCES)?;
        let config = work.join("apt.conf");
        fs::write(&config, apt_config(work))?;
        Ok(Self { debs: work.join("debs"), config })
    }

    /// Returns the packages that are needed and not installed.
    async fn resolve(&self, wanted: &[&str]) -> anyhow::Result<Vec<String>> {
        let install = ["install", "--simulate", "--no-install-recommends"];
        let plan = self.run("apt-get", &[&install, wanted].concat()).await?;
        let names = planned(&plan, wanted);
        if names.is_empty() {
            bail!("apt-get found nothing to fetch");
        }
        Ok(names)
    }

    async fn run(&self, program: &str, arguments: &[&str]) -> anyhow::Result<String> {
        let output = Command::new(program)
            .arg("-c")
            .arg(&self.config)
            .args(arguments)
            .env("LC_ALL", "C")
            .env("DEBIAN_FRONTEND", "noninteractive")
            .current_dir(&self.debs)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .with_context(|| format!("running {program}"))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let line =
                said.lines().find(|line| line.starts_with("E:")).unwrap_or("no reason given");
            bail!("{program} {}: {}", arguments[0], line.trim_start_matches("E: "));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// apt configuration with private state, cache and package list.
fn apt_config(work: &Path) -> String {
    let work = work.display();
    format!(
        "#clear APT::Update::Post-Invoke;\n\
         #clear APT::Update::Post-Invoke-Success;\n\
         #clear DPkg::Post-Invoke;\n\
         #clear DPkg::Pre-Install-Pkgs;\n\
         Dir::State \"{work}/state\";\n\
         Dir::State::lists \"{work}/state/lists\";\n\
         Dir::State::status \"{work}/status\";\n\
         Dir::Etc::preferences \"{work}/preferences\";\n\
         Dir::Cache \"{work}/cache\";\n\
         Debug::NoLocking \"1\";\n\
         APT::Sandbox::User \"\";\n\
         Acquire::Languages \"none\";\n\
         Acquire::Retries \"3\";\n"
    )
}

/// Package names of the "Inst <name> …" lines, without unneeded ones that are not wanted themselves.
fn planned(plan: &str, wanted: &[&str]) -> Vec<String> {
    let is_unneeded = |name: &str| UNNEEDED_PACKAGES.iter().any(|prefix| name.starts_with(prefix));
    plan.lines()
        .filter_map(|line| line.strip_prefix("Inst "))
        .filter_map(|rest| rest.split_whitespace().next())
        .filter(|name| wanted.contains(name) || !is_unneeded(name))
        .map(str::to_owned)
        .collect()
}

async fn unpack(package: &Path, into: &Path) -> anyhow::Result<()> {
    let status = Command::new("dpkg-deb")
        .arg("-x")
        .args([package, into])
        .stdin(Stdio::null())
        .status()
        .await
        .context("running dpkg-deb")?;
    if !status.success() {
        bail!("dpkg-deb could not unpack {}", package.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plan_leaves_out_what_servers_never_load() {
        let plan = "Reading package lists...\nInst libpq5 (15.12 Debian [amd64])\n\
                    Inst libllvm14 (1:14 Debian [amd64])\nInst postgresql-15 (15.12 Debian)\n\
                    Inst openssl (3.0 Debian)\nConf libpq5 (15.12)\n";
        assert_eq!(planned(plan, &["postgresql"]), ["libpq5", "postgresql-15"]);
        assert_eq!(planned(plan, &["openssl"]), ["libpq5", "postgresql-15", "openssl"]);
    }
}
