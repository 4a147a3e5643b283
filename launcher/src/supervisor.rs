//! Starts child processes, detects at once when one ends, restarts it, and leaves none behind, even
//! when this process is killed with SIGKILL.
//!
//! Every child is started through `setpriv --pdeathsig`, so that the kernel signals it when its
//! parent dies. That signal is tied to the parent *thread*, so all children are started from one
//! thread that lives as long as the [`Supervisor`]. Dropping the supervisor therefore ends all
//! children; [`Process::stop`] stops one gracefully.
//!
//! Not here: what is started, and in which order.

use std::path::PathBuf;
use std::thread::JoinHandle;

use anyhow::Context;
use tokio::runtime::{Builder, Handle};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

mod child_spec;
mod child_task;
mod exclusive_dir;
mod process;

pub use child_spec::{ChildSpec, StopSignal};
pub use process::{Process, State};

/// A change of a child's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// The child ended by itself and is not restarted.
    Ended { name: String, pid: u32, how: String },
    /// The child ended and will be restarted after a delay.
    Waiting { name: String, pid: u32, how: String, delay_ms: u64 },
    /// The child was restarted.
    Restarted { name: String, old_pid: u32, how: String, pid: u32 },
    /// Processes of an earlier run still work in the child's directory when the wait for their end is
    /// over.
    DirInUse { name: String, dir: PathBuf },
    /// The child could not be started.
    Failed { name: String, why: String },
}

impl Notice {
    pub fn sentence(&self) -> String {
        match self {
            Self::Ended { name, pid, how } => format!("{name} (pid {pid}) {how}."),
            Self::Waiting { name, pid, how, delay_ms } => {
                format!("{name} (pid {pid}) {how} again; restarting in {delay_ms} ms.")
            }
            Self::Restarted { name, old_pid, how, pid } => {
                format!("{name} (pid {old_pid}) {how}; restarted as pid {pid}.")
            }
            Self::DirInUse { name, dir } => format!(
                "{name}: processes of an earlier run still work in {} after {} s; starting {name} anyway.",
                dir.display(),
                exclusive_dir::WAIT_LIMIT.as_secs()
            ),
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
    /// Starts the thread. The receiver gets notices in the order of the events.
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

    /// Starts and supervises a child.
    pub fn launch(&self, spec: ChildSpec) -> Process {
        let (sender, receiver) = mpsc::channel(8);
        let (report, state) = watch::channel(State::Starting);
        let process = Process::new(&spec, sender, state);
        let task = child_task::ChildTask::new(spec, receiver, report, self.notices.clone());
        self.tracker.spawn_on(task.run(), &self.runtime);
        process
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.quit.cancel();
        if let Some(thread) = self.thread.take() {
            // A panic was already printed, and the children ended with the thread.
            let _ = thread.join();
        }
    }
}
