//! What to start and how to end it.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use tokio::process::Command;

use crate::folder::private_dir;
use crate::ready::Ready;
use crate::run_as::RunAs;

/// What the kernel sends when the launcher dies without a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeathSignal {
    /// Nothing survives, not even a paused process.
    Kill,
    /// Postgres closes its files, then ends.
    Interrupt,
}

/// What asks the process to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopSignal {
    Terminate,
    /// Postgres' fast shutdown, which does not wait for clients.
    Interrupt,
}

#[derive(Debug, Clone)]
pub struct Spec {
    pub name: String,
    pub program: PathBuf,
    pub args: Vec<OsString>,
    pub env: Vec<(String, OsString)>,
    pub dir: PathBuf,
    /// Standard output and error, emptied when the launcher starts it for the first time.
    pub log: PathBuf,
    pub run_as: Option<RunAs>,
    pub death: DeathSignal,
    pub stop: StopSignal,
    /// How long it may take to end before it is killed.
    pub drain: Duration,
    pub ready: Ready,
}

impl Spec {
    /// The command: `setpriv`, which becomes the program and keeps its pid, in a process
    /// group of its own, so that Ctrl-C in the terminal reaches only the launcher.
    pub(super) fn command(&self, first: bool) -> anyhow::Result<Command> {
        let log = self.open_log(first)?;
        let mut command = Command::new("setpriv");
        let death = match self.death {
            DeathSignal::Kill => "--pdeathsig=KILL",
            DeathSignal::Interrupt => "--pdeathsig=INT",
        };
        command.arg(death);
        if let Some(user) = &self.run_as {
            command.args(user.setpriv_args());
        }
        command.arg("--").arg(&self.program).args(&self.args);
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command.current_dir(&self.dir).process_group(0).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        Ok(command)
    }

    fn open_log(&self, first: bool) -> anyhow::Result<std::fs::File> {
        private_dir(self.log.parent().context("a log is in a folder")?)?;
        let mut options = OpenOptions::new();
        options.create(true).mode(0o600);
        // Appending also after emptying: a restart must not write over what was said before.
        if first {
            options.write(true).truncate(true).open(&self.log)?;
        }
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(&self.log);
        file.with_context(|| format!("opening {}", self.log.display()))
    }
}
