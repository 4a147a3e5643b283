//! Idle HTTP/1.1 connections. The most recently used one is taken first, so that surplus ones
//! expire.

use std::collections::VecDeque;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::http1::Http1Connection;

/// Above this the oldest is closed.
const MAX_IDLE: usize = 64;
/// Idle connections are closed after this long, at the next use of the pool. Servers and load
/// balancers wait 60 s and more, so the gateway closes first.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
pub(super) struct Pool(Mutex<VecDeque<IdleConnection>>);

#[derive(Debug)]
struct IdleConnection {
    connection: Box<Http1Connection>,
    since: Instant,
}

impl Pool {
    /// Returns a connection that the upstream has not closed, as far as is known.
    pub(super) async fn take(&self) -> Option<Box<Http1Connection>> {
        loop {
            let IdleConnection { mut connection, since } = self.0.lock().pop_back()?;
            if since.elapsed() < IDLE_TIMEOUT && connection.is_ready().await {
                return Some(connection);
            }
        }
    }

    pub(super) fn put(&self, connection: Box<Http1Connection>) {
        let idle = IdleConnection { connection, since: Instant::now() };
        let mut pool = self.0.lock();
        pool.push_back(idle);
        let is_old = pool.front().is_some_and(|idle| idle.since.elapsed() >= IDLE_TIMEOUT);
        let closed = if is_old || pool.len() > MAX_IDLE { pool.pop_front() } else { None };
        drop(pool);
        drop(closed);
    }
}
