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

/// The maintenance of one program.
#[derive(Debug, Clone, Copy)]
pub struct TableMaintenance {
    /// Absent without tables that are partitioned by month.
    pub months: Option<Months>,
    pub retention: Retention,
}

/// Monthly partitions.
#[derive(Debug, Clone, Copy)]
pub struct Months {
    /// Creates one missing partition and returns its name, or null when none is missing.
    pub make: &'static str,
    /// Columns `parent`, `default_rows`, `months_ahead`, one row per table.
    pub state: &'static str,
    /// Name of the counter of runs by outcome.
    pub rotations: &'static str,
    /// Name of the gauge of rows in each default partition.
    pub default_rows: &'static str,
    /// Name of the gauge of months after this one that have a partition.
    pub months_ahead: &'static str,
}

/// Deletion of expired rows.
#[derive(Debug, Clone, Copy)]
pub struct Retention {
    /// In this order, because of foreign keys.
    pub sweeps: &'static [Sweep],
    /// Name of the counter of deleted rows.
    pub swept: &'static str,
    /// Name of the gauge of the last complete run.
    pub last_success: &'static str,
}

/// One table with rows that expire.
#[derive(Debug, Clone, Copy)]
pub struct Sweep {
    pub table: &'static str,
    /// Deletes at most $1 rows and returns their number, or null when another instance is at work.
    pub statement: &'static str,
}

/// The statements and metrics of a schema with monthly partitions, by schema and metric prefix.
#[macro_export]
macro_rules! months {
    ($schema:literal, $prefix:literal) => {
        $crate::table_maintenance::Months {
            make: concat!("SELECT ", $schema, ".make_next_month()"),
            state: concat!(
                "SELECT parent, default_rows, months_ahead FROM ",
                $schema,
                ".partition_state()"
            ),
            rotations: concat!($prefix, "_partition_rotation_total"),
            default_rows: concat!($prefix, "_default_partition_rows"),
            months_ahead: concat!($prefix, "_partition_months_ahead"),
        }
    };
}

/// The statements and metrics of a schema's retention, by schema, metric prefix and tables.
#[macro_export]
macro_rules! retention {
    ($schema:literal, $prefix:literal, [$($table:literal),* $(,)?]) => {
        $crate::table_maintenance::Retention {
            sweeps: &[$($crate::table_maintenance::Sweep {
                table: $table,
                statement: concat!("SELECT ", $schema, ".sweep_", $table, "($1)"),
            }),*],
            swept: concat!($prefix, "_swept_rows_total"),
            last_success: concat!($prefix, "_sweep_last_success_timestamp_seconds"),
        }
    };
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
    pub fn statements(&self) -> Vec<&'static str> {
        let months = self.months.iter().flat_map(|months| [months.make, months.state]);
        months.chain(self.retention.sweeps.iter().map(|sweep| sweep.statement)).collect()
    }

    /// Starts both tasks at the configured intervals.
    pub fn start(
        self,
        config: &MaintenanceConfig,
        database: &Database,
        clock: &Clock,
        driver: &TaskDriver,
    ) {
        if let Some(months) = self.months {
            let task = PartitionRotation { months, database: database.clone() };
            driver.start("rotate-partitions", task, schedule(config.months_every_seconds, config));
        }
        let (retention, database, clock) = (self.retention, database.clone(), clock.clone());
        let task = RetentionSweep { retention, database, clock };
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
    months: Months,
    database: Database,
}

impl BackgroundTask for PartitionRotation {
    /// Names of the partitions it created.
    type Status = Vec<String>;
    type Error = StoreError;

    async fn activate(&mut self) -> Result<Vec<String>, StoreError> {
        self.months.run(&self.database).await
    }
}

/// Deletes expired rows.
#[derive(Debug)]
pub struct RetentionSweep {
    pub retention: Retention,
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
        self.retention.run(&self.database, &self.clock).await
    }

    fn is_complete(status: &Self::Status) -> bool {
        status.as_ref().is_none_or(|report| report.complete)
    }
}

impl Months {
    /// Creates every missing partition and returns their names. Measures the default partitions even if
    /// that fails.
    pub async fn run(&self, database: &Database) -> Result<Vec<String>, StoreError> {
        let made = self.make_all(database).await;
        let outcome = if made.is_ok() { "success" } else { "failure" };
        counter!(self.rotations, "outcome" => outcome).increment(1);
        self.measure(database).await?;
        made
    }

    async fn make_all(&self, database: &Database) -> Result<Vec<String>, StoreError> {
        let connection = database.connection().await?;
        let mut made = Vec::new();
        while let Some(partition) =
            connection.query_one(self.make, &[]).await?.get::<_, Option<String>>(0)
        {
            tracing::info!(partition, "Created a partition.");
            made.push(partition);
        }
        Ok(made)
    }

    async fn measure(&self, database: &Database) -> Result<(), StoreError> {
        let connection = database.connection().await?;
        for row in connection.query(self.state, &[]).await? {
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
            gauge!(self.default_rows, "table" => table.clone()).set(f64::from(default_rows));
            gauge!(self.months_ahead, "table" => table).set(f64::from(months_ahead));
        }
        Ok(())
    }
}

impl Retention {
    /// Deletes expired rows, table by table; `None` when another instance is at work. Continues after an
    /// error and returns the first one.
    pub async fn run(
        &self,
        database: &Database,
        clock: &Clock,
    ) -> Result<Option<SweepReport>, StoreError> {
        let until = Instant::now() + MAX_RUN_TIME;
        let (mut swept, mut failure) =
            (SweepReport { complete: true, ..SweepReport::default() }, None);
        for sweep in self.sweeps {
            match sweep.run(database, until).await {
                Ok(Some(Batches { rows, complete })) => {
                    counter!(self.swept, "table" => sweep.table).increment(rows.unsigned_abs());
                    swept.rows.insert(sweep.table, rows);
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
            gauge!(self.last_success).set(clock.unix_seconds() as f64);
        }
        Ok(Some(swept))
    }
}

struct Batches {
    rows: i64,
    complete: bool,
}

impl Sweep {
    /// `None` when another instance is at work.
    async fn run(
        &self,
        database: &Database,
        until: Instant,
    ) -> Result<Option<Batches>, StoreError> {
        let connection = database.connection().await?;
        let mut rows = 0;
        while Instant::now() < until {
            match connection
                .query_one(self.statement, &[&BATCH_ROWS])
                .await?
                .get::<_, Option<i64>>(0)
            {
                Some(0) => return Ok(Some(Batches { rows, complete: true })),
                Some(batch) => rows += batch,
                None => return Ok(None),
            }
        }
        Ok(Some(Batches { rows, complete: false }))
    }
}

#[cfg(test)]
mod tests;
