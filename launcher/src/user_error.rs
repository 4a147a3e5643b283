//! Errors that the developer can fix, each with a message that says what to do.
//!
//! Not here: faults of our own programs, which stay `anyhow` errors.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use console::style;

#[derive(Debug, thiserror::Error)]
pub enum UserError {
    #[error(
        "Port {port} is in use (by {holder}): stop that program or run ./up --port {}.",
        port.saturating_add(1)
    )]
    PortInUse { port: u16, holder: String },

    #[error(
        "Only {free_mib} MiB are free on the disk of {folder}: free at least {needed_mib} MiB and start again."
    )]
    DiskNearlyFull { folder: PathBuf, free_mib: u64, needed_mib: u64 },

    #[error(
        "{folder} belongs to another user: remove it as that user (sudo rm -rf {folder}) and start again."
    )]
    NotOurDataDir { folder: PathBuf },

    #[error("{name} does not respond at {url}: read its log in .local/logs, or restart the stack.")]
    NoAnswer { name: &'static str, url: String },

    #[error("The disk is full: free some space and start again.")]
    DiskFull,

    #[error(
        "{packages} is missing and could not be fetched ({why}): install Postgres 15 or newer with its contrib modules and Redis 7 or newer (on Debian as root: apt-get install -y {packages}) and start again."
    )]
    ProgramMissing { packages: String, why: String },

    #[error(
        "{name} is missing and could not be fetched ({why}): install {install} and start again."
    )]
    ToolMissing { name: &'static str, why: String, install: &'static str },

    #[error(
        "The stack in {folder} is already up (launcher pid {pid}): use it, or stop it with Ctrl-C in its terminal or `kill {pid}`."
    )]
    AlreadyUp { folder: PathBuf, pid: String },

    #[error("The stack is not up: start it with ./up in another terminal and try again.")]
    NotUp,

    #[error(
        "The database in {folder} was created by Postgres {made_by}, but Postgres {found} is installed: run `rm -rf {folder}` and start again (the demo data is written again)."
    )]
    OtherPostgres { folder: PathBuf, made_by: String, found: String },

    #[error("There is no demo operator {wanted}: use one of {known}.")]
    NoSuchOperator { wanted: String, known: String },

    #[error("The build failed: fix the compiler errors above and start again.")]
    BuildFailed,

    #[error("{name} {how} before it was ready. Last lines of {log} :\n{tail}")]
    DiedEarly { name: String, how: String, log: PathBuf, tail: String },

    #[error("{name} was not ready within {seconds} s. Last lines of {log} :\n{tail}")]
    NotReady { name: String, seconds: u64, log: PathBuf, tail: String },
}

impl UserError {
    /// Prints why a command failed to standard error, as one sentence.
    pub fn print(error: &anyhow::Error) -> ExitCode {
        let (sentence, cross) = (Self::sentence(error), style("✗").red().for_stderr());
        // Standard error may be closed; there is nowhere else to report to.
        let _ = writeln!(std::io::stderr().lock(), "{cross} {sentence}");
        ExitCode::FAILURE
    }

    /// The message to print: that of a known error, or the whole chain of any other.
    fn sentence(error: &anyhow::Error) -> String {
        if error.chain().any(is_disk_full) {
            return Self::DiskFull.to_string();
        }
        match error.downcast_ref::<Self>() {
            Some(Self::DiedEarly { tail, .. } | Self::NotReady { tail, .. })
                if tail.contains("No space left on device") =>
            {
                Self::DiskFull.to_string()
            }
            Some(known) => known.to_string(),
            None => format!("{error:#}"),
        }
    }
}

fn is_disk_full(cause: &(dyn std::error::Error + 'static)) -> bool {
    cause
        .downcast_ref::<std::io::Error>()
        .is_some_and(|error| error.kind() == std::io::ErrorKind::StorageFull)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_one_sentence_however_deep() {
        let deep = anyhow::Error::from(std::io::Error::from(std::io::ErrorKind::StorageFull))
            .context("writing the ports");
        assert_eq!(UserError::sentence(&deep), UserError::DiskFull.to_string());
    }

    #[test]
    fn a_busy_port_names_the_way_out() {
        let busy = UserError::PortInUse { port: 8083, holder: "pid 7, nginx".to_owned() };
        assert_eq!(
            UserError::sentence(&busy.into()),
            "Port 8083 is in use (by pid 7, nginx): stop that program or run ./up --port 8084."
        );
    }
}
