//! Keeps the data and logs of a failed drill's stack.

use std::path::PathBuf;

use anyhow::Context;
use launcher::run_as::remove_any;

use crate::drill_env::DrillEnv;

/// Moves the stack's folder away, so that the next drill begins with new data. Returns where it is.
pub(super) fn keep(id: &str, stack: &str) -> anyhow::Result<PathBuf> {
    let (data, kept) = (DrillEnv::folder(stack), DrillEnv::folder("drills/failed").join(id));
    if data.is_dir() {
        remove_any(&kept)?;
        std::fs::create_dir_all(DrillEnv::folder("drills/failed"))?;
        std::fs::rename(&data, &kept).with_context(|| format!("moving {}", data.display()))?;
    }
    Ok(kept)
}
