//! The gateway's edge rules on this machine: a file to change while the stack runs.

use std::path::PathBuf;

use crate::folder::{DataFolder, write_private};

/// Its name in the data folder.
pub const FILE: &str = "edge-rules.toml";
const FIRST: &str = "# Edge rules of the gateway, read again within a second of a change.\n\
    # ops/edge-rules.toml shows every field; an empty file means the defaults.\n";

/// The file, made on first use.
pub fn load_or_make(folder: &DataFolder) -> anyhow::Result<PathBuf> {
    let path = folder.join(FILE);
    if !path.is_file() {
        write_private(&path, FIRST.as_bytes())?;
    }
    Ok(path)
}
