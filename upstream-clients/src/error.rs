//! Why a call brought no usable answer. Names the limit that was hit, not the library that hit it.

use contracts::dashboard::Reason;
use contracts::problem::Problem;

use crate::caller::Verdict;
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
    /// Of what is read beside upstreams.
    #[error("the gateway's own store did not answer")]
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

    /// Whether the upstream, or the way to it, kept an answer away; else it answered, and said no.
    pub fn is_illness(&self) -> bool {
        match self {
            Self::Status { status, .. } => *status >= 500 || matches!(status, 408 | 429),
            _ => true,
        }
    }

    /// A client error or a drifted body does not say that the upstream is ill.
    pub(crate) fn verdict(&self) -> Verdict {
        match self {
            Self::Timeout => Verdict::Late,
            Self::Unavailable(_) => Verdict::Fails,
            Self::Status { status, .. } if *status >= 500 => Verdict::Fails,
            Self::BreakerOpen | Self::ConcurrencyLimit | Self::NotConfigured | Self::Store(_) => {
                Verdict::Nothing
            }
            Self::Status { .. } | Self::SchemaDrift { .. } | Self::TooLarge { .. } => {
                Verdict::Answers
            }
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
