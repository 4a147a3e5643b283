//! Shutdown of a program: a token that signals it, and a tracker that waits for the tasks.

use std::future::Future;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Longest time of a drain; what still runs is dropped.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Default)]
pub struct Lifecycle {
    stopping: CancellationToken,
    tasks: TaskTracker,
}

impl Lifecycle {
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs a task that shutdown waits for. It runs to completion, also when its handle is dropped.
    pub fn spawn<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        self.tasks.spawn(task)
    }

    /// Runs a task that is dropped when shutdown begins.
    pub fn spawn_until_stop<F>(&self, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let stopping = self.stopping.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = stopping.cancelled() => {}
                () = task => {}
            }
        });
    }

    /// The tracker of tasks that shutdown waits for.
    pub fn tasks(&self) -> TaskTracker {
        self.tasks.clone()
    }

    /// A token that is cancelled when shutdown begins.
    pub fn stop_token(&self) -> CancellationToken {
        self.stopping.clone()
    }

    /// Resolves when shutdown begins.
    pub async fn stopping(&self) {
        self.stopping.cancelled().await;
    }

    pub fn is_stopping(&self) -> bool {
        self.stopping.is_cancelled()
    }

    pub fn stop(&self) {
        self.stopping.cancel();
    }

    /// Stops on SIGTERM or SIGINT, then waits for the tasks, at most [`DRAIN_TIMEOUT`].
    pub async fn run_until_signal(self) -> std::io::Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            () = self.stopping.cancelled() => {}
        }
        tracing::info!("Draining.");
        self.drain().await;
        Ok(())
    }

    /// Begins shutdown and waits for the tasks, at most [`DRAIN_TIMEOUT`].
    pub async fn drain(&self) {
        self.stop();
        self.tasks.close();
        if tokio::time::timeout(DRAIN_TIMEOUT, self.tasks.wait()).await.is_err() {
            tracing::warn!(
                left = self.tasks.len(),
                "Drain timed out. Dropping the remaining tasks."
            );
        }
    }
}
