//! Metrics of a listener: open connections by state, and refusals by reason.

use metrics::{Gauge, counter, gauge};

/// Names of one program's connection metrics.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionMetrics {
    /// Gauge, by `listener` and `state`.
    pub open: &'static str,
    /// Counter, by `listener` and `reason`.
    pub refused: &'static str,
}

/// The names with a program's prefix: `connection_metrics!("inventory")`.
#[macro_export]
macro_rules! connection_metrics {
    ($prefix:literal) => {
        $crate::connection::ConnectionMetrics {
            open: concat!($prefix, "_connections_open"),
            refused: concat!($prefix, "_connections_refused_total"),
        }
    };
}

/// Why a connection was refused or closed, or a request body given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(const_into_str, serialize_all = "snake_case")]
pub(crate) enum Reason {
    /// The TLS handshake took too long.
    HandshakeTimeout,
    /// No byte of a first request was received.
    Silent,
    /// The headers of a request took too long.
    HeadersTimeout,
    /// A request body made no progress, or took too long as a whole.
    BodyTimeout,
    /// The client accepted nothing of its response.
    WriteTimeout,
    /// No request for the keep-alive time.
    Idle,
    /// The listener has as many connections as it may have.
    InstanceLimit,
    /// The client address has as many unauthenticated connections as it may have.
    AddressLimit,
}

/// The metrics of one listener.
#[derive(Debug)]
pub(crate) struct Meters {
    names: ConnectionMetrics,
    listener: &'static str,
    pub(crate) unauthenticated: Gauge,
    pub(crate) authenticated: Gauge,
}

impl Meters {
    pub(crate) fn new(names: ConnectionMetrics, listener: &'static str) -> Self {
        let open = |state| gauge!(names.open, "listener" => listener, "state" => state);
        let (unauthenticated, authenticated) = (open("unauthenticated"), open("authenticated"));
        Self { names, listener, unauthenticated, authenticated }
    }

    pub(crate) fn refused(&self, reason: Reason) {
        let labels = [("listener", self.listener), ("reason", reason.into_str())];
        counter!(self.names.refused, &labels).increment(1);
    }
}
