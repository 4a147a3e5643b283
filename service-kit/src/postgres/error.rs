//! Errors of the database, and the table of SQLSTATE classes.

use std::time::Duration;

use contracts::problem::{Code, code};
use deadpool_postgres::{PoolError, TimeoutType};

use crate::problem::{ApiError, chain};

/// Why a statement failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("all connections of the pool are in use")]
    Busy,
    #[error("the database cannot be reached")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It is not known whether the statement was executed.
    #[error("the database did not reply within {} ms", .0.as_millis())]
    NoReply(Duration),
    /// A standby, or a primary that was demoted.
    #[error("the database accepts no writes")]
    ReadOnly(#[source] Option<tokio_postgres::Error>),
    #[error("the database has no resources left")]
    Exhausted(#[source] tokio_postgres::Error),
    #[error("a statement timed out")]
    Slow(#[source] tokio_postgres::Error),
    /// The caller sent a value that no column can hold, such as a text with U+0000.
    #[error("a value cannot be stored")]
    Invalid(#[source] tokio_postgres::Error),
    #[error("a statement failed")]
    Statement(#[source] tokio_postgres::Error),
    #[error("column {column} has an unexpected value")]
    Row { column: &'static str, source: Box<dyn std::error::Error + Send + Sync> },
}

/// Who can resolve an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Category {
    /// Temporary: the same request succeeds once the database is available.
    Unavailable,
    /// The caller, by sending another value.
    InvalidInput,
    /// The developers.
    Internal,
}

impl StoreError {
    pub fn category(&self) -> Category {
        match self {
            Self::Busy
            | Self::Unavailable(_)
            | Self::NoReply(_)
            | Self::ReadOnly(_)
            | Self::Exhausted(_)
            | Self::Slow(_) => Category::Unavailable,
            Self::Invalid(_) => Category::InvalidInput,
            Self::Statement(_) | Self::Row { .. } => Category::Internal,
        }
    }

    pub fn is_unavailable(&self) -> bool {
        self.category() == Category::Unavailable
    }

    /// Whether its connection must not be used again.
    pub(super) fn ends_connection(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::NoReply(_) | Self::ReadOnly(_))
    }

    /// Whether the other connections made before are likely to fail in the same way.
    pub(super) fn affects_all_connections(&self) -> bool {
        matches!(self, Self::NoReply(_) | Self::ReadOnly(_))
    }

    /// The problem for the caller. `unavailable` is the program's code for an unavailable database.
    pub fn into_problem(self, unavailable: &'static Code) -> ApiError {
        match self.category() {
            Category::Internal => return ApiError::internal(&self),
            Category::InvalidInput => {
                tracing::info!(error = %chain(&self), "A request has a value that cannot be stored.");
                return ApiError::new(
                    &code::VALIDATION_FAILED,
                    "A value of the request cannot be stored. Remove control characters, and send dates and numbers within their range.",
                );
            }
            Category::Unavailable => {}
        }
        tracing::warn!(error = %chain(&self), "A request failed because the database is not available.");
        let detail = match self {
            Self::Busy => "The server is busy. Send the request again in a few seconds.",
            Self::Slow(_) => "The database is too slow. Send the request again in a few seconds.",
            _ => "The database is not available. Send the request again in a few seconds.",
        };
        ApiError::new(unavailable, detail)
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        error.into_problem(&code::UNAVAILABLE)
    }
}

impl From<PoolError> for StoreError {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Timeout(TimeoutType::Wait) => Self::Busy,
            other => Self::Unavailable(Box::new(other)),
        }
    }
}

impl From<tokio_postgres::Error> for StoreError {
    fn from(error: tokio_postgres::Error) -> Self {
        let Some(state) = error.code() else {
            let is_broken = error.is_closed() || is_io(&error);
            return if is_broken { Self::broken(error) } else { Self::Statement(error) };
        };
        match state.code() {
            "25006" => Self::ReadOnly(Some(error)),
            "57014" => Self::Slow(error),
            // A text with U+0000, a date or a number that the type cannot hold.
            "22021" | "22P05" | "22003" | "22007" | "22008" => Self::Invalid(error),
            // The server ended the session because it was idle in a transaction for too long.
            "25P03" | "25P04" => Self::broken(error),
            // Connection exceptions; the server is starting or stopping, or an administrator ended the session.
            state if state.starts_with("08") || state.starts_with("57P") => Self::broken(error),
            // Disk full, out of memory, too many connections.
            state if state.starts_with("53") => Self::Exhausted(error),
            _ => Self::Statement(error),
        }
    }
}

impl StoreError {
    fn broken(error: tokio_postgres::Error) -> Self {
        Self::Unavailable(Box::new(error))
    }
}

fn is_io(error: &tokio_postgres::Error) -> bool {
    std::error::Error::source(error).is_some_and(<dyn std::error::Error>::is::<std::io::Error>)
}
