//! A connection on which every statement has a client-side timeout. The driver's client is private,
//! so that no statement can run without one.
//!
//! A connection with an abandoned statement returns to the pool only after the server has replied.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use contracts::id::TenantId;
use deadpool_postgres::Object;
use derive_more::Deref;
use futures_util::FutureExt;
use tokio::time::timeout;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Row, SimpleQueryMessage, Statement};

use super::{Database, StoreError, limit};

/// The values of a statement, from $1 on.
pub type Values<'a> = &'a [SqlValue<'a>];
pub type SqlValue<'a> = &'a (dyn ToSql + Sync);
type Outcome<T> = Result<T, tokio_postgres::Error>;

/// A connection of the pool. May be dropped at any time, even during a statement.
#[derive(Debug)]
pub struct Connection {
    /// Absent only while it is being dropped.
    object: Option<Object>,
    database: Database,
    /// Generation of the pool when the connection was taken.
    generation: u64,
    /// Whether it gave no reply, or its session cannot be used.
    is_broken: AtomicBool,
    /// Statements without a reply, including those of dropped futures.
    in_flight: AtomicUsize,
    is_in_transaction: bool,
    /// Whether a transaction was dropped without commit or rollback; the next statement rolls it back.
    needs_rollback: AtomicBool,
}

impl Connection {
    pub(super) fn new(object: Object, database: Database, generation: u64) -> Self {
        Self {
            object: Some(object),
            database,
            generation,
            is_broken: AtomicBool::new(false),
            in_flight: AtomicUsize::new(0),
            is_in_transaction: false,
            needs_rollback: AtomicBool::new(false),
        }
    }

    /// Prepares a statement, or takes it from the connection's cache.
    pub(super) async fn prepare_cached(&self, sql: &str) -> Result<Statement, StoreError> {
        self.ready().await?;
        self.limited(self.client().prepare_cached(sql)).await
    }

    pub async fn prepare(&self, sql: &str) -> Result<Statement, StoreError> {
        self.ready().await?;
        self.limited(self.client().prepare(sql)).await
    }

    pub async fn query(&self, sql: &str, values: Values<'_>) -> Result<Vec<Row>, StoreError> {
        let statement = self.prepare_cached(sql).await?;
        self.limited(self.client().query(&statement, values)).await
    }

    /// Fails unless there is exactly one row.
    pub async fn query_one(&self, sql: &str, values: Values<'_>) -> Result<Row, StoreError> {
        let statement = self.prepare_cached(sql).await?;
        self.limited(self.client().query_one(&statement, values)).await
    }

    pub async fn query_opt(
        &self,
        sql: &str,
        values: Values<'_>,
    ) -> Result<Option<Row>, StoreError> {
        let statement = self.prepare_cached(sql).await?;
        self.limited(self.client().query_opt(&statement, values)).await
    }

    /// Returns the number of changed rows.
    pub async fn execute(&self, sql: &str, values: Values<'_>) -> Result<u64, StoreError> {
        let statement = self.prepare_cached(sql).await?;
        self.limited(self.client().execute(&statement, values)).await
    }

    /// Runs statements without values, in one message.
    pub async fn batch_execute(&self, sql: &str) -> Result<(), StoreError> {
        self.ready().await?;
        self.limited(self.client().batch_execute(sql)).await
    }

    pub async fn simple_query(&self, sql: &str) -> Result<Vec<SimpleQueryMessage>, StoreError> {
        self.ready().await?;
        self.limited(self.client().simple_query(sql)).await
    }

    /// Opens a transaction with `begin`, in one message with the settings of every transaction and with
    /// the rollback of a transaction that was dropped before.
    pub(super) async fn begin(
        &mut self,
        begin: &str,
        tenant: TenantId,
    ) -> Result<Transaction<'_>, StoreError> {
        let before =
            if self.needs_rollback.swap(false, Ordering::Relaxed) { "ROLLBACK; " } else { "" };
        let timeout = limit::statement()
            .map(|limit| format!("; SET LOCAL statement_timeout = {}", limit.as_millis()));
        // As text, because prepared statements take three messages each. An id contains no quote.
        let sql = format!(
            "{before}{begin}; SET LOCAL app.tenant_id = '{tenant}'{}",
            timeout.as_deref().unwrap_or_default()
        );
        self.refuse_if_broken()?;
        self.is_in_transaction = true;
        let transaction = Transaction { connection: self };
        transaction.connection.limited(transaction.connection.client().batch_execute(&sql)).await?;
        Ok(transaction)
    }

    fn refuse_if_broken(&self) -> Result<(), StoreError> {
        if self.is_broken.load(Ordering::Relaxed) {
            return Err(StoreError::Unavailable("the connection failed before".into()));
        }
        Ok(())
    }

    /// Rolls back a dropped transaction; fails at once on a broken connection.
    async fn ready(&self) -> Result<(), StoreError> {
        self.refuse_if_broken()?;
        if self.needs_rollback.swap(false, Ordering::Relaxed) {
            self.limited(self.client().batch_execute("ROLLBACK")).await?;
        }
        Ok(())
    }

    /// Awaits a reply with a timeout. All statements go through here.
    async fn limited<T>(
        &self,
        statement: impl Future<Output = Outcome<T>>,
    ) -> Result<T, StoreError> {
        let limit = limit::reply();
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        let outcome = timeout(limit, statement).await;
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        let error = match outcome {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => StoreError::from(error),
            Err(_) => StoreError::NoReply(limit),
        };
        self.note(&error);
        Err(error)
    }

    /// Marks the connection as broken if the error means that.
    pub(super) fn note(&self, error: &StoreError) {
        if error.ends_connection() {
            self.is_broken.store(true, Ordering::Relaxed);
        }
        if error.affects_all_connections() {
            self.database.retire(self.generation, error);
        }
    }

    fn client(&self) -> &Object {
        self.object.as_ref().expect("it is absent only while the connection is dropped")
    }

    fn is_transaction_open(&self) -> bool {
        self.is_in_transaction || self.needs_rollback.load(Ordering::Relaxed)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let Some(object) = self.object.take() else { return };
        let sql = if self.is_transaction_open() { "ROLLBACK" } else { "" };
        if self.is_broken.load(Ordering::Relaxed) || !self.database.is_current(self.generation) {
            drop(Object::take(object));
        } else if self.in_flight.load(Ordering::Relaxed) > 0 {
            self.database.clean_up(CleanUp { object, sql, generation: self.generation });
        } else if !sql.is_empty() {
            // Sent without waiting: its reply precedes the reply to the next statement.
            object.batch_execute(sql).now_or_never();
        }
    }
}

/// A connection that was dropped during a statement. Sends another, whose reply follows that of the
/// abandoned one.
pub(super) struct CleanUp {
    object: Object,
    sql: &'static str,
    generation: u64,
}

impl CleanUp {
    /// Gives the connection back once the server has replied, and discards it if it does not.
    pub(super) async fn run(self, database: Database, limit: Duration) {
        let error = match timeout(limit, self.object.batch_execute(self.sql)).await {
            Ok(Ok(())) if database.is_current(self.generation) => return,
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(StoreError::from(error)),
            Err(_) => Some(StoreError::NoReply(limit)),
        };
        if let Some(error) = error.filter(StoreError::affects_all_connections) {
            database.retire(self.generation, &error);
        }
        self.discard();
    }

    pub(super) fn discard(self) {
        drop(Object::take(self.object));
    }
}

/// A transaction that sees one tenant's rows. Dropped without [`commit`](Self::commit), it is
/// rolled back.
#[derive(Debug, Deref)]
pub struct Transaction<'a> {
    #[deref(forward)]
    connection: &'a mut Connection,
}

impl Transaction<'_> {
    pub async fn commit(self) -> Result<(), StoreError> {
        self.end("COMMIT").await
    }

    pub async fn rollback(self) -> Result<(), StoreError> {
        self.end("ROLLBACK").await
    }

    async fn end(self, sql: &str) -> Result<(), StoreError> {
        self.connection.batch_execute(sql).await?;
        self.connection.is_in_transaction = false;
        Ok(())
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if std::mem::take(&mut self.connection.is_in_transaction) {
            self.connection.needs_rollback.store(true, Ordering::Relaxed);
        }
    }
}
