//! Errors of provisioning.

use crate::Schema;

/// Why provisioning failed. Each message says what to do; the cause is the source.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "the admin URL is not a Postgres URL; give one like postgres://user@host:5432/postgres"
    )]
    AdminUrl(#[source] Box<dyn std::error::Error + Send + Sync>),

    #[error("Postgres could not be reached as admin; check that it runs and that the URL is right")]
    Connect(#[source] tokio_postgres::Error),

    #[error("Postgres refused to {doing}; check that the admin role may do that")]
    Refused { doing: &'static str, source: tokio_postgres::Error },

    #[error("another process held the lock on {what} for a minute; stop it and try again")]
    Locked { what: String },

    #[error(
        "a migration of schema {schema} failed; its transaction was rolled back, so correct it and run again"
    )]
    Migration { schema: Schema, source: Box<refinery::Error> },
}

/// Adds the attempted action to an error of Postgres.
pub(crate) trait Doing<T> {
    fn doing(self, doing: &'static str) -> Result<T, Error>;
}

impl<T> Doing<T> for Result<T, tokio_postgres::Error> {
    fn doing(self, doing: &'static str) -> Result<T, Error> {
        self.map_err(|source| Error::Refused { doing, source })
    }
}
