//! Where the content of a read came from.

use std::time::Duration;

use contracts::dashboard::Reason;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A fresh snapshot.
    Hit { age: Duration },
    /// A call to the upstream; its response is cached.
    Miss,
    /// A call to the upstream; its response is never cached.
    Bypass,
    /// A snapshot past its freshness. `reason` says why there is nothing newer.
    Stale { age: Duration, reason: Reason },
}
