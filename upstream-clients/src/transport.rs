//! HTTP/1.1 to one upstream over kept connections: an attempt's exchange, bounded in size.
//!
//! There is no task beside the call. Whoever waits for the answer also drives the connection, so
//! an answer wakes one task once, and dropping the call closes its connection. Not here: time
//! limits of a call, retries, and what an answer means.

mod connection;
mod connector;
mod pool;

use bytes::Bytes;
use http::{HeaderValue, Request};
use http_body_util::Full;
use url::Url;

use connection::Connection;
pub(crate) use connection::{Answer, Failure};
pub use connector::{Connector, TransportError};
use pool::Pool;

/// What is sent: the body is in memory.
pub(crate) type Outgoing = Request<Full<Bytes>>;

/// The way to one address.
#[derive(Debug)]
pub(crate) struct Transport {
    base: Url,
    /// The `Host` of every request.
    host: HeaderValue,
    connector: Connector,
    pool: Pool,
}

impl Transport {
    pub(crate) fn new(base: Url, connector: Connector) -> Self {
        let authority = base.authority().rsplit('@').next().unwrap_or_default();
        let host = HeaderValue::from_str(authority).expect("an address is ASCII");
        Self { base, host, connector, pool: Pool::default() }
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
        if let Some(kept) = self.pool.take().await {
            match self.over(kept, request(), limit).await {
                Err(Failure::Unsent(_)) => {}
                Err(Failure::Unanswered(_)) if is_repeatable => {}
                settled => return settled,
            }
        }
        let fresh = Connection::open(self.connector.connect(&self.base).await?).await?;
        self.over(fresh, request(), limit).await
    }

    /// The connection is kept when it can serve again, and closed when this is dropped.
    async fn over(
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
