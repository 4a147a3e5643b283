//! Why a call failed, in the gateway's terms; no error of a library.

use contracts::dashboard::Reason;
use contracts::problem::Problem;

use crate::call_health::CallHealth;
use crate::transport::{ExchangeError, TransportError};

#[derive(Debug, thiserror::Error)]
pub enum CallError {
    #[error("the deadline passed")]
    Timeout,
    #[error("the upstream cannot be reached")]
    Unavailable(#[source] TransportError),
    #[error("the upstream returned status {status}")]
    Status { status: u16, problem: Option<Box<Problem>> },
    #[error("the circuit breaker is open after repeated failures")]
    BreakerOpen,
    #[error("too many concurrent calls to this upstream")]
    ConcurrencyLimit,
    /// `path` names the member; the data is never kept.
    #[error("the response breaks its contract at {path}")]
    SchemaDrift { path: String },
    #[error("the response is larger than {limit} bytes")]
    TooLarge { limit: usize },
    #[error("no address is configured for this upstream")]
    NotConfigured,
    /// A read of the gateway's own data failed.
    #[error("the gateway's own store did not respond")]
    Store(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl CallError {
    pub fn reason(&self) -> Reason {
        match self {
            Self::Timeout => Reason::UpstreamTimeout,
            Self::Unavailable(_) | Self::NotConfigured | Self::Store(_) => {
                Reason::UpstreamUnavailable
            }
            Self::Status { status: 404, .. } => Reason::NotFound,
            Self::Status { .. } => Reason::UpstreamError,
            Self::BreakerOpen => Reason::BreakerOpen,
            Self::ConcurrencyLimit => Reason::ConcurrencyLimit,
            Self::SchemaDrift { .. } => Reason::SchemaDrift,
            Self::TooLarge { .. } => Reason::ResponseTooLarge,
        }
    }

    /// Whether the upstream or the network failed. Otherwise the upstream responded and refused.
    pub fn is_outage(&self) -> bool {
        match self {
            Self::Status { status, .. } => *status >= 500 || matches!(status, 408 | 429),
            _ => true,
        }
    }

    /// A client error or a contract violation does not mean that the upstream is unhealthy.
    pub(crate) fn health(&self) -> CallHealth {
        match self {
            Self::Timeout => CallHealth::TimedOut,
            Self::Unavailable(_) => CallHealth::Failed,
            Self::Status { status, .. } if *status >= 500 => CallHealth::Failed,
            Self::BreakerOpen | Self::ConcurrencyLimit | Self::NotConfigured | Self::Store(_) => {
                CallHealth::Unknown
            }
            Self::Status { .. } | Self::SchemaDrift { .. } | Self::TooLarge { .. } => {
                CallHealth::Responsive
            }
        }
    }

    /// Whether an immediate retry of an idempotent call may help.
    pub(crate) fn is_worth_a_retry(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Status { status: 502 | 503, .. })
    }
}

impl From<TransportError> for CallError {
    fn from(error: TransportError) -> Self {
        match error {
            TransportError::ConnectTimeout => Self::Timeout,
            error => Self::Unavailable(error),
        }
    }
}

impl CallError {
    /// `limit` is the maximum size of the response.
    pub(crate) fn from_exchange(error: ExchangeError, limit: usize) -> Self {
        match error {
            ExchangeError::NotSent(error)
            | ExchangeError::NoResponse(error)
            | ExchangeError::Truncated(error) => error.into(),
            ExchangeError::TooLarge => Self::TooLarge { limit },
        }
    }
}
