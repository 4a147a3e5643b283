//! Timeouts of statements: on the server, and for the reply.

use std::time::Duration;

use crate::deadline;

/// Timeout of a statement on the server (seed HK-1.2).
pub(super) const STATEMENT_TIMEOUT: Duration = Duration::from_millis(800);
/// Time for the reply to arrive after the server ended the statement.
const REPLY_GRACE: Duration = Duration::from_millis(200);
/// Minimum timeout of the statement that makes a connection reusable. It often runs after the
/// request's deadline, and a short timeout would discard good connections of a busy server.
const MIN_CLEAN_UP_TIMEOUT: Duration = Duration::from_millis(500);
/// How long the server keeps a transaction and its row locks for a client that sends nothing. Longer
/// than the time between two statements of any request.
pub(super) const IDLE_IN_TRANSACTION_TIMEOUT: Duration = Duration::from_secs(3);

/// The statement timeout for the current request, if its deadline is sooner than
/// [`STATEMENT_TIMEOUT`]. Never 0, which would mean no timeout, and never before the deadline.
pub(super) fn statement() -> Option<Duration> {
    let left = Duration::from_millis(deadline::remaining()?.as_millis() as u64 + 1);
    (left < STATEMENT_TIMEOUT).then_some(left)
}

/// Timeout of a reply. A connection without a reply by then is discarded.
pub(super) fn reply() -> Duration {
    statement().unwrap_or(STATEMENT_TIMEOUT) + REPLY_GRACE
}

/// Timeout of the reply to the statement that makes a connection reusable.
pub(super) fn clean_up() -> Duration {
    reply().max(MIN_CLEAN_UP_TIMEOUT)
}
