//! The gateway's edge rules on this machine: a file that can be changed while the stack runs.

use std::path::PathBuf;

use crate::data_dir::{DataDir, write_private};

/// File name in the data folder.
pub const FILE_NAME: &str = "edge-rules.toml";
const INITIAL_RULES: &str = "# Edge rules of the gateway, read again within a second of a change.\n\
    # ops/edge-rules.toml shows every field; an empty file means the defaults.\n";

/// Returns the path of the file, creating it on first use.
pub fn load_or_make(folder: &DataDir) -> anyhow::Result<PathBuf> {
    let path = folder.join(FILE_NAME);
    if !path.is_file() {
        write_private(&path, INITIAL_RULES.as_bytes())?;
    }
    Ok(path)
}
