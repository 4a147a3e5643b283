//! The task that owns one child from its start to its end.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context, anyhow};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Child;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout};

use super::Notice;
use super::process::{Order, State};
use super::spec::{Spec, StopSignal};

/// The first restart is immediate, the second waits this long, and so on, doubled.
const FIRST_DELAY: Duration = Duration::from_millis(200);
const LONGEST_DELAY: Duration = Duration::from_secs(5);
/// A child that lived this long starts again with a clean record.
const STEADY: Duration = Duration::from_secs(10);

pub(super) struct Care {
    spec: Spec,
    inbox: mpsc::Receiver<Order>,
    report: watch::Sender<State>,
    notices: mpsc::UnboundedSender<Notice>,
    keep_alive: bool,
    deaths: u32,
    first: bool,
}

/// Why the child is no longer running.
enum End {
    ByItself { pid: u32, how: String },
    ToRestart(oneshot::Sender<anyhow::Result<u32>>),
    ForGood,
}

impl Care {
    pub(super) fn new(
        spec: Spec,
        inbox: mpsc::Receiver<Order>,
        report: watch::Sender<State>,
        notices: mpsc::UnboundedSender<Notice>,
    ) -> Self {
        Self { spec, inbox, report, notices, keep_alive: false, deaths: 0, first: true }
    }

    pub(super) async fn run(mut self) {
        let mut child = self.spawn().inspect_err(|error| self.fail(error)).ok();
        loop {
            let mut end = match child.take() {
                Some(running) => self.watch(running).await,
                None => self.idle().await,
            };
            if let End::ByItself { pid, how } = end {
                if let Some(ordered) = self.mourn(pid, &how).await {
                    end = ordered;
                } else {
                    child = self.revive(pid, how);
                    continue;
                }
            }
            match end {
                End::ToRestart(reply) => child = self.restart(reply),
                End::ForGood | End::ByItself { .. } => return,
            }
        }
    }

    fn spawn(&mut self) -> anyhow::Result<Child> {
        let mut command = self.spec.command(std::mem::take(&mut self.first))?;
        let child = command.spawn().context("running setpriv (package util-linux)")?;
        let pid = child.id().context("a new child has a pid")?;
        self.report.send_replace(State::Up { pid });
        Ok(child)
    }

    fn fail(&self, error: &anyhow::Error) {
        let why = format!("{error:#}");
        self.tell(Notice::Failed { name: self.spec.name.clone(), why: why.clone() });
        self.report.send_replace(State::Down { how: format!("could not be started: {why}") });
    }

    /// Until the child ends, or is asked to.
    async fn watch(&mut self, mut child: Child) -> End {
        let born = Instant::now();
        let pid = child.id().unwrap_or_default();
        loop {
            let order = tokio::select! {
                status = child.wait() => {
                    if born.elapsed() > STEADY {
                        self.deaths = 0;
                    }
                    return End::ByItself { pid, how: describe(status) };
                }
                order = self.inbox.recv() => order,
            };
            match order {
                Some(Order::Signal(signal, reply)) => {
                    // Nobody waits any more: fine.
                    let _ = reply.send(send(pid, signal));
                }
                Some(Order::KeepAlive(yes)) => self.keep_alive = yes,
                Some(Order::SetEnv(name, value)) => self.spec.env.push((name, value)),
                Some(Order::Restart(reply)) => {
                    self.terminate(&mut child).await;
                    return End::ToRestart(reply);
                }
                Some(Order::Stop(reply)) => {
                    self.terminate(&mut child).await;
                    self.report.send_replace(State::Stopped);
                    let _ = reply.send(());
                    return End::ForGood;
                }
                // All handles are gone: nobody can ask for its end any more.
                None => {
                    self.terminate(&mut child).await;
                    return End::ForGood;
                }
            }
        }
    }

    /// Until an order brings it back or ends the care.
    async fn idle(&mut self) -> End {
        loop {
            match self.inbox.recv().await {
                Some(Order::Restart(reply)) => return End::ToRestart(reply),
                Some(Order::KeepAlive(yes)) => self.keep_alive = yes,
                Some(Order::SetEnv(name, value)) => self.spec.env.push((name, value)),
                Some(Order::Signal(_, reply)) => {
                    let _ = reply.send(Err(anyhow!("{} is not running", self.spec.name)));
                }
                Some(Order::Stop(reply)) => {
                    self.report.send_replace(State::Stopped);
                    let _ = reply.send(());
                    return End::ForGood;
                }
                None => return End::ForGood,
            }
        }
    }

    fn restart(&mut self, reply: oneshot::Sender<anyhow::Result<u32>>) -> Option<Child> {
        let started = self.spawn().inspect_err(|error| self.fail(error));
        let pid = match &started {
            Ok(child) => child.id().context("a new child has a pid"),
            Err(error) => Err(anyhow!("{error:#}")),
        };
        // Nobody waits any more: fine.
        let _ = reply.send(pid);
        started.ok()
    }

    /// After a death nobody asked for: waits before the next try, and answers the order
    /// that came meanwhile. A child that is not kept alive waits for one.
    async fn mourn(&mut self, pid: u32, how: &str) -> Option<End> {
        let (name, how) = (self.spec.name.clone(), how.to_owned());
        if !self.keep_alive {
            self.report.send_replace(State::Down { how: how.clone() });
            self.tell(Notice::Ended { name, pid, how });
            return Some(self.idle().await);
        }
        self.report.send_replace(State::Starting);
        let delay = self.next_delay()?;
        let delay_ms = delay.as_millis() as u64;
        self.tell(Notice::Waiting { name, pid, how, delay_ms });
        timeout(delay, self.idle()).await.ok()
    }

    fn revive(&mut self, old_pid: u32, how: String) -> Option<Child> {
        let child = self.spawn().inspect_err(|error| self.fail(error)).ok()?;
        let (name, pid) = (self.spec.name.clone(), child.id()?);
        self.tell(Notice::Restarted { name, old_pid, how, pid });
        Some(child)
    }

    fn next_delay(&mut self) -> Option<Duration> {
        self.deaths += 1;
        let doublings = self.deaths.checked_sub(2)?;
        Some(FIRST_DELAY.saturating_mul(1 << doublings.min(10)).min(LONGEST_DELAY))
    }

    /// Asks, waits for the drain time, kills.
    async fn terminate(&self, child: &mut Child) {
        let signal = match self.spec.stop {
            StopSignal::Terminate => Signal::TERM,
            StopSignal::Interrupt => Signal::INT,
        };
        if let Some(pid) = child.id() {
            // Both fail only when it has just ended. A paused process must wake to hear it.
            let _ = send(pid, signal);
            let _ = send(pid, Signal::CONT);
        }
        if timeout(self.spec.drain, child.wait()).await.is_err() {
            let _ = child.kill().await;
        }
    }

    fn tell(&self, notice: Notice) {
        // Nobody listens when the stack is being taken down.
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
