//! One upstream's listener on its own port, able to close the port with all its connections and to
//! open it again.
//!
//! Not here: when to do so; [`crate::faults`] decides.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use service_kit::lifecycle::Lifecycle;
use service_kit::serve::{Plain, Server, Shutdown};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

/// How long answers under way may still take when the port closes or the program stops.
const GRACE: Duration = Duration::from_millis(500);

/// Opens and closes one port.
#[derive(Debug, Clone)]
pub(crate) struct Gate {
    wanted: Arc<watch::Sender<bool>>,
    open: Arc<watch::Sender<bool>>,
}

impl Gate {
    pub(crate) fn new() -> Self {
        let open = || Arc::new(watch::Sender::new(true));
        Self { wanted: open(), open: open() }
    }

    /// Answers when the port is really open or closed.
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
    gate: Gate,
    life: &Lifecycle,
) {
    let lifecycle = life.clone();
    life.spawn(async move { run(listener, at, server, gate, &lifecycle).await });
}

async fn run(
    mut listener: TcpListener,
    at: SocketAddr,
    server: Server,
    gate: Gate,
    life: &Lifecycle,
) {
    loop {
        gate.open.send_replace(true);
        let opening = Opening::default();
        tokio::select! {
            () = server.accept(&listener, Plain, &opening.shutdown, &opening.tasks) => {}
            () = gate.wanted(false) => {}
            () = life.stopping() => {}
        }
        drop(listener);
        opening.close().await;
        gate.open.send_replace(false);
        tokio::select! {
            () = gate.wanted(true) => {}
            () = life.stopping() => return,
        }
        listener = tokio::select! {
            listener = rebind(at) => listener,
            () = life.stopping() => return,
        };
    }
}

/// The port may have been taken meanwhile; then it stays closed until it is free.
async fn rebind(at: SocketAddr) -> TcpListener {
    loop {
        match service_kit::serve::bind(at).await {
            Ok(listener) => return listener,
            Err(error) => tracing::error!(%error, "The port cannot be opened again yet."),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The connections of one opening of the port.
#[derive(Default)]
struct Opening {
    shutdown: Shutdown,
    tasks: TaskTracker,
}

impl Opening {
    /// Idle connections end at once, the others within [`GRACE`].
    async fn close(&self) {
        self.shutdown.drain.cancel();
        self.tasks.close();
        if tokio::time::timeout(GRACE, self.tasks.wait()).await.is_err() {
            self.shutdown.abort.cancel();
            self.tasks.wait().await;
        }
    }
}
