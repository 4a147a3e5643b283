//! Connections that are not in use. The one used last is taken first, so that those a busy
//! moment left over grow old and are closed.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::connection::Connection;

/// Kept at most; past that the oldest is closed.
const MOST: usize = 64;
/// Unused this long, a connection is closed at the next use of the pool. Below what servers
/// and load balancers wait (60 s and more), so that we close first.
const IDLE: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
pub(super) struct Pool(Mutex<VecDeque<Kept>>);

#[derive(Debug)]
struct Kept {
    connection: Box<Connection>,
    since: Instant,
}

impl Pool {
    /// One that the other side has not closed, as far as can be known.
    pub(super) async fn take(&self) -> Option<Box<Connection>> {
        loop {
            let Kept { mut connection, since } = self.with(VecDeque::pop_back)?;
            if since.elapsed() < IDLE && connection.is_free().await {
                return Some(connection);
            }
        }
    }

    pub(super) fn keep(&self, connection: Box<Connection>) {
        let kept = Kept { connection, since: Instant::now() };
        let closed = self.with(|pool| {
            pool.push_back(kept);
            let is_old = pool.front().is_some_and(|it| it.since.elapsed() >= IDLE);
            if is_old || pool.len() > MOST { pool.pop_front() } else { None }
        });
        drop(closed);
    }

    fn with<T>(&self, change: impl FnOnce(&mut VecDeque<Kept>) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
