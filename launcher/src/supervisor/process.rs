//! Handle to one child process.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use rustix::process::Signal;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, timeout_at};

use super::child_spec::ChildSpec;
use crate::data_dir::tail;
use crate::readiness::ReadyCheck;
use crate::user_error::UserError;

const TAIL_LINES: usize = 12;
const POLL_INTERVAL: Duration = Duration::from_millis(15);

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Not started yet, or about to be restarted.
    Starting,
    Up {
        pid: u32,
    },
    /// Ended by itself and not restarted.
    Down {
        how: String,
    },
    /// Stopped on request, for good.
    Stopped,
}

/// Executed in order by the task that owns the child, so that a signal never reaches another process
/// that reuses its pid.
#[derive(Debug)]
pub(super) enum ChildCommand {
    Signal(Signal, oneshot::Sender<anyhow::Result<()>>),
    Restart(oneshot::Sender<anyhow::Result<u32>>),
    Stop(oneshot::Sender<()>),
    KeepAlive(bool),
    SetEnv(String, OsString),
}

/// Handle to a child of the supervisor. Cheap to clone; dropping it has no effect.
#[derive(Debug, Clone)]
pub struct Process {
    name: String,
    log: PathBuf,
    ready: ReadyCheck,
    commands: mpsc::Sender<ChildCommand>,
    state: watch::Receiver<State>,
}

impl Process {
    pub(super) fn new(
        spec: &ChildSpec,
        commands: mpsc::Sender<ChildCommand>,
        state: watch::Receiver<State>,
    ) -> Self {
        let (name, log, ready) = (spec.name.clone(), spec.log.clone(), spec.ready.clone());
        Self { name, log, ready, commands, state }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn log(&self) -> &Path {
        &self.log
    }

    pub fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// `None` while the child is not running.
    pub fn pid(&self) -> Option<u32> {
        match *self.state.borrow() {
            State::Up { pid } => Some(pid),
            _ => None,
        }
    }

    /// Sends SIGKILL and waits until the exit was detected.
    pub async fn kill(&self) -> anyhow::Result<()> {
        let mut state = self.state.clone();
        let before = self.pid().with_context(|| format!("{} is not running", self.name))?;
        self.signal(Signal::KILL).await?;
        state.wait_for(|now| *now != State::Up { pid: before }).await?;
        Ok(())
    }

    /// Sends SIGSTOP: the child keeps its port and connections but does not respond.
    pub async fn pause(&self) -> anyhow::Result<()> {
        self.signal(Signal::STOP).await
    }

    /// Sends SIGCONT.
    pub async fn resume(&self) -> anyhow::Result<()> {
        self.signal(Signal::CONT).await
    }

    pub async fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        self.request(|reply| ChildCommand::Signal(signal, reply)).await?
    }

    /// Stops the child gracefully if it runs, starts it again, and returns the new pid.
    pub async fn restart(&self) -> anyhow::Result<u32> {
        self.request(ChildCommand::Restart).await?
    }

    /// Sends the stop signal, kills after the drain timeout, and waits for the exit.
    pub async fn stop(&self) {
        // An error means that the task has ended, and the child with it.
        let _ = self.request(ChildCommand::Stop).await;
    }

    /// Sets whether the child is restarted when it ends by itself. Initially off.
    pub async fn keep_alive(&self, yes: bool) -> anyhow::Result<()> {
        self.send(ChildCommand::KeepAlive(yes)).await
    }

    /// Sets an environment variable for the next start, for example to insert a proxy.
    pub async fn set_env(&self, name: &str, value: impl Into<OsString>) -> anyhow::Result<()> {
        self.send(ChildCommand::SetEnv(name.to_owned(), value.into())).await
    }

    /// Sends a command and waits for its reply. A command that is sent while the task ends can stay
    /// in the channel unread, with its reply: then the end of the task is the answer.
    async fn request<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> ChildCommand,
    ) -> anyhow::Result<T> {
        let (reply, answer) = oneshot::channel();
        self.send(command(reply)).await?;
        tokio::select! {
            biased;
            answer = answer => Ok(answer?),
            () = self.commands.closed() => bail!("{} was stopped for good", self.name),
        }
    }

    async fn send(&self, command: ChildCommand) -> anyhow::Result<()> {
        self.commands.send(command).await.map_err(|_| anyhow!("{} was stopped for good", self.name))
    }

    /// Waits until the readiness check passes. Fails at once, with the last lines of the log, when the
    /// child ends.
    pub async fn wait_ready(&self, within: Duration) -> anyhow::Result<()> {
        let deadline = Instant::now() + within;
        let (name, log) = (self.name.clone(), self.log.clone());
        loop {
            if let State::Down { how } = self.state() {
                return Err(UserError::DiedEarly {
                    name,
                    how,
                    log,
                    tail: tail(&self.log, TAIL_LINES),
                }
                .into());
            }
            let up = self.pid().is_some();
            if up && timeout_at(deadline, self.ready.check()).await.unwrap_or(false) {
                return Ok(());
            }
            if Instant::now() >= deadline {
                let seconds = within.as_secs();
                return Err(UserError::NotReady {
                    name,
                    seconds,
                    log,
                    tail: tail(&self.log, TAIL_LINES),
                }
                .into());
            }
            sleep(POLL_INTERVAL).await;
        }
    }
}
