//! Maintains a program's tables while it runs: creates partitions for coming months and deletes expired
//! rows.
//!
//! This is done by functions of the schema (`make_next_month`, `sweep_<table>`) that run as their owner,
//! because the program's role may neither create tables nor see the rows of all tenants. Each call is a
//! short transaction with an advisory lock, so that one instance works at a time.

use std::collections::BTreeMap;
use std::time::Duration;

use contracts::clock::Clock;
use metrics::{counter, gauge};
use serde::Serialize;
use tokio::time::Instant;

use crate::background::{BackgroundTask, Schedule, TaskDriver};
use crate::config::MaintenanceConfig;
use crate::pg_row;
use crate::postgres::{Database, StoreError};

/// Rows deleted per statement, few enough for the statement timeout.
const BATCH_ROWS: i32 = 500;
/// No batch starts after this time; the next run continues.
const MAX_RUN_TIME: Duration = Duration::from_secs(60);

/// The maintenance of one program's tables.
#[derive(Debug, Clone, Copy)]
pub struct TableMaintenance {
    pub schema: &'static str,
    /// First part of the metrics' names.
    pub prefix: &'static str,
    /// Whether there are tables that are partitioned by month.
    pub has_months: bool,
    /// Tables with rows that expire, in this order because of foreign keys.
    pub swept: &'static [&'static str],
}

/// The result of a sweep.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SweepReport {
    /// Rows deleted, by table.
    pub rows: BTreeMap<&'static str, i64>,
    /// False when time ran out before all expired rows were deleted.
    pub complete: bool,
}

impl TableMaintenance {
    /// Every statement, for the test that prepares them on the migrated schema.
    pub fn statements(&self) -> Vec<String> {
        let months = [self.make_month_sql(), self.months_sql()].into_iter();
        let months = months.filter(|_| self.has_months);
        months.chain(self.swept.iter().map(|table| self.sweep_sql(table))).collect()
    }

    /// Creates one missing partition and returns its name, or null when none is missing.
    fn make_month_sql(&self) -> String {
        format!("SELECT {}.make_next_month()", self.schema)
    }

    /// One row per partitioned table.
    fn months_sql(&self) -> String {
        let schema = self.schema;
        format!("SELECT parent, default_rows, months_ahead FROM {schema}.partition_state()")
    }

    /// Deletes at most $1 rows and returns their number, or null when another instance is at work.
    fn sweep_sql(&self, table: &str) -> String {
        format!("SELECT {}.sweep_{table}($1)", self.schema)
    }

    /// Starts both tasks at the configured intervals.
    pub fn start(
        self,
        config: &MaintenanceConfig,
        database: &Database,
        clock: &Clock,
        driver: &TaskDriver,
    ) {
        let (maintenance, database, clock) = (self, database.clone(), clock.clone());
        if self.has_months {
            let task = PartitionRotation { maintenance, database: database.clone() };
            driver.start("rotate-partitions", task, schedule(config.months_every_seconds, config));
        }
        let task = RetentionSweep { maintenance, database, clock };
        driver.start(RetentionSweep::NAME, task, schedule(config.sweep_every_seconds, config));
    }
}

fn schedule(seconds: u64, config: &MaintenanceConfig) -> Schedule {
    Schedule {
        interval: Duration::from_secs(seconds),
        retry: Duration::from_secs(config.retry_seconds),
        jitter: Duration::from_secs(config.jitter_seconds),
    }
}

/// Creates missing partitions.
struct PartitionRotation {
    maintenance: TableMaintenance,
    database: Database,
}

impl BackgroundTask for PartitionRotation {
    /// Names of the partitions it created.
    type Status = Vec<String>;
    type Error = StoreError;

    async fn activate(&mut self) -> Result<Vec<String>, StoreError> {
        self.maintenance.rotate(&self.database).await
    }
}

/// Deletes expired rows.
#[derive(Debug)]
pub struct RetentionSweep {
    pub maintenance: TableMaintenance,
    pub database: Database,
    pub clock: Clock,
}

impl RetentionSweep {
    /// In reports, at an interval and on request.
    pub const NAME: &'static str = "sweep-expired-rows";
}

impl BackgroundTask for RetentionSweep {
    /// `None` when another instance is at work.
    type Status = Option<SweepReport>;
    type Error = StoreError;

    async fn activate(&mut self) -> Result<Option<SweepReport>, StoreError> {
        self.maintenance.sweep(&self.database, &self.clock).await
    }

    fn is_complete(status: &Self::Status) -> bool {
        status.as_ref().is_none_or(|report| report.complete)
    }
}

impl TableMaintenance {
    /// Creates every missing partition and returns their names. Measures the default partitions even if
    /// that fails.
    pub async fn rotate(&self, database: &Database) -> Result<Vec<String>, StoreError> {
        let made = self.make_months(database).await;
        let (prefix, outcome) = (self.prefix, if made.is_ok() { "success" } else { "failure" });
        counter!(format!("{prefix}_partition_rotation_total"), "outcome" => outcome).increment(1);
        self.measure(database).await?;
        made
    }

    async fn make_months(&self, database: &Database) -> Result<Vec<String>, StoreError> {
        let (connection, sql) = (database.connection().await?, self.make_month_sql());
        let mut made = Vec::new();
        while let Some(partition) =
            connection.query_one(&sql, &[]).await?.get::<_, Option<String>>(0)
        {
            tracing::info!(partition, "Created a partition.");
            made.push(partition);
        }
        Ok(made)
    }

    async fn measure(&self, database: &Database) -> Result<(), StoreError> {
        let (connection, prefix) = (database.connection().await?, self.prefix);
        for row in connection.query(&self.months_sql(), &[]).await? {
            let table: String = pg_row::get(&row, "parent")?;
            let default_rows = pg_row::total(&row, "default_rows")?;
            let months_ahead = pg_row::total(&row, "months_ahead")?;
            if default_rows > 0 {
                tracing::warn!(
                    table,
                    default_rows,
                    "The default partition is not empty. See the runbook default-partition."
                );
            }
            gauge!(format!("{prefix}_default_partition_rows"), "table" => table.clone())
                .set(f64::from(default_rows));
            gauge!(format!("{prefix}_partition_months_ahead"), "table" => table)
                .set(f64::from(months_ahead));
        }
        Ok(())
    }

    /// Deletes expired rows, table by table; `None` when another instance is at work. Continues after an
    /// error and returns the first one.
    pub async fn sweep(
        &self,
        database: &Database,
        clock: &Clock,
    ) -> Result<Option<SweepReport>, StoreError> {
        let (until, prefix) = (Instant::now() + MAX_RUN_TIME, self.prefix);
        let (mut swept, mut failure) =
            (SweepReport { complete: true, ..SweepReport::default() }, None);
        for &table in self.swept {
            match sweep_table(database, &self.sweep_sql(table), until).await {
                Ok(Some(Batches { rows, complete })) => {
                    counter!(format!("{prefix}_swept_rows_total"), "table" => table)
                        .increment(rows.unsigned_abs());
                    swept.rows.insert(table, rows);
                    swept.complete &= complete;
                }
                Ok(None) => return Ok(None),
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        if let Some(error) = failure {
            return Err(error);
        }
        if swept.complete {
            gauge!(format!("{prefix}_sweep_last_success_timestamp_seconds"))
                .set(clock.unix_seconds() as f64);
        }
        Ok(Some(swept))
    }
}

struct Batches {
    rows: i64,
    complete: bool,
}

/// `None` when another instance is at work.
async fn sweep_table(
    database: &Database,
    sql: &str,
    until: Instant,
) -> Result<Option<Batches>, StoreError> {
    let connection = database.connection().await?;
    let mut rows = 0;
    while Instant::now() < until {
        match connection.query_one(sql, &[&BATCH_ROWS]).await?.get::<_, Option<i64>>(0) {
            Some(0) => return Ok(Some(Batches { rows, complete: true })),
            Some(batch) => rows += batch,
            None => return Ok(None),
        }
    }
    Ok(Some(Batches { rows, complete: false }))
}

#[cfg(test)]
mod tests;
