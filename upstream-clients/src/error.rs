//! Why a call brought no usable answer. Names the limit that was hit, not the library that hit it.

use contracts::dashboard::Reason;
use contracts::problem::Problem;

use crate::transport::{Failure, TransportError};

#[derive(Debug, thiserror::Error)]
pub enum CallError {
    #[error("the deadline passed")]
    Timeout,
    #[error("the upstream cannot be reached")]
    Unavailable(#[source] TransportError),
    #[error("the upstream answered {status}")]
    Status { status: u16, problem: Option<Box<Problem>> },
    #[error("the breaker is open after repeated failures")]
    BreakerOpen,
    #[error("too many calls to this upstream are under way")]
    ConcurrencyLimit,
    /// The path names the member; the data itself is never kept.
    #[error("the answer breaks its contract at {path}")]
    SchemaDrift { path: String },
    #[error("the answer is larger than {limit} bytes")]
    TooLarge { limit: usize },
    #[error("no address is configured for this upstream")]
    NotConfigured,
}

impl CallError {
    pub fn reason(&self) -> Reason {
        match self {
            Self::Timeout => Reason::UpstreamTimeout,
            Self::Unavailable(_) | Self::NotConfigured => Reason::UpstreamUnavailable,
            Self::Status { status: 404, .. } => Reason::NotFound,
            Self::Status { .. } => Reason::UpstreamError,
            Self::BreakerOpen => Reason::BreakerOpen,
            Self::ConcurrencyLimit => Reason::ConcurrencyLimit,
            Self::SchemaDrift { .. } => Reason::SchemaDrift,
            Self::TooLarge { .. } => Reason::ResponseTooLarge,
        }
    }

    /// Whether it says that the upstream is ill. A client error or a drifted body does not.
    pub(crate) fn counts_against(&self) -> bool {
        match self {
            Self::Timeout | Self::Unavailable(_) => true,
            Self::Status { status, .. } => *status >= 500,
            _ => false,
        }
    }

    /// Whether a second try of an idempotent call may help at once.
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
    /// `limit` is the one an answer was held to.
    pub(crate) fn of(failure: Failure, limit: usize) -> Self {
        match failure {
            Failure::Unsent(error) | Failure::Unanswered(error) | Failure::Cut(error) => {
                error.into()
            }
            Failure::TooLarge => Self::TooLarge { limit },
        }
    }
}
