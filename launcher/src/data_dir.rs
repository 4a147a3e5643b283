//! The data folder (`.local` by default), which holds everything the launcher creates, and the lock
//! that allows one launcher at a time.
//!
//! Not here: the contents of the files.

use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::user_error::UserError;

/// Free space below which a start is refused, MiB: a new database with its log
/// takes about 100.
const MIN_FREE_MIB: u64 = 300;

/// Names the data folder.
pub(crate) const LOCAL_VAR: &str = "MELMASTOON_LOCAL";

#[derive(Debug, Clone)]
pub struct DataDir(PathBuf);

/// Held while a launcher uses the folder. The kernel releases it when the process ends.
#[derive(Debug)]
pub struct DataDirLock {
    #[expect(dead_code, reason = "held, never read")]
    file: File,
    stack_file: PathBuf,
}

impl Drop for DataDirLock {
    fn drop(&mut self) {
        // A stack that was dropped without `stop` must not leave its stack.json.
        let _ = fs::remove_file(&self.stack_file);
    }
}

impl DataDir {
    /// Opens the folder, creating it if it is missing.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        private_dir(path)?;
        let root = path.canonicalize().with_context(|| format!("opening {}", path.display()))?;
        let user = rustix::process::geteuid();
        if !user.is_root() && fs::metadata(&root)?.uid() != user.as_raw() {
            return Err(UserError::NotOurDataDir { folder: root }.into());
        }
        Ok(Self(root))
    }

    pub fn root(&self) -> &Path {
        &self.0
    }

    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.join(name)
    }

    pub fn stack_file(&self) -> PathBuf {
        self.join("stack.json")
    }

    pub fn log(&self, name: &str) -> PathBuf {
        self.join("logs").join(format!("{name}.log"))
    }

    /// Returns a private subfolder, creating it if it is missing.
    pub fn dir(&self, name: &str) -> anyhow::Result<PathBuf> {
        let path = self.join(name);
        private_dir(&path)?;
        Ok(path)
    }

    /// Fails with [`UserError::AlreadyUp`] when another launcher uses the folder.
    pub fn lock(&self) -> anyhow::Result<DataDirLock> {
        let mut file = open_lock(&self.join("launcher.lock"))?;
        match file.try_lock() {
            Ok(()) => {
                file.set_len(0)?;
                write!(file, "{}", std::process::id())?;
                Ok(DataDirLock { file, stack_file: self.stack_file() })
            }
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                // Without the pid the message is still useful.
                let _ = file.read_to_string(&mut pid);
                Err(UserError::AlreadyUp { folder: self.0.clone(), pid }.into())
            }
            Err(TryLockError::Error(error)) => Err(error.into()),
        }
    }

    /// Acquires the lock `name`, waiting while another launcher holds it.
    pub async fn wait_for(&self, name: &str) -> anyhow::Result<File> {
        let file = open_lock(&self.join(name))?;
        let locked = tokio::task::spawn_blocking(move || file.lock().map(|()| file));
        Ok(locked.await??)
    }

    /// Fails with [`UserError::DiskNearlyFull`] when a start would fill the disk.
    pub fn require_space(&self) -> anyhow::Result<()> {
        let stat = rustix::fs::statvfs(&self.0)?;
        let free_mib = stat.f_bavail * stat.f_frsize / (1024 * 1024);
        if free_mib < MIN_FREE_MIB {
            let folder = self.0.clone();
            return Err(
                UserError::DiskNearlyFull { folder, free_mib, needed_mib: MIN_FREE_MIB }.into()
            );
        }
        Ok(())
    }
}

fn open_lock(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).read(true).write(true).mode(0o600).open(path)
}

/// Creates a folder that only its owner can enter.
pub fn private_dir(path: &Path) -> anyhow::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(path).with_context(|| format!("making the folder {}", path.display()))?;
    fs::set_permissions(path, Permissions::from_mode(0o700))?;
    Ok(())
}

/// Writes a file that only its owner can read. Readers see the old or the new content, never a
/// part.
pub fn write_private(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    let parent = path.parent().context("a file has a folder")?;
    private_dir(parent)?;
    let draft = path.with_extension("draft");
    let result = write_draft(&draft, content).and_then(|()| fs::rename(&draft, path));
    result.with_context(|| format!("writing {}", path.display()))
}

/// Reads a JSON file; `None` if it is missing or has another form.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// Writes a JSON file that only its owner can read.
pub(crate) fn write_json(path: &Path, content: &impl Serialize) -> anyhow::Result<()> {
    write_private(path, &serde_json::to_vec_pretty(content)?)
}

fn write_draft(draft: &Path, content: &[u8]) -> std::io::Result<()> {
    let mut file =
        OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(draft)?;
    file.write_all(content)?;
    file.sync_data()
}

/// Returns the last `count` non-empty lines of a log.
pub fn tail(path: &Path, count: usize) -> String {
    let bytes = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}
