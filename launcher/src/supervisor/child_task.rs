//! The task that owns one child from start to end.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context, anyhow};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Child;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout};

use super::Notice;
use super::child_spec::{ChildSpec, StopSignal};
use super::exclusive_dir::wait_until_unused;
use super::process::{ChildCommand, State};

/// Delay of the second restart. The first is immediate; later delays double.
const FIRST_RESTART_DELAY: Duration = Duration::from_millis(200);
const MAX_RESTART_DELAY: Duration = Duration::from_secs(5);
/// A child that ran this long has its restart delay reset.
const STEADY_AFTER: Duration = Duration::from_secs(10);

pub(super) struct ChildTask {
    spec: ChildSpec,
    commands: mpsc::Receiver<ChildCommand>,
    report: watch::Sender<State>,
    notices: mpsc::UnboundedSender<Notice>,
    keep_alive: bool,
    deaths: u32,
    first: bool,
}

/// Why watching a child ended.
enum WatchEnd {
    Exited { pid: u32, how: String },
    Restart(oneshot::Sender<anyhow::Result<u32>>),
    Stopped,
}

impl ChildTask {
    pub(super) fn new(
        spec: ChildSpec,
        commands: mpsc::Receiver<ChildCommand>,
        report: watch::Sender<State>,
        notices: mpsc::UnboundedSender<Notice>,
    ) -> Self {
        Self { spec, commands, report, notices, keep_alive: false, deaths: 0, first: true }
    }

    pub(super) async fn run(mut self) {
        let mut child = self.spawn().await.inspect_err(|error| self.fail(error)).ok();
        loop {
            let mut end = match child.take() {
                Some(running) => self.watch(running).await,
                None => self.wait_for_command().await,
            };
            if let WatchEnd::Exited { pid, how } = end {
                if let Some(requested) = self.handle_exit(pid, &how).await {
                    end = requested;
                } else {
                    child = self.respawn(pid, how).await;
                    continue;
                }
            }
            match end {
                WatchEnd::Restart(reply) => child = self.restart(reply).await,
                WatchEnd::Stopped | WatchEnd::Exited { .. } => return,
            }
        }
    }

    async fn spawn(&mut self) -> anyhow::Result<Child> {
        if let Some(dir) = &self.spec.exclusive_dir {
            wait_until_unused(dir).await;
        }
        let mut command = self.spec.command(std::mem::take(&mut self.first))?;
        let child = command.spawn().context("running setpriv (package util-linux)")?;
        let pid = child.id().context("a new child has a pid")?;
        self.report.send_replace(State::Up { pid });
        Ok(child)
    }

    fn fail(&self, error: &anyhow::Error) {
        let why = format!("{error:#}");
        self.notify(Notice::Failed { name: self.spec.name.clone(), why: why.clone() });
        self.report.send_replace(State::Down { how: format!("could not be started: {why}") });
    }

    /// Runs commands until the child ends by itself or is stopped.
    async fn watch(&mut self, mut child: Child) -> WatchEnd {
        let born = Instant::now();
        let pid = child.id().unwrap_or_default();
        loop {
            let command = tokio::select! {
                status = child.wait() => {
                    if born.elapsed() > STEADY_AFTER {
                        self.deaths = 0;
                    }
                    return WatchEnd::Exited { pid, how: describe(status) };
                }
                command = self.commands.recv() => command,
            };
            match command {
                Some(ChildCommand::Signal(signal, reply)) => {
                    // The caller may no longer wait.
                    let _ = reply.send(send(pid, signal));
                }
                Some(ChildCommand::KeepAlive(yes)) => self.keep_alive = yes,
                Some(ChildCommand::SetEnv(name, value)) => self.spec.env.push((name, value)),
                Some(ChildCommand::Restart(reply)) => {
                    self.terminate(&mut child).await;
                    return WatchEnd::Restart(reply);
                }
                Some(ChildCommand::Stop(reply)) => {
                    self.terminate(&mut child).await;
                    self.report.send_replace(State::Stopped);
                    let _ = reply.send(());
                    return WatchEnd::Stopped;
                }
                // All handles were dropped: the child could no longer be stopped.
                None => {
                    self.terminate(&mut child).await;
                    return WatchEnd::Stopped;
                }
            }
        }
    }

    /// Handles commands while no child runs, until a restart or stop.
    async fn wait_for_command(&mut self) -> WatchEnd {
        loop {
            match self.commands.recv().await {
                Some(ChildCommand::Restart(reply)) => return WatchEnd::Restart(reply),
                Some(ChildCommand::KeepAlive(yes)) => self.keep_alive = yes,
                Some(ChildCommand::SetEnv(name, value)) => self.spec.env.push((name, value)),
                Some(ChildCommand::Signal(_, reply)) => {
                    let _ = reply.send(Err(anyhow!("{} is not running", self.spec.name)));
                }
                Some(ChildCommand::Stop(reply)) => {
                    self.report.send_replace(State::Stopped);
                    let _ = reply.send(());
                    return WatchEnd::Stopped;
                }
                None => return WatchEnd::Stopped,
            }
        }
    }

    async fn restart(&mut self, reply: oneshot::Sender<anyhow::Result<u32>>) -> Option<Child> {
        let started = self.spawn().await.inspect_err(|error| self.fail(error));
        let pid = match &started {
            Ok(child) => child.id().context("a new child has a pid"),
            Err(error) => Err(anyhow!("{error:#}")),
        };
        // The caller may no longer wait.
        let _ = reply.send(pid);
        started.ok()
    }

    /// Handles an unrequested exit: waits before the restart, and returns a command that arrived
    /// meanwhile. A child that is not kept alive waits for a command.
    async fn handle_exit(&mut self, pid: u32, how: &str) -> Option<WatchEnd> {
        let (name, how) = (self.spec.name.clone(), how.to_owned());
        if !self.keep_alive {
            self.report.send_replace(State::Down { how: how.clone() });
            self.notify(Notice::Ended { name, pid, how });
            return Some(self.wait_for_command().await);
        }
        self.report.send_replace(State::Starting);
        let delay = self.next_delay()?;
        let delay_ms = delay.as_millis() as u64;
        self.notify(Notice::Waiting { name, pid, how, delay_ms });
        timeout(delay, self.wait_for_command()).await.ok()
    }

    async fn respawn(&mut self, old_pid: u32, how: String) -> Option<Child> {
        let child = self.spawn().await.inspect_err(|error| self.fail(error)).ok()?;
        let (name, pid) = (self.spec.name.clone(), child.id()?);
        self.notify(Notice::Restarted { name, old_pid, how, pid });
        Some(child)
    }

    fn next_delay(&mut self) -> Option<Duration> {
        self.deaths += 1;
        let doublings = self.deaths.checked_sub(2)?;
        Some(FIRST_RESTART_DELAY.saturating_mul(1 << doublings.min(10)).min(MAX_RESTART_DELAY))
    }

    /// Sends the stop signal, waits for the drain timeout, then kills.
    async fn terminate(&self, child: &mut Child) {
        let signal = match self.spec.stop {
            StopSignal::Terminate => Signal::TERM,
            StopSignal::Interrupt => Signal::INT,
        };
        if let Some(pid) = child.id() {
            // Both fail only if it has just ended. A paused process must continue to handle the signal.
            let _ = send(pid, signal);
            let _ = send(pid, Signal::CONT);
        }
        if timeout(self.spec.drain, child.wait()).await.is_err() {
            let _ = child.kill().await;
        }
    }

    fn notify(&self, notice: Notice) {
        // The receiver is gone while the stack is being dropped.
        let _ = self.notices.send(notice);
    }
}

fn send(pid: u32, signal: Signal) -> anyhow::Result<()> {
    let pid = Pid::from_raw(pid.try_into()?).context("a child's pid is positive")?;
    kill_process(pid, signal).with_context(|| format!("signalling pid {pid}"))
}

fn describe(status: std::io::Result<ExitStatus>) -> String {
    match status {
        Ok(status) => match (status.code(), status.signal()) {
            (Some(code), _) => format!("ended with status {code}"),
            (None, Some(signal)) => format!("was killed by signal {signal}"),
            (None, None) => "ended".to_owned(),
        },
        Err(error) => format!("was lost ({error})"),
    }
}
