//! How a child process is started and stopped.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use tokio::process::Command;

use crate::binaries::IGNORE_INSTALLED_VAR;
use crate::data_dir::{LOCAL_VAR, private_dir};
use crate::readiness::ReadyCheck;
use crate::run_as::RunAs;

/// Signal that requests a graceful stop, and the signal that the kernel sends when the launcher is
/// killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopSignal {
    /// SIGTERM, and SIGKILL, which ends even a paused process.
    Terminate,
    /// SIGINT in both cases: Postgres' fast shutdown, which closes its files and does not wait for clients
    /// to disconnect.
    Interrupt,
}

#[derive(Debug, Clone)]
pub struct ChildSpec {
    pub name: String,
    pub program: PathBuf,
    pub args: Vec<OsString>,
    pub env: Vec<(String, OsString)>,
    pub dir: PathBuf,
    /// A directory in which nothing of an earlier run may work when the child is started.
    pub exclusive_dir: Option<PathBuf>,
    /// Receives standard output and error; truncated at the first start.
    pub log: PathBuf,
    pub run_as: Option<RunAs>,
    pub stop: StopSignal,
    /// Time to end after the stop signal before SIGKILL.
    pub drain: Duration,
    pub ready: ReadyCheck,
}

impl ChildSpec {
    /// Builds the command: `setpriv`, which execs the program, in its own process group, so that Ctrl-C
    /// in the terminal reaches only the launcher.
    pub(super) fn command(&self, first: bool) -> anyhow::Result<Command> {
        let log = self.open_log(first)?;
        let mut command = Command::new("setpriv");
        command.arg(match self.stop {
            StopSignal::Terminate => "--pdeathsig=KILL",
            StopSignal::Interrupt => "--pdeathsig=INT",
        });
        if let Some(user) = &self.run_as {
            command.args(user.setpriv_args());
        }
        command.arg("--").arg(&self.program).args(&self.args);
        // The launcher's own settings: servers refuse settings that they do not know.
        command.env_remove(IGNORE_INSTALLED_VAR).env_remove(LOCAL_VAR);
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command.current_dir(&self.dir).process_group(0).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        Ok(command)
    }

    fn open_log(&self, first: bool) -> anyhow::Result<std::fs::File> {
        private_dir(self.log.parent().context("a log is in a folder")?)?;
        let mut options = OpenOptions::new();
        options.create(true).mode(0o600);
        // Appends after truncating, so that a restart does not overwrite earlier output.
        if first {
            options.write(true).truncate(true).open(&self.log)?;
        }
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(&self.log);
        file.with_context(|| format!("opening {}", self.log.display()))
    }
}
