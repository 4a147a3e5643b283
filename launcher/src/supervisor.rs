//! Starts child processes, notices at once when one ends, starts it again, and leaves
//! none behind, not even when this process is killed with -9.
//!
//! Every child is started through `setpriv --pdeathsig`: the kernel signals it when
//! its parent dies. That signal is tied to the parent *thread*, so all children are
//! started from one thread which lives as long as the [`Supervisor`]. Dropping the
//! supervisor therefore ends all children; [`Process::stop`] is the polite way.
//!
//! Not here: what is started, and in which order.

use std::thread::JoinHandle;

use anyhow::Context;
use tokio::runtime::{Builder, Handle};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

mod care;
mod process;
mod spec;

pub use process::{Process, State};
pub use spec::{DeathSignal, Spec, StopSignal};

/// Something a person or a file should learn about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// A child ended by itself and stays down.
    Ended { name: String, pid: u32, how: String },
    /// It ended and will be tried again.
    Waiting { name: String, pid: u32, how: String, delay_ms: u64 },
    /// It was started again.
    Restarted { name: String, old_pid: u32, how: String, pid: u32 },
    /// Starting it again failed.
    Failed { name: String, why: String },
}

impl Notice {
    pub fn sentence(&self) -> String {
        match self {
            Self::Ended { name, pid, how } => format!("{name} (pid {pid}) {how}."),
            Self::Waiting { name, pid, how, delay_ms } => {
                format!("{name} (pid {pid}) {how} again; next try in {delay_ms} ms.")
            }
            Self::Restarted { name, old_pid, how, pid } => {
                format!("{name} (pid {old_pid}) {how}; started again as pid {pid}.")
            }
            Self::Failed { name, why } => format!("{name} could not be started: {why}."),
        }
    }
}

#[derive(Debug)]
pub struct Supervisor {
    runtime: Handle,
    tracker: TaskTracker,
    quit: CancellationToken,
    thread: Option<JoinHandle<()>>,
    notices: mpsc::UnboundedSender<Notice>,
}

impl Supervisor {
    /// Starts the thread. Notices arrive at the receiver in the order things happened.
    pub fn start() -> anyhow::Result<(Self, mpsc::UnboundedReceiver<Notice>)> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .context("making the supervisor's runtime")?;
        let handle = runtime.handle().clone();
        let quit = CancellationToken::new();
        let until = quit.clone();
        let thread = std::thread::Builder::new()
            .name("supervisor".to_owned())
            .spawn(move || runtime.block_on(until.cancelled_owned()))
            .context("starting the supervisor's thread")?;
        let (notices, receiver) = mpsc::unbounded_channel();
        let tracker = TaskTracker::new();
        Ok((Self { runtime: handle, tracker, quit, thread: Some(thread), notices }, receiver))
    }

    /// Starts a child and watches it from now on.
    pub fn launch(&self, spec: Spec) -> Process {
        let (orders, inbox) = mpsc::channel(8);
        let (report, state) = watch::channel(State::Starting);
        let process = Process::new(&spec, orders, state);
        let care = care::Care::new(spec, inbox, report, self.notices.clone());
        self.tracker.spawn_on(care.run(), &self.runtime);
        process
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.quit.cancel();
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed, and its children are gone with the thread.
            let _ = thread.join();
        }
    }
}
