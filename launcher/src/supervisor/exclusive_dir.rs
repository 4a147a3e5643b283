//! Waits until no process works in a directory.
//!
//! The processes of a Postgres that was killed end a moment after it. Until then a new one on the same
//! data refuses to start.

use std::fs;
use std::path::Path;
use std::time::Duration;

use tokio::time::{sleep, timeout};

/// Longer than the processes of a killed server take on a busy machine.
pub(super) const WAIT_LIMIT: Duration = Duration::from_secs(5);
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Returns true once no process has `dir` as its working directory, or false after [`WAIT_LIMIT`].
pub(super) async fn wait_until_unused(dir: &Path) -> bool {
    let unused = async {
        while is_used(dir) {
            sleep(POLL_INTERVAL).await;
        }
    };
    timeout(WAIT_LIMIT, unused).await.is_ok()
}

fn is_used(dir: &Path) -> bool {
    let Ok(dir) = fs::canonicalize(dir) else { return false };
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes.map(|process| process.path().join("cwd")).any(|cwd| {
        // Unreadable for other users' processes, and for those that have ended.
        fs::read_link(cwd).is_ok_and(|cwd| cwd == dir)
    })
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use futures_util::poll;

    use super::*;

    #[tokio::test]
    async fn a_start_waits_for_the_last_process_in_the_directory() {
        let dir = std::env::temp_dir().join(format!("exclusive-{}", std::process::id()));
        fs::create_dir(&dir).unwrap();
        let mut command = tokio::process::Command::new("setpriv");
        command
            .args(["--", "sleep", "60"])
            .current_dir(&dir)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let mut last = command.spawn().unwrap();
        let mut wait = std::pin::pin!(wait_until_unused(&dir));
        assert!(poll!(wait.as_mut()).is_pending(), "the process works there");
        last.kill().await.unwrap();
        assert!(wait.await, "it does not wait longer than for the process");
        fs::remove_dir(&dir).unwrap();
    }
}
