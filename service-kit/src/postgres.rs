//! Postgres: a bounded pool, and transactions that cannot be opened without a tenant.

use std::time::Duration;

use contracts::id::TenantId;
use contracts::problem::code;
use deadpool_postgres::{
    Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime, Timeouts,
};
use secrecy::ExposeSecret;
use tokio_postgres::error::SqlState;
use tokio_postgres::{IsolationLevel, NoTls};

pub use deadpool_postgres::Transaction;

use crate::config::PostgresConfig;
use crate::deadline;
use crate::problem::ApiError;

/// Set on every connection (seed HK-1.2).
const STATEMENT_TIMEOUT_MS: u128 = 800;

/// Why the database did not answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("all connections of the pool are in use")]
    Busy,
    #[error("the database cannot be reached")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("a statement took longer than it may")]
    Slow(#[source] tokio_postgres::Error),
    #[error("a statement failed")]
    Statement(#[source] tokio_postgres::Error),
    #[error("column {column} holds a value that does not belong there")]
    Row { column: &'static str, source: Box<dyn std::error::Error + Send + Sync> },
}

impl From<PoolError> for StoreError {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Timeout(deadpool_postgres::TimeoutType::Wait) => Self::Busy,
            other => Self::Unavailable(Box::new(other)),
        }
    }
}

impl From<tokio_postgres::Error> for StoreError {
    fn from(error: tokio_postgres::Error) -> Self {
        // Without an SQLSTATE the connection broke; class 57 is the server going away.
        let server_left = error.code().is_some_and(|state| state.code().starts_with("57P"));
        if error.is_closed() || server_left || error.code().is_none() && is_io(&error) {
            Self::Unavailable(Box::new(error))
        } else if error.code() == Some(&SqlState::QUERY_CANCELED) {
            Self::Slow(error)
        } else {
            Self::Statement(error)
        }
    }
}

fn is_io(error: &tokio_postgres::Error) -> bool {
    std::error::Error::source(error).is_some_and(<dyn std::error::Error>::is::<std::io::Error>)
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match &error {
            StoreError::Busy => {
                tracing::warn!("All database connections are in use.");
                Self::new(&code::UNAVAILABLE, "The server is busy. Try again.")
            }
            StoreError::Slow(_) => {
                tracing::warn!(error = %crate::problem::chain(&error), "The database is slow.");
                Self::new(
                    &code::UNAVAILABLE,
                    "The database is too slow. Try again in a few seconds.",
                )
            }
            StoreError::Unavailable(_) => {
                tracing::warn!(error = %crate::problem::chain(&error), "The database is away.");
                Self::new(&code::UNAVAILABLE, "The database is away. Try again in a few seconds.")
            }
            StoreError::Statement(_) | StoreError::Row { .. } => Self::internal(&error),
        }
    }
}

/// Connections of one service's role to its database.
#[derive(Debug, Clone)]
pub struct Database(Pool);

#[derive(Debug, thiserror::Error)]
pub enum DatabaseConfigError {
    #[error("postgres.url is not a Postgres URL: {0}. Set MELMASTOON_POSTGRES__URL.")]
    Url(#[from] tokio_postgres::Error),
    #[error("the connection pool cannot be made: {0}")]
    Pool(#[from] deadpool_postgres::BuildError),
}

/// Prepared statements keep one plan: over a partitioned table, planning anew each time costs more
/// than running.
fn options() -> String {
    format!("-c statement_timeout={STATEMENT_TIMEOUT_MS} -c plan_cache_mode=force_generic_plan")
}

impl Database {
    /// Makes the pool; connects when first used, so that a service starts while its database is away.
    pub fn new(config: &PostgresConfig) -> Result<Self, DatabaseConfigError> {
        let mut connection: tokio_postgres::Config = config.url.expose_secret().parse()?;
        let wait = Duration::from_millis(config.wait_ms);
        connection.connect_timeout(wait).options(options());
        let manager = Manager::from_config(
            connection,
            NoTls,
            ManagerConfig { recycling_method: RecyclingMethod::Fast },
        );
        let timeouts = Timeouts { wait: Some(wait), create: Some(wait), recycle: Some(wait) };
        let pool = Pool::builder(manager)
            .max_size(config.pool)
            .timeouts(timeouts)
            .runtime(Runtime::Tokio1)
            .build()?;
        Ok(Self(pool))
    }

    pub async fn connection(&self) -> Result<Object, StoreError> {
        Ok(self.0.get().await?)
    }

    /// Whether the database answers, for readiness.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.connection().await?.simple_query("").await?;
        Ok(())
    }
}

/// Opens a read-only transaction that sees this tenant's rows and no other's, all its statements
/// those of one moment.
pub async fn read(
    connection: &mut Object,
    tenant: TenantId,
) -> Result<Transaction<'_>, StoreError> {
    let moment = IsolationLevel::RepeatableRead;
    let builder = connection.build_transaction().read_only(true).isolation_level(moment);
    let transaction = builder.start().await?;
    settle(&transaction, tenant).await?;
    Ok(transaction)
}

/// Opens a transaction that sees and writes this tenant's rows and no other's.
pub async fn write(
    connection: &mut Object,
    tenant: TenantId,
) -> Result<Transaction<'_>, StoreError> {
    let transaction = connection.build_transaction().start().await?;
    settle(&transaction, tenant).await?;
    Ok(transaction)
}

/// Whose rows it sees, and how long a statement may take. As text in one message, where prepared
/// statements would take three each: an id holds no quote.
async fn settle(transaction: &Transaction<'_>, tenant: TenantId) -> Result<(), StoreError> {
    let limit = statement_limit().map(|limit| format!("; SET LOCAL statement_timeout = {limit}"));
    let settings =
        format!("SET LOCAL app.tenant_id = '{tenant}'{}", limit.as_deref().unwrap_or_default());
    transaction.batch_execute(&settings).await?;
    Ok(())
}

/// In milliseconds, where the request's deadline leaves less than the connection's own: a statement
/// that nobody waits for gives its connection back. Never 0, which would be no limit, and never
/// before the deadline itself.
fn statement_limit() -> Option<u128> {
    let left = deadline::left()?.as_millis() + 1;
    (left < STATEMENT_TIMEOUT_MS).then_some(left)
}
