//! The data folder (`.local` unless told otherwise): where everything the launcher
//! makes is kept, and the lock that lets one launcher use it at a time.
//!
//! Not here: what the files contain.

use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::obstacle::Obstacle;

/// Free space below which a start is refused, MiB: a new database with its log
/// takes about 100.
const NEEDED_MIB: u64 = 300;

#[derive(Debug, Clone)]
pub struct DataFolder(PathBuf);

/// Held while a launcher uses the folder; the kernel lets go of it when the process ends.
#[derive(Debug)]
pub struct FolderLock {
    #[expect(dead_code, reason = "held, never read")]
    file: File,
    stack_file: PathBuf,
}

impl Drop for FolderLock {
    fn drop(&mut self) {
        // A stack that is not polite enough to remove it must not leave it either.
        let _ = fs::remove_file(&self.stack_file);
    }
}

impl DataFolder {
    /// Makes the folder where it is missing. The path is kept absolute.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        private_dir(path)?;
        let root = path.canonicalize().with_context(|| format!("opening {}", path.display()))?;
        let user = rustix::process::geteuid();
        if !user.is_root() && fs::metadata(&root)?.uid() != user.as_raw() {
            return Err(Obstacle::NotOurFolder { folder: root }.into());
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

    /// A folder inside, made private.
    pub fn dir(&self, name: &str) -> anyhow::Result<PathBuf> {
        let path = self.join(name);
        private_dir(&path)?;
        Ok(path)
    }

    /// Fails with [`Obstacle::AlreadyUp`] when another launcher uses the folder.
    pub fn lock(&self) -> anyhow::Result<FolderLock> {
        let mut file = open_lock(&self.join("launcher.lock"))?;
        match file.try_lock() {
            Ok(()) => {
                file.set_len(0)?;
                write!(file, "{}", std::process::id())?;
                Ok(FolderLock { file, stack_file: self.stack_file() })
            }
            Err(TryLockError::WouldBlock) => Err(self.already_up(&mut file)),
            Err(TryLockError::Error(error)) => Err(error.into()),
        }
    }

    /// Waits for other launchers that hold the lock `name`.
    pub async fn wait_for(&self, name: &str) -> anyhow::Result<File> {
        let file = open_lock(&self.join(name))?;
        let locked = tokio::task::spawn_blocking(move || file.lock().map(|()| file));
        Ok(locked.await??)
    }

    fn already_up(&self, file: &mut File) -> anyhow::Error {
        let mut pid = String::new();
        // The pid only makes the sentence better.
        let _ = file.read_to_string(&mut pid);
        Obstacle::AlreadyUp { folder: self.0.clone(), pid }.into()
    }

    /// Fails with [`Obstacle::DiskNearlyFull`] when a start would fill the disk.
    pub fn require_space(&self) -> anyhow::Result<()> {
        let stat = rustix::fs::statvfs(&self.0)?;
        let free_mib = stat.f_bavail * stat.f_frsize / (1024 * 1024);
        if free_mib < NEEDED_MIB {
            let folder = self.0.clone();
            return Err(
                Obstacle::DiskNearlyFull { folder, free_mib, needed_mib: NEEDED_MIB }.into()
            );
        }
        Ok(())
    }
}

fn open_lock(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).read(true).write(true).mode(0o600).open(path)
}

/// Makes a folder only its owner can enter.
pub fn private_dir(path: &Path) -> anyhow::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(path).with_context(|| format!("making the folder {}", path.display()))?;
    fs::set_permissions(path, Permissions::from_mode(0o700))?;
    Ok(())
}

/// Writes a file only its owner can read, so that readers see the old or the new
/// content and never a part.
pub fn write_private(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    let parent = path.parent().context("a file has a folder")?;
    private_dir(parent)?;
    let draft = path.with_extension("draft");
    let result = write_draft(&draft, content).and_then(|()| fs::rename(&draft, path));
    result.with_context(|| format!("writing {}", path.display()))
}

fn write_draft(draft: &Path, content: &[u8]) -> std::io::Result<()> {
    let mut file =
        OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(draft)?;
    file.write_all(content)?;
    file.sync_data()
}

/// The last `count` lines of a log, for a message.
pub fn tail(path: &Path, count: usize) -> String {
    let bytes = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}
