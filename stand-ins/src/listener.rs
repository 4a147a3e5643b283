//! One upstream's listener: HTTP/1.1 on its own port, able to close the port, to cut a
//! connection, and to reset one.
//!
//! Not here: when to do so; [`crate::faults`] decides.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use service_kit::lifecycle::Lifecycle;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::{Layer, ServiceExt};

/// How long answers under way may still take when the port closes or the program stops.
const GRACE: Duration = Duration::from_millis(500);
const SLOWEST_HEADERS: Duration = Duration::from_secs(10);

/// How a connection ends early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Closed without an answer.
    Close,
    /// With an RST, which tells the peer that data may be lost.
    Reset,
}

/// Ends the connection a request came on. In the request's extensions.
#[derive(Debug, Clone)]
pub(crate) struct Cut(watch::Sender<Option<Ending>>);

impl Cut {
    pub(crate) fn now(&self, ending: Ending) {
        self.0.send_replace(Some(ending));
    }
}

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
    app: Router,
    gate: Gate,
    life: &Lifecycle,
) {
    let lifecycle = life.clone();
    life.spawn(async move { run(listener, at, app, gate, &lifecycle).await });
}

async fn run(mut listener: TcpListener, at: SocketAddr, app: Router, gate: Gate, life: &Lifecycle) {
    loop {
        gate.open.send_replace(true);
        let connections = Connections::default();
        tokio::select! {
            () = connections.accept(&listener, &app, life) => {}
            () = gate.wanted(false) => {}
            () = life.stopping() => {}
        }
        drop(listener);
        connections.close().await;
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
struct Connections {
    closing: CancellationToken,
    tasks: TaskTracker,
}

impl Connections {
    async fn accept(&self, listener: &TcpListener, app: &Router, life: &Lifecycle) {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let _ = stream.set_nodelay(true);
                    let talk = converse(stream, app.clone(), self.closing.clone());
                    life.spawn(self.tasks.track_future(talk));
                }
                Err(error) => {
                    tracing::error!(%error, "A connection could not be accepted.");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    /// Idle connections end at once, the others within [`GRACE`].
    async fn close(&self) {
        self.closing.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

async fn converse(stream: TcpStream, app: Router, closing: CancellationToken) {
    let (cut, mut ending) = watch::channel(None);
    let app = axum::Extension(Cut(cut)).layer(app);
    let service = TowerToHyperService::new(
        app.map_request(|request: http::Request<_>| request.map(axum::body::Body::new)),
    );
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(SLOWEST_HEADERS);
    let mut connection = server.serve_connection(TokioIo::new(stream), service);
    let ending = tokio::select! {
        _ = &mut connection => return,
        ending = asked(&mut ending) => ending,
        () = closing.cancelled() => {
            std::pin::Pin::new(&mut connection).graceful_shutdown();
            let _ = tokio::time::timeout(GRACE, &mut connection).await;
            return;
        }
    };
    let socket = connection.into_parts().io.into_inner();
    if ending == Some(Ending::Reset) {
        let _ = socket.set_zero_linger();
    }
}

/// How the connection is to end, once somebody asks.
async fn asked(cut: &mut watch::Receiver<Option<Ending>>) -> Option<Ending> {
    let ending = cut.wait_for(Option::is_some).await;
    ending.ok().and_then(|ending| *ending)
}
