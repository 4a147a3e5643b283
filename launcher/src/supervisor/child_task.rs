//! The task that owns one child from start to end.

use std::os::unix::process::ExitStatusExt;
use std::pin::pin;
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

/// Answers a request to restart, with the new pid.
type RestartReply = oneshot::Sender<anyhow::Result<u32>>;

/// What the task does next.
enum Next {
    /// Starts the child, again if it has `ended` by itself: its pid, and how.
    Start {
        ended: Option<(u32, String)>,
    },
    Restart(RestartReply),
    /// Without a reply when all handles were dropped, so that the child could no longer be stopped.
    Stop(Option<oneshot::Sender<()>>),
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
        let mut next = Next::Start { ended: None };
        loop {
            next = match next {
                Next::Start { ended } => self.start(ended, vec![]).await,
                Next::Restart(reply) => self.start(None, vec![reply]).await,
                Next::Stop(reply) => {
                    self.report.send_replace(State::Stopped);
                    // The caller may no longer wait.
                    let _ = reply.map(|reply| reply.send(()));
                    return;
                }
            };
        }
    }

    /// Starts the child and watches it until it ends or a command ends it.
    async fn start(
        &mut self,
        ended: Option<(u32, String)>,
        mut replies: Vec<RestartReply>,
    ) -> Next {
        if let Some(stop) = self.wait_for_dir(&mut replies).await {
            return stop;
        }
        let started = self.spawn().inspect_err(|error| self.fail(error));
        for reply in replies {
            let pid = started.as_ref().map(|(_, pid)| *pid).map_err(|error| anyhow!("{error:#}"));
            // The caller may no longer wait.
            let _ = reply.send(pid);
        }
        let Ok((child, pid)) = started else { return self.next_request(None).await };
        if let Some((old_pid, how)) = ended {
            self.notify(Notice::Restarted { name: self.spec.name.clone(), old_pid, how, pid });
        }
        self.watch(child, pid).await
    }

    /// Waits until nothing of an earlier run works in the child's directory, or for the time limit.
    /// Returns a stop that is requested meanwhile. A requested restart is this start.
    async fn wait_for_dir(&mut self, replies: &mut Vec<RestartReply>) -> Option<Next> {
        let dir = self.spec.exclusive_dir.clone()?;
        let mut waiting = pin!(wait_until_unused(&dir));
        loop {
            tokio::select! {
                unused = &mut waiting => {
                    if !unused {
                        let name = self.spec.name.clone();
                        self.notify(Notice::DirInUse { name, dir: dir.clone() });
                    }
                    return None;
                }
                next = self.next_request(None) => match next {
                    Next::Restart(reply) => replies.push(reply),
                    stop => return Some(stop),
                },
            }
        }
    }

    fn spawn(&mut self) -> anyhow::Result<(Child, u32)> {
        let mut command = self.spec.command(std::mem::take(&mut self.first))?;
        let child = command.spawn().context("running setpriv (package util-linux)")?;
        let pid = child.id().context("a new child has a pid")?;
        self.report.send_replace(State::Up { pid });
        Ok((child, pid))
    }

    fn fail(&self, error: &anyhow::Error) {
        let why = format!("{error:#}");
        self.notify(Notice::Failed { name: self.spec.name.clone(), why: why.clone() });
        self.report.send_replace(State::Down { how: format!("could not be started: {why}") });
    }

    async fn watch(&mut self, mut child: Child, pid: u32) -> Next {
        let born = Instant::now();
        let next = tokio::select! {
            status = child.wait() => {
                if born.elapsed() > STEADY_AFTER {
                    self.deaths = 0;
                }
                return self.after_exit(pid, describe(status)).await;
            }
            next = self.next_request(Some(pid)) => next,
        };
        self.terminate(&mut child).await;
        next
    }

    /// Runs commands until one requests a restart or a stop. `pid`: of the child, while it runs.
    async fn next_request(&mut self, pid: Option<u32>) -> Next {
        loop {
            match self.commands.recv().await {
                Some(ChildCommand::Signal(signal, reply)) => {
                    let not_running = || anyhow!("{} is not running", self.spec.name);
                    // The caller may no longer wait.
                    let _ =
                        reply.send(pid.ok_or_else(not_running).and_then(|pid| send(pid, signal)));
                }
                Some(ChildCommand::KeepAlive(yes)) => self.keep_alive = yes,
                Some(ChildCommand::SetEnv(name, value)) => self.spec.env.push((name, value)),
                Some(ChildCommand::Restart(reply)) => return Next::Restart(reply),
                Some(ChildCommand::Stop(reply)) => return Next::Stop(Some(reply)),
                None => return Next::Stop(None),
            }
        }
    }

    /// Handles an unrequested exit: waits before the restart, unless a command arrives meanwhile. A
    /// child that is not kept alive waits for a command.
    async fn after_exit(&mut self, pid: u32, how: String) -> Next {
        let name = self.spec.name.clone();
        if !self.keep_alive {
            self.report.send_replace(State::Down { how: how.clone() });
            self.notify(Notice::Ended { name, pid, how });
            return self.next_request(None).await;
        }
        self.report.send_replace(State::Starting);
        if let Some(delay) = self.next_delay() {
            let delay_ms = delay.as_millis() as u64;
            self.notify(Notice::Waiting { name, pid, how: how.clone(), delay_ms });
            if let Ok(next) = timeout(delay, self.next_request(None)).await {
                return next;
            }
        }
        Next::Start { ended: Some((pid, how)) }
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
