//! Postgres: a bounded pool, statements that end, and transactions that cannot be opened without a
//! tenant.
//!
//! A connection that gives no reply is discarded after about a second, and with it all that were
//! made before: what silenced one has most likely silenced the others.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use contracts::id::TenantId;
use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod, Runtime, Timeouts};
use secrecy::ExposeSecret;
use tokio::runtime::Handle;
use tokio_postgres::config::TargetSessionAttrs;
use tokio_postgres::{NoTls, SimpleQueryMessage};
use tokio_util::task::TaskTracker;

use crate::config::PostgresConfig;
use crate::problem::chain;

mod connection;
mod error;
mod limit;
#[cfg(test)]
mod tests;

use connection::CleanUp;

pub use connection::{Connection, Transaction};
pub use error::{Category, StoreError};

/// Until a peer that does not acknowledge is believed to be gone; the system's own default is hours.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(5);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(2);
const KEEPALIVE_RETRIES: u32 = 3;
const UNACKNOWLEDGED_FOR: Duration = Duration::from_secs(5);

/// Connections of one service's role to its database.
#[derive(Debug, Clone)]
pub struct Database(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    pool: Pool,
    /// Raised when the connections made so far are not to be used again.
    generation: AtomicU64,
    /// Connections on their way back to the pool.
    clean_ups: TaskTracker,
}

#[derive(Debug, thiserror::Error)]
pub enum DatabaseConfigError {
    #[error("postgres.url is not a Postgres URL: {0}. Set MELMASTOON_POSTGRES__URL.")]
    Url(#[from] tokio_postgres::Error),
    #[error("the connection pool cannot be made: {0}")]
    Pool(#[from] deadpool_postgres::BuildError),
}

/// Settings of each session. Prepared statements keep one plan: over a partitioned table, planning
/// anew each time costs more than running. The server, too, ends sessions whose client is gone:
/// their transactions would keep rows locked.
fn options() -> String {
    let settings = [
        ("statement_timeout", limit::STATEMENT_TIMEOUT.as_millis()),
        ("idle_in_transaction_session_timeout", limit::IDLE_IN_TRANSACTION.as_millis()),
        ("tcp_keepalives_idle", KEEPALIVE_IDLE.as_secs().into()),
        ("tcp_keepalives_interval", KEEPALIVE_INTERVAL.as_secs().into()),
        ("tcp_keepalives_count", KEEPALIVE_RETRIES.into()),
        ("tcp_user_timeout", UNACKNOWLEDGED_FOR.as_millis()),
    ];
    let settings = settings.map(|(name, value)| format!("-c {name}={value}"));
    format!("{} -c plan_cache_mode=force_generic_plan", settings.join(" "))
}

/// How a connection is made: only to a server that accepts writes, and never waiting for hours.
fn settings(config: &PostgresConfig) -> Result<tokio_postgres::Config, tokio_postgres::Error> {
    let mut settings: tokio_postgres::Config = config.url.expose_secret().parse()?;
    settings
        .connect_timeout(Duration::from_millis(config.wait_ms))
        .keepalives(true)
        .keepalives_idle(KEEPALIVE_IDLE)
        .keepalives_interval(KEEPALIVE_INTERVAL)
        .keepalives_retries(KEEPALIVE_RETRIES)
        .tcp_user_timeout(UNACKNOWLEDGED_FOR)
        .target_session_attrs(TargetSessionAttrs::ReadWrite)
        .options(options());
    Ok(settings)
}

impl Database {
    /// Makes the pool; connects when first used, so that a service starts while its database is away.
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
        // Read first: a connection is never taken for younger than it is.
        let generation = self.0.generation.load(Ordering::Acquire);
        let object = self.0.pool.get().await?;
        Ok(Connection::new(object, self.clone(), generation))
    }

    /// Whether the database replies and accepts writes, for readiness.
    pub async fn ping(&self) -> Result<(), StoreError> {
        let connection = self.connection().await?;
        // A standby answers "on", and so does a session that was made read-only.
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

    /// Whether connections of this generation may be used again.
    fn trusts(&self, generation: u64) -> bool {
        self.0.generation.load(Ordering::Acquire) == generation
    }

    /// Discards the idle connections; those in use follow when they come back. Once per generation:
    /// connections that were made since are good.
    fn distrust(&self, generation: u64, error: &StoreError) {
        let order = Ordering::AcqRel;
        let is_first = self.0.generation.compare_exchange(
            generation,
            generation + 1,
            order,
            Ordering::Relaxed,
        );
        if is_first.is_ok() {
            let discarded = self.0.pool.retain(|_, _| false).removed.len();
            tracing::warn!(error = %chain(error), discarded, "Database connections are replaced.");
        }
    }

    /// Cleans a connection up in the background.
    fn clean_up(&self, clean_up: CleanUp) {
        match Handle::try_current() {
            Ok(runtime) => {
                let work = clean_up.run(self.clone(), limit::of_clean_up());
                self.0.clean_ups.spawn_on(work, &runtime);
            }
            Err(_) => clean_up.discard(),
        }
    }
}

/// Reads again on another connection where the first one failed: for background tasks, which must
/// not wait for their next turn because a connection broke.
pub async fn read_again<T, R>(mut read: impl FnMut() -> R) -> Result<T, StoreError>
where
    R: Future<Output = Result<T, StoreError>>,
{
    match read().await {
        Err(error) if error.ends_connection() => read().await,
        outcome => outcome,
    }
}

/// Opens a read-only transaction that sees this tenant's rows and no other's, all its statements
/// those of one moment.
pub async fn read(
    connection: &mut Connection,
    tenant: TenantId,
) -> Result<Transaction<'_>, StoreError> {
    connection.begin("START TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY", tenant).await
}

/// Opens a transaction that sees and writes this tenant's rows and no other's.
pub async fn write(
    connection: &mut Connection,
    tenant: TenantId,
) -> Result<Transaction<'_>, StoreError> {
    connection.begin("START TRANSACTION", tenant).await
}
