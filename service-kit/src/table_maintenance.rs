//! Keeps a program's own tables in shape while it runs: partitions for the months to come, and an
//! end for rows that are past their time.
//!
//! The work is done by functions of the schema (`make_next_month`, `sweep_<table>`) that run as
//! their owner: the program's role may neither make a table nor see rows of all tenants. Each call
//! is a short transaction of its own with an advisory lock, so that of several instances one works.

use std::collections::BTreeMap;
use std::time::Duration;

use contracts::clock::{Clock, Entropy};
use metrics::{counter, gauge};
use serde::Serialize;
use tokio::time::Instant;

use crate::config::MaintenanceConfig;
use crate::lifecycle::Lifecycle;
use crate::periodic::{self, Ran, Schedule};
use crate::postgres::{Database, StoreError};
use crate::problem::chain;
use crate::row;

/// Rows that one statement deletes at most: well within the time a statement may take.
const BATCH: i32 = 500;
/// No batch is begun after so long; the next run goes on.
const RUNS_FOR: Duration = Duration::from_secs(60);

/// The maintenance of one program.
#[derive(Debug, Clone, Copy)]
pub struct TableMaintenance {
    /// Absent where no table has a partition per month.
    pub months: Option<Months>,
    pub retention: Retention,
}

/// Partitions per month.
#[derive(Debug, Clone, Copy)]
pub struct Months {
    /// Makes one missing month and answers its name, or null when none is missing.
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

/// What is deleted when its time is over.
#[derive(Debug, Clone, Copy)]
pub struct Retention {
    /// In this order, because some rows hold on to others.
    pub sweeps: &'static [Sweep],
    /// Name of the counter of deleted rows.
    pub swept: &'static str,
    /// Name of the gauge of the last run that left nothing over.
    pub last_success: &'static str,
}

/// One table with rows that expire.
#[derive(Debug, Clone, Copy)]
pub struct Sweep {
    pub table: &'static str,
    /// Deletes at most $1 rows and answers how many; null when another instance is at it.
    pub statement: &'static str,
}

/// What came of one sweep.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Swept {
    /// Rows deleted, by table.
    pub rows: BTreeMap<&'static str, i64>,
    /// False when time ran out before everything was deleted that is past its time.
    pub complete: bool,
}

impl TableMaintenance {
    /// Every statement, for the test that prepares them on the migrated schema.
    pub fn statements(&self) -> Vec<&'static str> {
        let months = self.months.iter().flat_map(|months| [months.make, months.state]);
        months.chain(self.retention.sweeps.iter().map(|sweep| sweep.statement)).collect()
    }

    /// Makes months and sweeps, at start and then as the settings say, until shutdown begins.
    pub fn start(
        self,
        config: &MaintenanceConfig,
        database: &Database,
        clock: &Clock,
        entropy: &Entropy,
        lifecycle: &Lifecycle,
    ) {
        if let Some(months) = self.months {
            let database = database.clone();
            let work = move || {
                let database = database.clone();
                async move { ended("make partitions", months.run(&database).await.map(|_| true)) }
            };
            let schedule = schedule(config.months_every_seconds, config);
            lifecycle.spawn_until_stop(periodic::repeat(schedule, entropy.clone(), work));
        }
        let (database, clock) = (database.clone(), clock.clone());
        let work = move || {
            let (database, clock) = (database.clone(), clock.clone());
            async move {
                let swept = self.retention.run(&database, &clock).await;
                ended("delete expired rows", swept.map(|it| it.is_none_or(|it| it.complete)))
            }
        };
        let schedule = schedule(config.sweep_every_seconds, config);
        lifecycle.spawn_until_stop(periodic::repeat(schedule, entropy.clone(), work));
    }
}

fn schedule(seconds: u64, config: &MaintenanceConfig) -> Schedule {
    Schedule {
        interval: Duration::from_secs(seconds),
        retry: Duration::from_secs(config.retry_seconds),
        jitter: Duration::from_secs(config.jitter_seconds),
    }
}

fn ended(work: &'static str, outcome: Result<bool, StoreError>) -> Ran {
    match outcome {
        Ok(true) => Ran::Done,
        Ok(false) => Ran::Failed,
        Err(error) => {
            tracing::warn!(
                work,
                error = %chain(&error),
                "Table maintenance failed. It is tried again in a few minutes; if this repeats, see ops/runbooks."
            );
            Ran::Failed
        }
    }
}

impl Months {
    /// Makes every month that is missing; the partitions made. What is left in default partitions
    /// is measured even when a month could not be made.
    pub async fn run(&self, database: &Database) -> Result<Vec<String>, StoreError> {
        let made = self.make_all(database).await;
        let outcome = if made.is_ok() { "success" } else { "failure" };
        counter!(self.rotations, "outcome" => outcome).increment(1);
        self.measure(database).await?;
        made
    }

    async fn make_all(&self, database: &Database) -> Result<Vec<String>, StoreError> {
        let connection = database.connection().await?;
        let statement = connection.prepare_cached(self.make).await?;
        let mut made = Vec::new();
        while let Some(partition) =
            connection.query_one(&statement, &[]).await?.get::<_, Option<String>>(0)
        {
            tracing::info!(partition, "Created a partition.");
            made.push(partition);
        }
        Ok(made)
    }

    async fn measure(&self, database: &Database) -> Result<(), StoreError> {
        let connection = database.connection().await?;
        let statement = connection.prepare_cached(self.state).await?;
        for row in connection.query(&statement, &[]).await? {
            let table: String = row::get(&row, "parent")?;
            let default_rows = row::total(&row, "default_rows")?;
            let months_ahead = row::total(&row, "months_ahead")?;
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
    /// Deletes what is past its time, table by table; `None` when another instance is at it. A
    /// table that fails does not keep the next ones from being swept; the first failure is answered.
    pub async fn run(
        &self,
        database: &Database,
        clock: &Clock,
    ) -> Result<Option<Swept>, StoreError> {
        let until = Instant::now() + RUNS_FOR;
        let (mut swept, mut failure) = (Swept { complete: true, ..Swept::default() }, None);
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
    /// `None` when another instance is at it.
    async fn run(
        &self,
        database: &Database,
        until: Instant,
    ) -> Result<Option<Batches>, StoreError> {
        let connection = database.connection().await?;
        let statement = connection.prepare_cached(self.statement).await?;
        let mut rows = 0;
        while Instant::now() < until {
            match connection.query_one(&statement, &[&BATCH]).await?.get::<_, Option<i64>>(0) {
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
