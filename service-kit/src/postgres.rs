//! Postgres: a bounded pool, timeouts on every statement, and transactions that require a tenant.
//!
//! A connection without a reply is discarded after about a second, with all connections made before
//! it: whatever silenced one has probably silenced the others.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use contracts::id::TenantId;
use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod, Runtime, Timeouts};
use secrecy::ExposeSecret;
use tokio::runtime::Handle;
use tokio_postgres::config::TargetSessionAttrs;
use tokio_postgres::{NoTls, Row, SimpleQueryMessage};
use tokio_util::task::TaskTracker;

use crate::config::PostgresConfig;
use crate::problem::chain;

mod connection;
mod error;
mod limit;
#[cfg(test)]
mod tests;

use connection::CleanUp;

pub use connection::{Connection, SqlValue, Transaction, Values};
pub use error::{Category, StoreError};

/// TCP keepalive, so that a lost peer is detected in seconds instead of hours.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(5);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(2);
const KEEPALIVE_RETRIES: u32 = 3;
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(5);

/// A pool of connections with the role of a service.
#[derive(Debug, Clone)]
pub struct Database(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    pool: Pool,
    /// Incremented to discard all connections made before.
    generation: AtomicU64,
    /// Background tasks that make connections reusable.
    clean_ups: TaskTracker,
}

#[derive(Debug, thiserror::Error)]
pub enum DatabaseConfigError {
    #[error("postgres.url is not a Postgres URL: {0}. Set MELMASTOON_POSTGRES__URL.")]
    Url(#[from] tokio_postgres::Error),
    #[error("the connection pool cannot be made: {0}")]
    Pool(#[from] deadpool_postgres::BuildError),
}

/// Settings of each session. Prepared statements keep a generic plan: over a partitioned table, planning
/// costs more than running. Keepalive on the server's side ends sessions of lost clients, whose
/// transactions would keep rows locked.
fn options() -> String {
    let settings = [
        ("statement_timeout", limit::STATEMENT_TIMEOUT.as_millis()),
        ("idle_in_transaction_session_timeout", limit::IDLE_IN_TRANSACTION_TIMEOUT.as_millis()),
        ("tcp_keepalives_idle", KEEPALIVE_IDLE.as_secs().into()),
        ("tcp_keepalives_interval", KEEPALIVE_INTERVAL.as_secs().into()),
        ("tcp_keepalives_count", KEEPALIVE_RETRIES.into()),
        ("tcp_user_timeout", TCP_USER_TIMEOUT.as_millis()),
    ];
    let settings = settings.map(|(name, value)| format!("-c {name}={value}"));
    format!("{} -c plan_cache_mode=force_generic_plan", settings.join(" "))
}

/// Settings of the driver: only servers that accept writes, with a connect timeout and keepalive.
fn settings(config: &PostgresConfig) -> Result<tokio_postgres::Config, tokio_postgres::Error> {
    let mut settings: tokio_postgres::Config = config.url.expose_secret().parse()?;
    settings
        .connect_timeout(Duration::from_millis(config.wait_ms))
        .keepalives(true)
        .keepalives_idle(KEEPALIVE_IDLE)
        .keepalives_interval(KEEPALIVE_INTERVAL)
        .keepalives_retries(KEEPALIVE_RETRIES)
        .tcp_user_timeout(TCP_USER_TIMEOUT)
        .target_session_attrs(TargetSessionAttrs::ReadWrite)
        .options(options());
    Ok(settings)
}

impl Database {
    /// Creates the pool. It connects on first use, so that a service starts without its database.
    pub fn new(config: &PostgresConfig) -> Result<Self, DatabaseConfigError> {
        let wait = Duration::from_millis(config.wait_ms);
        let manager = Manager::from_config(
            settings(config)?,
            NoTls,
            ManagerConfig { recycling_method: RecyclingMethod::Fast },
        );
        let timeouts = Timeouts { wait: Some(wait), create: Some(wait), recycle: Some(wait) };
        let pool = Pool::builder(manager)
            .max_size(config.pool)
            .timeouts(timeouts)
            .runtime(Runtime::Tokio1)
            .build()?;
        let (generation, clean_ups) = (AtomicU64::new(0), TaskTracker::new());
        Ok(Self(Arc::new(Inner { pool, generation, clean_ups })))
    }

    pub async fn connection(&self) -> Result<Connection, StoreError> {
        // Read first, so that a connection is never assigned a later generation than its own.
        let generation = self.0.generation.load(Ordering::Acquire);
        let object = self.0.pool.get().await?;
        Ok(Connection::new(object, self.clone(), generation))
    }

    /// Runs one statement without a tenant, which sees only what functions of the schema return.
    pub async fn query(&self, sql: &str, values: Values<'_>) -> Result<Vec<Row>, StoreError> {
        self.connection().await?.query(sql, values).await
    }

    /// Runs one statement in a transaction of [`read`].
    pub async fn read(
        &self,
        tenant: TenantId,
        sql: &str,
        values: Values<'_>,
    ) -> Result<Vec<Row>, StoreError> {
        let mut connection = self.connection().await?;
        let transaction = read(&mut connection, tenant).await?;
        transaction.query(sql, values).await
    }

    /// Runs one statement in a transaction of [`write`], and returns the number of changed rows.
    pub async fn write(
        &self,
        tenant: TenantId,
        sql: &str,
        values: Values<'_>,
    ) -> Result<u64, StoreError> {
        let mut connection = self.connection().await?;
        let transaction = write(&mut connection, tenant).await?;
        let changed = transaction.execute(sql, values).await?;
        transaction.commit().await?;
        Ok(changed)
    }

    /// Checks that the database replies and accepts writes, for readiness.
    pub async fn ping(&self) -> Result<(), StoreError> {
        let connection = self.connection().await?;
        // "on" for a standby and for a read-only session.
        let messages = connection.simple_query("SHOW transaction_read_only").await?;
        let is_read_only = messages.iter().any(
            |message| matches!(message, SimpleQueryMessage::Row(row) if row.get(0) == Some("on")),
        );
        if is_read_only {
            let error = StoreError::ReadOnly(None);
            connection.note(&error);
            return Err(error);
        }
        Ok(())
    }

    /// Whether connections of this generation may be reused.
    fn is_current(&self, generation: u64) -> bool {
        self.0.generation.load(Ordering::Acquire) == generation
    }

    /// Discards all connections of a generation: idle ones now, the others when they are returned. Does
    /// nothing if that was done before.
    fn retire(&self, generation: u64, error: &StoreError) {
        let order = Ordering::AcqRel;
        let is_first = self.0.generation.compare_exchange(
            generation,
            generation + 1,
            order,
            Ordering::Relaxed,
        );
        if is_first.is_ok() {
            let discarded = self.0.pool.retain(|_, _| false).removed.len();
            tracing::warn!(error = %chain(error), discarded, "Replacing database connections.");
        }
    }

    /// Cleans a connection up in the background.
    fn clean_up(&self, clean_up: CleanUp) {
        match Handle::try_current() {
            Ok(runtime) => {
                let work = clean_up.run(self.clone(), limit::clean_up());
                self.0.clean_ups.spawn_on(work, &runtime);
            }
            Err(_) => clean_up.discard(),
        }
    }
}

/// Retries a read once if its connection failed. For background tasks, which would otherwise wait for
/// their next run.
pub async fn read_again<T, R>(mut read: impl FnMut() -> R) -> Result<T, StoreError>
where
    R: Future<Output = Result<T, StoreError>>,
{
    match read().await {
        Err(error) if error.ends_connection() => read().await,
        outcome => outcome,
    }
}

/// Opens a read-only transaction that sees only this tenant's rows. All its statements see the same
/// snapshot.
pub async fn read(
    connection: &mut Connection,
    tenant: TenantId,
) -> Result<Transaction<'_>, StoreError> {
    connection.begin("START TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY", tenant).await
}

/// Opens a transaction that reads and writes only this tenant's rows.
pub async fn write(
    connection: &mut Connection,
    tenant: TenantId,
) -> Result<Transaction<'_>, StoreError> {
    connection.begin("START TRANSACTION", tenant).await
}
