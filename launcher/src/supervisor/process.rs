//! The handle to one child.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow};
use rustix::process::Signal;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, timeout_at};

use super::spec::Spec;
use crate::folder::tail;
use crate::obstacle::Obstacle;
use crate::ready::Ready;

const TAIL_LINES: usize = 12;
const POLL: Duration = Duration::from_millis(15);

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Not yet started, or about to be started again.
    Starting,
    Up {
        pid: u32,
    },
    /// Ended by itself, and nobody starts it again.
    Down {
        how: String,
    },
    /// Stopped on request, for good.
    Stopped,
}

/// Orders are carried out in turn by the task that owns the child, so that a signal
/// never reaches a process that took over its pid.
#[derive(Debug)]
pub(super) enum Order {
    Signal(Signal, oneshot::Sender<anyhow::Result<()>>),
    Restart(oneshot::Sender<anyhow::Result<u32>>),
    Stop(oneshot::Sender<()>),
    KeepAlive(bool),
    SetEnv(String, OsString),
}

/// A child of the supervisor. Cheap to clone; dropping it changes nothing.
#[derive(Debug, Clone)]
pub struct Process {
    name: String,
    log: PathBuf,
    ready: Ready,
    orders: mpsc::Sender<Order>,
    state: watch::Receiver<State>,
}

impl Process {
    pub(super) fn new(
        spec: &Spec,
        orders: mpsc::Sender<Order>,
        state: watch::Receiver<State>,
    ) -> Self {
        let (name, log, ready) = (spec.name.clone(), spec.log.clone(), spec.ready.clone());
        Self { name, log, ready, orders, state }
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

    /// `None` while it is not running.
    pub fn pid(&self) -> Option<u32> {
        match *self.state.borrow() {
            State::Up { pid } => Some(pid),
            _ => None,
        }
    }

    /// SIGKILL, and waits until the death has been noticed.
    pub async fn kill(&self) -> anyhow::Result<()> {
        let mut state = self.state.clone();
        let before = self.pid().with_context(|| format!("{} is not running", self.name))?;
        self.signal(Signal::KILL).await?;
        state.wait_for(|now| *now != State::Up { pid: before }).await?;
        Ok(())
    }

    /// SIGSTOP: it keeps its port and connections and answers nothing.
    pub async fn pause(&self) -> anyhow::Result<()> {
        self.signal(Signal::STOP).await
    }

    /// SIGCONT.
    pub async fn resume(&self) -> anyhow::Result<()> {
        self.signal(Signal::CONT).await
    }

    pub async fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let (reply, answer) = oneshot::channel();
        self.order(Order::Signal(signal, reply)).await?;
        answer.await?
    }

    /// Ends it politely when it runs, starts it anew, and answers the new pid.
    pub async fn restart(&self) -> anyhow::Result<u32> {
        let (reply, answer) = oneshot::channel();
        self.order(Order::Restart(reply)).await?;
        answer.await?
    }

    /// Asks it to end, kills it after its drain time, and waits until it is gone.
    pub async fn stop(&self) {
        let (reply, answer) = oneshot::channel();
        if self.order(Order::Stop(reply)).await.is_ok() {
            // An error means that the task is over, and the child with it.
            let _ = answer.await;
        }
    }

    /// Whether it is started again when it ends by itself. Off at first.
    pub async fn keep_alive(&self, yes: bool) -> anyhow::Result<()> {
        self.order(Order::KeepAlive(yes)).await
    }

    /// Sets an environment variable for its next start: how a drill puts a proxy in a path.
    pub async fn set_env(&self, name: &str, value: impl Into<OsString>) -> anyhow::Result<()> {
        self.order(Order::SetEnv(name.to_owned(), value.into())).await
    }

    async fn order(&self, order: Order) -> anyhow::Result<()> {
        self.orders.send(order).await.map_err(|_| anyhow!("{} was stopped for good", self.name))
    }

    /// Waits until its ready check passes. Fails at once when it dies meanwhile, with
    /// the last lines of its log.
    pub async fn wait_ready(&self, within: Duration) -> anyhow::Result<()> {
        let deadline = Instant::now() + within;
        loop {
            if let State::Down { how } = self.state() {
                return Err(self.died_early(how));
            }
            let up = self.pid().is_some();
            if up && timeout_at(deadline, self.ready.check()).await.unwrap_or(false) {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(self.not_ready(within));
            }
            sleep(POLL).await;
        }
    }

    /// Waits until it is no longer running.
    pub async fn wait_down(&self) -> State {
        let mut state = self.state.clone();
        let seen = state.wait_for(|now| matches!(now, State::Down { .. } | State::Stopped)).await;
        seen.map_or(State::Stopped, |state| state.clone())
    }

    fn died_early(&self, how: String) -> anyhow::Error {
        let (name, log) = (self.name.clone(), self.log.clone());
        Obstacle::DiedEarly { name, how, log, tail: tail(&self.log, TAIL_LINES) }.into()
    }

    fn not_ready(&self, within: Duration) -> anyhow::Error {
        let (name, log) = (self.name.clone(), self.log.clone());
        let seconds = within.as_secs();
        Obstacle::NotReady { name, seconds, log, tail: tail(&self.log, TAIL_LINES) }.into()
    }
}
