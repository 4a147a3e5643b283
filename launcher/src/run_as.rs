//! The user that runs Postgres and Redis. Postgres refuses to run as root, so root starts both as an
//! ordinary user, in folders that this user owns and can reach.
//!
//! Not here: our own servers, which run as the launcher's user.

use std::fs::{self, Permissions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use crate::data_dir::{DataDir, private_dir};

/// An ordinary user that root can become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunAs {
    uid: u32,
    gid: u32,
}

impl RunAs {
    /// `None` when the launcher does not run as root.
    pub fn choose() -> anyhow::Result<Option<Self>> {
        if !rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        let passwd = fs::read_to_string("/etc/passwd").context("reading /etc/passwd")?;
        ["postgres", "nobody"]
            .iter()
            .find_map(|name| find_user(&passwd, name))
            .map(Some)
            .context("There is no user postgres or nobody: run ./up as an ordinary user.")
    }

    /// Arguments of `setpriv` that become this user.
    pub fn setpriv_args(&self) -> Vec<String> {
        vec![
            format!("--reuid={}", self.uid),
            format!("--regid={}", self.gid),
            "--clear-groups".to_owned(),
        ]
    }

    fn can_enter(&self, folder: &Path) -> bool {
        Command::new("setpriv")
            .args(self.setpriv_args())
            .args(["--", "test", "-x"])
            .arg(folder)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    }
}

fn find_user(passwd: &str, name: &str) -> Option<RunAs> {
    let fields = passwd
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields.len() > 3 && fields[0] == name)?;
    Some(RunAs { uid: fields[2].parse().ok()?, gid: fields[3].parse().ok()? })
}

/// Creates the subfolder `name`, owned by `user`. If that user cannot reach the data folder (a clone
/// under /root), the real folder is a private one under /var/tmp and the subfolder is a link to it.
pub fn owned_dir(folder: &DataDir, name: &str, user: Option<&RunAs>) -> anyhow::Result<PathBuf> {
    let path = folder.join(name);
    let Some(user) = user else { return folder.dir(name) };
    // Others may traverse `.local` but not list it.
    fs::set_permissions(folder.root(), Permissions::from_mode(0o711))?;
    if user.can_enter(folder.root()) {
        private_dir(&path)?;
        chown(&path, Some(user.uid), Some(user.gid))?;
        return Ok(path);
    }
    dir_outside(folder, name, &path, user)
}

/// Makes `user` the owner of a file.
pub fn give_to(user: Option<&RunAs>, path: &Path) -> anyhow::Result<()> {
    let Some(user) = user else { return Ok(()) };
    chown(path, Some(user.uid), Some(user.gid))
        .with_context(|| format!("giving {} to another user", path.display()))
}

fn dir_outside(folder: &DataDir, name: &str, link: &Path, user: &RunAs) -> anyhow::Result<PathBuf> {
    let outside = outside_root(folder, user)?;
    let real = outside.join(name);
    if fs::read_link(link).ok().as_deref() != Some(&real) {
        // Without its link the folder is left over from a removed data folder.
        remove_any(&real)?;
        remove_any(link)?;
        symlink(&real, link)?;
    }
    private_dir(&real)?;
    chown(&real, Some(user.uid), Some(user.gid))?;
    Ok(real)
}

/// `/var/tmp/melmastoon-<hash of the data folder's path>`, owned by root.
fn outside_root(folder: &DataDir, user: &RunAs) -> anyhow::Result<PathBuf> {
    let mut hasher = DefaultHasher::new();
    folder.root().hash(&mut hasher);
    let path = PathBuf::from(format!("/var/tmp/melmastoon-{:016x}", hasher.finish()));
    private_dir(&path)?;
    let meta = fs::symlink_metadata(&path)?;
    if !meta.is_dir() || meta.uid() != 0 {
        bail!("{} belongs to another user: remove it and start again.", path.display());
    }
    chown(&path, None, Some(user.gid))?;
    fs::set_permissions(&path, Permissions::from_mode(0o710))?;
    Ok(path)
}

/// Removes a file, link or folder, if it exists.
pub fn remove_any(path: &Path) -> anyhow::Result<()> {
    let Ok(meta) = fs::symlink_metadata(path) else { return Ok(()) };
    let removed = if meta.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    removed.with_context(|| format!("removing {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_read_from_passwd() {
        let passwd = "root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n";
        assert_eq!(find_user(passwd, "nobody"), Some(RunAs { uid: 65534, gid: 65534 }));
        assert_eq!(find_user(passwd, "postgres"), None);
    }
}
