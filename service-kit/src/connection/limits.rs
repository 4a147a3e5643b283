//! Settings of a listener: how long a client may take for each part of a connection, and how many
//! connections there may be.

use garde::Validate;
use schemars::JsonSchema;
use serde::Deserialize;

/// Limits of the connections of one listener. Durations are in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema, Validate)]
#[serde(default, deny_unknown_fields)]
#[garde(allow_unvalidated)]
pub struct ConnectionLimits {
    /// TLS handshake and first byte of the first request together, counted from the accept.
    #[garde(range(min = 1))]
    pub first_byte_ms: u64,
    /// All headers of a request, counted from their first byte. The first request of an HTTP/2
    /// connection includes the connection preface.
    #[garde(range(min = 1))]
    pub headers_ms: u64,
    /// Longest time in which a request body may make no progress.
    #[garde(range(min = 1))]
    pub body_stall_ms: u64,
    /// A whole request body, counted from the end of the headers.
    #[garde(range(min = 1))]
    pub body_total_ms: u64,
    /// Longest time a client may accept nothing of a pending response: on the socket or, over HTTP/2, in
    /// its flow-control window, which ends only the stream of that response.
    #[garde(range(min = 1))]
    pub write_stall_ms: u64,
    /// How long a connection without a request is kept. The default is above what load balancers
    /// keep (Google's: 600 s), so that they close first and no request meets a closed connection.
    #[garde(range(min = 1))]
    pub idle_ms: u64,
    /// How long an idle HTTP/1.1 connection is kept once shutdown begins: a request that is already
    /// in transit gets its response, with `Connection: close`.
    pub drain_idle_ms: u64,
    /// Open connections of this listener. The newest is refused past that.
    #[garde(range(min = 1))]
    pub max_connections: usize,
    /// Open connections of one client address that have not yet carried an authenticated request.
    /// The newest is refused past that. All desktops of a hotel share an address.
    #[garde(range(min = 1))]
    pub max_unauthenticated_per_address: usize,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            first_byte_ms: 10_000,
            headers_ms: 10_000,
            body_stall_ms: 10_000,
            body_total_ms: 30_000,
            write_stall_ms: 30_000,
            idle_ms: 620_000,
            drain_idle_ms: 1_000,
            max_connections: 20_000,
            max_unauthenticated_per_address: 256,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_default_a_load_balancer_closes_idle_connections_first() {
        let (limits, load_balancer_ms) = (ConnectionLimits::default(), 600_000);
        assert!(limits.idle_ms > load_balancer_ms, "{limits:?}");
    }
}
