//! HTTP client for one upstream over pooled connections; responses are bounded in size.
//!
//! Over TLS, ALPN selects HTTP/2 or HTTP/1.1. Over cleartext HTTP/1.1 is used, or HTTP/2 if the
//! address has the scheme `h2c`.
//!
//! With HTTP/1.1 the call itself polls its connection: no task per connection, a response wakes one
//! task once, and dropping the call closes the connection.
//!
//! Compared with hyper-util 0.1.21's client, µs of CPU per call with a response of 0.8 and of 14 kB
//! (`cargo bench -p upstream-clients --bench one_call -- HTTP/`, medians of five runs on two shared
//! cores, which vary by a tenth):
//!
//! | | this client | hyper-util |
//! |---|---|---|
//! | HTTP/1.1, one call at a time | 7.3, 7.9 | 8.6, 9.2 |
//! | HTTP/1.1, ten at once | 6.8, 7.9 | 7.3, 9.1 |
//! | HTTP/2, one call at a time | 12.4, 13.5 | 13.0, 13.6 |
//! | HTTP/2, ten at once | 7.3, 8.6 | 8.0, 9.2 |
//!
//! About a tenth in HTTP/1.1 and less in HTTP/2 would not justify this module alone. But hyper-util
//! does not resend a repeatable request that got no response on a reused connection, has one HTTP/2
//! connection per address however many calls wait for a stream, and replaces a silent one only when
//! a ping times out. The tests require all three; around hyper-util's client they would need
//! connection pools of our own, as here.
//!
//! Not here: time limits of a call, retries, and what a response means.

mod coalescing_waker;
mod connector;
mod exchange;
mod http1;
mod http2;
mod pool;

use std::sync::atomic::{AtomicBool, Ordering};

use http::{HeaderValue, Uri};
use tokio::sync::{Mutex, MutexGuard};
use url::Url;

use connector::agreed_on_http2;
pub use connector::{Connector, TransportError};
pub use exchange::{ExchangeError, HttpRequest, RawResponse};
use http1::Http1Connection;
use http2::{Http2Connection, Http2Pool, StreamSlot, for_http2};
use pool::Pool;

/// Scheme of addresses with HTTP/2 over cleartext by prior knowledge (RFC 9113, section 3.3).
const CLEARTEXT_HTTP2: &str = "h2c";

/// The connections to one address.
#[derive(Debug)]
pub struct Transport {
    base: Url,
    /// The `Host` of every request.
    host: HeaderValue,
    /// Scheme and authority of every request in HTTP/2.
    origin: Uri,
    connector: Connector,
    /// Idle HTTP/1.1 connections.
    http1_pool: Pool,
    /// All HTTP/2 connections.
    http2_pool: Http2Pool,
    /// Whether a new connection may use HTTP/2.
    may_be_http2: AtomicBool,
    /// Held while a connection that may use HTTP/2 is opened.
    opening: Mutex<()>,
}

/// A connection of the call's own, or a slot on a shared one.
enum ConnectionLease {
    Http1(Box<Http1Connection>),
    Http2(StreamSlot),
}

impl Transport {
    pub fn new(base: Url, connector: Connector) -> Self {
        let authority = base.authority().rsplit('@').next().unwrap_or_default();
        let host = HeaderValue::from_str(authority).expect("an address is ASCII");
        let scheme = if base.scheme() == "https" { "https" } else { "http" };
        let origin = format!("{scheme}://{authority}/").parse().expect("an address is an origin");
        let may_be_http2 = AtomicBool::new(matches!(base.scheme(), "https" | CLEARTEXT_HTTP2));
        let (http1_pool, http2_pool, opening) =
            (Pool::default(), Http2Pool::default(), Mutex::default());
        Self { base, host, origin, connector, http1_pool, http2_pool, may_be_http2, opening }
    }

    pub(crate) fn base(&self) -> &Url {
        &self.base
    }

    pub(crate) fn host(&self) -> HeaderValue {
        self.host.clone()
    }

    /// Sends what `request` builds and reads at most `limit` bytes of the response.
    ///
    /// The upstream may just have closed an idle connection. Then the request is sent again on a
    /// new one, if nothing of it was sent or it `is_repeatable`.
    pub async fn exchange(
        &self,
        request: impl Fn() -> HttpRequest,
        is_repeatable: bool,
        limit: usize,
    ) -> Result<RawResponse, ExchangeError> {
        let mut idle = self.idle().await;
        loop {
            let was_idle = idle.is_some();
            let lease = match idle.take() {
                Some(lease) => lease,
                // Boxed: it is rare, and large.
                None => Box::pin(self.open()).await?,
            };
            match self.exchange_over(lease, request(), limit).await {
                Err(ExchangeError::NotSent(_)) if was_idle => {}
                Err(ExchangeError::NoResponse(_)) if was_idle && is_repeatable => {}
                outcome => return outcome,
            }
        }
    }

    /// `None` when there is no idle connection.
    async fn idle(&self) -> Option<ConnectionLease> {
        match self.http1_pool.take().await {
            Some(connection) => Some(ConnectionLease::Http1(connection)),
            None => self.http2_pool.acquire().map(ConnectionLease::Http2),
        }
    }

    async fn exchange_over(
        &self,
        lease: ConnectionLease,
        request: HttpRequest,
        limit: usize,
    ) -> Result<RawResponse, ExchangeError> {
        match lease {
            ConnectionLease::Http1(connection) => {
                self.exchange_http1(connection, request, limit).await
            }
            ConnectionLease::Http2(slot) => {
                let request = for_http2(request, &self.origin);
                Box::pin(slot.exchange(request, limit)).await
            }
        }
    }

    async fn open(&self) -> Result<ConnectionLease, TransportError> {
        let _dialing = self.dial_lock().await;
        if let Some(slot) = self.http2_pool.acquire() {
            return Ok(ConnectionLease::Http2(slot));
        }
        let stream = self.connector.connect(&self.base).await?;
        let is_http2 = agreed_on_http2(&stream) || self.base.scheme() == CLEARTEXT_HTTP2;
        self.may_be_http2.store(is_http2, Ordering::Relaxed);
        if !is_http2 {
            return Ok(ConnectionLease::Http1(Http1Connection::open(stream).await?));
        }
        let connection = Http2Connection::open(stream, self.connector.tasks()).await?;
        let slot = self.http2_pool.add(connection).expect("a new connection has room");
        Ok(ConnectionLease::Http2(slot))
    }

    /// Makes concurrent calls wait for one new connection if they can share it (HTTP/2); otherwise
    /// each opens its own.
    async fn dial_lock(&self) -> Option<MutexGuard<'_, ()>> {
        let may_be_http2 = || self.may_be_http2.load(Ordering::Relaxed);
        if !may_be_http2() {
            return None;
        }
        let guard = self.opening.lock().await;
        may_be_http2().then_some(guard)
    }

    /// Returns the connection to the pool if it can be reused. Dropping the future closes it.
    async fn exchange_http1(
        &self,
        mut connection: Box<Http1Connection>,
        request: HttpRequest,
        limit: usize,
    ) -> Result<RawResponse, ExchangeError> {
        let response = connection.exchange(request, limit).await?;
        if connection.is_ready().await {
            self.http1_pool.put(connection);
        }
        Ok(response)
    }
}
