//! How long a statement may take: on the server, and until its reply must have arrived here.

use std::time::Duration;

use crate::deadline;

/// What the server allows a statement (seed HK-1.2).
pub(super) const STATEMENT_TIMEOUT: Duration = Duration::from_millis(800);
/// For the reply to arrive after the server has ended the statement.
const REPLY_GRACE: Duration = Duration::from_millis(200);
/// Shortest time for the statement that makes a connection reusable. It often runs after the
/// request's deadline, and too short a limit would discard good connections of a busy server.
const CLEAN_UP_AT_LEAST: Duration = Duration::from_millis(500);
/// How long the server keeps a transaction, and with it its row locks, for a client that sends
/// nothing. Longer than any request waits between two statements.
pub(super) const IDLE_IN_TRANSACTION: Duration = Duration::from_secs(3);

/// Where the request's deadline leaves less than the connection's own limit: a statement that
/// nobody waits for gives its connection back. Never 0, which would be no limit, and never before
/// the deadline itself.
pub(super) fn of_request() -> Option<Duration> {
    let left = Duration::from_millis(deadline::left()?.as_millis() as u64 + 1);
    (left < STATEMENT_TIMEOUT).then_some(left)
}

/// How long a reply is waited for. A connection without a reply by then is discarded.
pub(super) fn of_reply() -> Duration {
    of_request().unwrap_or(STATEMENT_TIMEOUT) + REPLY_GRACE
}

/// The same for the statement that makes a connection reusable.
pub(super) fn of_clean_up() -> Duration {
    of_reply().max(CLEAN_UP_AT_LEAST)
}
