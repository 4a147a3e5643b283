//! The files that the programs, drills and alerts are made of, and the commit that is checked out.
//!
//! Git's own files are read, because git may not be installed.

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use launcher::builder::workspace_root;
use sha2::{Digest, Sha256};

/// Folders of generated files.
const GENERATED: [&str; 5] = ["target", "node_modules", "corpus", "artifacts", "coverage"];
const ENDINGS: [&str; 6] = ["rs", "toml", "lock", "sql", "lua", "yml"];

/// Text of each file, by its path in the workspace.
#[derive(Debug, Default)]
pub struct Sources(pub(crate) BTreeMap<String, String>);

/// What was checked: two revisions are equal if their commits and their files are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision {
    /// `None` outside a git repository.
    pub commit: Option<String>,
    /// Digest of all files, which differs from the commit's while changes are not committed.
    pub files: String,
}

impl Sources {
    pub fn read() -> anyhow::Result<Self> {
        Self::read_from(workspace_root())
    }

    fn read_from(root: &Path) -> anyhow::Result<Self> {
        let (mut folders, mut files) = (vec![root.to_owned()], BTreeMap::new());
        while let Some(folder) = folders.pop() {
            let entries = fs::read_dir(&folder);
            let entries = entries.with_context(|| format!("reading {}", folder.display()))?;
            for entry in entries {
                let entry = entry?;
                let (path, kind) = (entry.path(), entry.file_type()?);
                let name = entry.file_name();
                let name = name.to_string_lossy();
                let is_written = !name.starts_with('.') && !GENERATED.contains(&&*name);
                if kind.is_dir() && is_written {
                    folders.push(path);
                } else if kind.is_file() && has_ending(&path) {
                    let text = fs::read(&path);
                    let text = text.with_context(|| format!("reading {}", path.display()))?;
                    let name = path.strip_prefix(root)?.to_string_lossy().into_owned();
                    files.insert(name, String::from_utf8_lossy(&text).into_owned());
                }
            }
        }
        Ok(Self(files))
    }

    /// Paths and texts, in the order of the paths.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(path, text)| (path.as_str(), text.as_str()))
    }

    pub fn text(&self, path: &str) -> Option<&str> {
        self.0.get(path).map(String::as_str)
    }

    pub fn revision(&self) -> Revision {
        let texts = self.iter().flat_map(|(path, text)| [path, text]);
        Revision { commit: commit(workspace_root()), files: digest(texts) }
    }
}

fn has_ending(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ENDINGS.iter().any(|wanted| ending == *wanted))
}

/// The first 16 hexadecimal digits of the texts' SHA-256.
pub fn digest<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    let mut hash = Sha256::new();
    for text in texts {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    }
    hash.finalize()[..8].iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The commit that is checked out in this folder. `None` outside a git repository.
fn commit(root: &Path) -> Option<String> {
    let git = root.join(".git");
    // In a worktree it is a file that names the folder.
    let git = match fs::read_to_string(&git) {
        Ok(text) => root.join(text.strip_prefix("gitdir:")?.trim()),
        Err(_) => git,
    };
    let head = fs::read_to_string(git.join("HEAD")).ok()?;
    let Some(name) = head.trim().strip_prefix("ref: ") else { return Some(head.trim().to_owned()) };
    // A worktree shares the branches of its repository.
    let shared = fs::read_to_string(git.join("commondir"));
    let shared: PathBuf = shared.map_or_else(|_| git.clone(), |text| git.join(text.trim()));
    if let Ok(commit) = fs::read_to_string(shared.join(name)) {
        return Some(commit.trim().to_owned());
    }
    let packed = fs::read_to_string(shared.join("packed-refs")).ok()?;
    let mut refs = packed.lines().filter_map(|line| line.split_once(' '));
    refs.find(|(_, packed)| *packed == name).map(|(commit, _)| commit.to_owned())
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.commit.as_deref().and_then(|commit| commit.get(..12)) {
            Some(commit) => write!(f, "{commit}-{}", self.files),
            None => write!(f, "no-commit-{}", self.files),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder that is removed when dropped.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("chaos-{}-{name}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn write(&self, file: &str, text: &str) {
            let path = self.0.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn the_commit_is_read_from_a_branch_a_packed_branch_and_a_detached_head() {
        let folder = Folder::new("head");
        assert_eq!(commit(&folder.0), None);
        folder.write(".git/HEAD", "ref: refs/heads/main\n");
        folder.write(
            ".git/packed-refs",
            "# pack-refs\naaaa refs/heads/other\nbbbb refs/heads/main\n",
        );
        assert_eq!(commit(&folder.0).as_deref(), Some("bbbb"));
        folder.write(".git/refs/heads/main", "cccc\n");
        assert_eq!(commit(&folder.0).as_deref(), Some("cccc"));
        folder.write(".git/HEAD", "dddd\n");
        assert_eq!(commit(&folder.0).as_deref(), Some("dddd"));
    }

    #[test]
    fn the_commit_of_a_worktree_is_read_from_its_repository() {
        let folder = Folder::new("worktree");
        folder.write("repository/worktrees/a/HEAD", "ref: refs/heads/a\n");
        folder.write("repository/worktrees/a/commondir", "../..\n");
        folder.write("repository/refs/heads/a", "eeee\n");
        folder.write("tree/.git", "gitdir: ../repository/worktrees/a\n");
        assert_eq!(commit(&folder.0.join("tree")).as_deref(), Some("eeee"));
    }

    #[test]
    fn written_files_are_read_and_generated_ones_are_not() {
        let folder = Folder::new("files");
        for file in ["a/src/lib.rs", "target/b.rs", ".local/c.rs", "a/notes.txt", "Cargo.lock"] {
            folder.write(file, "text");
        }
        let sources = Sources::read_from(&folder.0).unwrap();
        let paths: Vec<_> = sources.iter().map(|(path, _)| path).collect();
        assert_eq!(paths, ["Cargo.lock", "a/src/lib.rs"]);
    }

    #[test]
    fn a_revision_changes_with_a_path_and_with_a_text() {
        let files = |path: &str, text: &str| {
            Sources([(path.to_owned(), text.to_owned())].into()).revision().files
        };
        assert_eq!(files("a", "bc"), files("a", "bc"));
        assert_ne!(files("a", "bc"), files("a", "bd"));
        assert_ne!(files("a", "bc"), files("ab", "c"));
    }
}
