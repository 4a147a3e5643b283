//! The listener of one upstream, whose port can be closed with all its connections and opened again.
//!
//! Not here: when that happens, which [`crate::faults`] decides.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use service_kit::lifecycle::Lifecycle;
use service_kit::serve::{Plain, Server, Shutdown};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

/// Time for requests in flight to finish when the port closes or the program stops.
const CLOSE_GRACE: Duration = Duration::from_millis(500);

/// Opens and closes one port.
#[derive(Debug, Clone)]
pub(crate) struct ListenerSwitch {
    wanted: Arc<watch::Sender<bool>>,
    open: Arc<watch::Sender<bool>>,
}

impl ListenerSwitch {
    pub(crate) fn new() -> Self {
        let open = || Arc::new(watch::Sender::new(true));
        Self { wanted: open(), open: open() }
    }

    /// Opens or closes the port, and returns once it is done.
    pub(crate) async fn set(&self, open: bool) {
        self.wanted.send_replace(open);
        let mut state = self.open.subscribe();
        let _ = state.wait_for(|state| *state == open).await;
    }

    async fn wanted(&self, open: bool) {
        let mut wanted = self.wanted.subscribe();
        let _ = wanted.wait_for(|wanted| *wanted == open).await;
    }
}

/// Serves until the lifecycle stops. Returns at once.
pub(crate) fn serve(
    listener: TcpListener,
    at: SocketAddr,
    server: Server,
    switch: ListenerSwitch,
    life: &Lifecycle,
) {
    let lifecycle = life.clone();
    life.spawn(async move { run(listener, at, server, switch, &lifecycle).await });
}

async fn run(
    mut listener: TcpListener,
    at: SocketAddr,
    server: Server,
    switch: ListenerSwitch,
    life: &Lifecycle,
) {
    loop {
        switch.open.send_replace(true);
        let opening = Opening::default();
        tokio::select! {
            () = server.accept(&listener, Plain, &opening.shutdown, &opening.tasks) => {}
            () = switch.wanted(false) => {}
            () = life.stopping() => {}
        }
        drop(listener);
        opening.close().await;
        switch.open.send_replace(false);
        tokio::select! {
            () = switch.wanted(true) => {}
            () = life.stopping() => return,
        }
        listener = tokio::select! {
            listener = rebind(at) => listener,
            () = life.stopping() => return,
        };
    }
}

/// Retries while another program holds the port.
async fn rebind(at: SocketAddr) -> TcpListener {
    loop {
        match service_kit::serve::bind(at).await {
            Ok(listener) => return listener,
            Err(error) => tracing::error!(%error, "Failed to reopen the port. Retrying."),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The connections accepted between one opening of the port and its closing.
#[derive(Default)]
struct Opening {
    shutdown: Shutdown,
    tasks: TaskTracker,
}

impl Opening {
    /// Closes idle connections at once and the others within [`CLOSE_GRACE`].
    async fn close(&self) {
        self.shutdown.drain.cancel();
        self.tasks.close();
        if tokio::time::timeout(CLOSE_GRACE, self.tasks.wait()).await.is_err() {
            self.shutdown.abort.cancel();
            self.tasks.wait().await;
        }
    }
}
