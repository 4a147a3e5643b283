//! HTTP to one upstream over kept connections: an attempt's exchange, bounded in size.
//!
//! Over TLS the handshake decides between HTTP/2 and HTTP/1.1; over cleartext it is HTTP/1.1,
//! and HTTP/2 where the address has the scheme `h2c`.
//!
//! With HTTP/1.1 there is no task beside the call. Whoever waits for the answer also drives the
//! connection, so an answer wakes one task once, and dropping the call closes its connection.
//! Not here: time limits of a call, retries, and what an answer means.

mod connection;
mod connector;
mod multiplexed;
mod pool;
mod relay;

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http::{HeaderValue, Request, Uri};
use http_body_util::Full;
use tokio::sync::{Mutex, MutexGuard};
use url::Url;

use connection::Connection;
pub(crate) use connection::{Answer, Failure};
pub use connector::{Connector, TransportError};
use multiplexed::{Multiplexed, Place, Shared, for_http2};
use pool::Pool;

/// What is sent: the body is in memory.
pub(crate) type Outgoing = Request<Full<Bytes>>;

/// The scheme of addresses that speak HTTP/2 over cleartext, known beforehand (RFC 9113, section 3.3).
const CLEARTEXT_HTTP2: &str = "h2c";

/// The way to one address.
#[derive(Debug)]
pub(crate) struct Transport {
    base: Url,
    /// The `Host` of every request.
    host: HeaderValue,
    /// Scheme and authority of every request in HTTP/2.
    origin: Uri,
    connector: Connector,
    /// HTTP/1.1: connections that are not in use.
    pool: Pool,
    /// HTTP/2: all connections.
    shared: Shared,
    /// Whether a new connection may turn out to be one that calls share.
    may_share: AtomicBool,
    /// Held while such a connection is made.
    opening: Mutex<()>,
}

/// A connection: the call's own, or a place on one that others use too.
enum Way {
    Own(Box<Connection>),
    Shared(Place),
}

impl Transport {
    pub(crate) fn new(base: Url, connector: Connector) -> Self {
        let authority = base.authority().rsplit('@').next().unwrap_or_default();
        let host = HeaderValue::from_str(authority).expect("an address is ASCII");
        let scheme = if base.scheme() == "https" { "https" } else { "http" };
        let origin = format!("{scheme}://{authority}/").parse().expect("an address is an origin");
        let may_share = AtomicBool::new(matches!(base.scheme(), "https" | CLEARTEXT_HTTP2));
        let (pool, shared, opening) = (Pool::default(), Shared::default(), Mutex::default());
        Self { base, host, origin, connector, pool, shared, may_share, opening }
    }

    pub(crate) fn base(&self) -> &Url {
        &self.base
    }

    pub(crate) fn host(&self) -> HeaderValue {
        self.host.clone()
    }

    /// Sends what `request` makes and reads at most `limit` bytes of an answer.
    ///
    /// A kept connection may have been closed by the other side just now. Then the request goes
    /// out once more on a new one, when nothing of it was sent or `is_repeatable` says that a
    /// second time does no harm.
    pub(crate) async fn exchange(
        &self,
        request: impl Fn() -> Outgoing,
        is_repeatable: bool,
        limit: usize,
    ) -> Result<Answer, Failure> {
        let mut kept = self.kept().await;
        loop {
            let was_kept = kept.is_some();
            let way = match kept.take() {
                Some(way) => way,
                // Rare and large: every call would carry it otherwise.
                None => Box::pin(self.open()).await?,
            };
            match self.over(way, request(), limit).await {
                Err(Failure::Unsent(_)) if was_kept => {}
                Err(Failure::Unanswered(_)) if was_kept && is_repeatable => {}
                settled => return settled,
            }
        }
    }

    /// `None` when no connection is there.
    async fn kept(&self) -> Option<Way> {
        match self.pool.take().await {
            Some(connection) => Some(Way::Own(connection)),
            None => self.shared.take().map(Way::Shared),
        }
    }

    async fn over(&self, way: Way, request: Outgoing, limit: usize) -> Result<Answer, Failure> {
        match way {
            Way::Own(connection) => self.alone_over(connection, request, limit).await,
            Way::Shared(place) => {
                let request = for_http2(request, &self.origin);
                Box::pin(place.exchange(request, limit)).await
            }
        }
    }

    async fn open(&self) -> Result<Way, TransportError> {
        let _alone = self.alone().await;
        if let Some(place) = self.shared.take() {
            return Ok(Way::Shared(place));
        }
        let stream = self.connector.connect(&self.base).await?;
        let is_http2 = stream.agreed_on_http2() || self.base.scheme() == CLEARTEXT_HTTP2;
        self.may_share.store(is_http2, Ordering::Relaxed);
        if !is_http2 {
            return Ok(Way::Own(Connection::open(stream).await?));
        }
        let connection = Multiplexed::open(stream, self.connector.tasks()).await?;
        let place = self.shared.keep(connection).expect("a new connection has room");
        Ok(Way::Shared(place))
    }

    /// Of calls that find no connection at once, one makes it and the others share it, if it can
    /// be shared; else each makes its own.
    async fn alone(&self) -> Option<MutexGuard<'_, ()>> {
        let may_share = || self.may_share.load(Ordering::Relaxed);
        if !may_share() {
            return None;
        }
        let alone = self.opening.lock().await;
        may_share().then_some(alone)
    }

    /// The connection is kept when it can serve again, and closed when this is dropped.
    async fn alone_over(
        &self,
        mut connection: Box<Connection>,
        request: Outgoing,
        limit: usize,
    ) -> Result<Answer, Failure> {
        let answer = connection.exchange(request, limit).await?;
        if connection.is_free().await {
            self.pool.keep(connection);
        }
        Ok(answer)
    }
}
