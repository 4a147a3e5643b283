//! Runs drills in two lanes, in environments that are kept for the next drill, and writes the report. An
//! error in one drill is its result and ends nothing else.
//!
//! `plan` decides what runs when, `lane` runs it. Not here: what a drill does, which is
//! [`crate::drills`], and what its result is, which is [`crate::report`].

use std::thread;

use anyhow::Context;
use launcher::builder::{Build, programs};
use tokio::runtime::Handle;
use tokio::task::block_in_place;
use tokio::time::Instant;

use crate::catalog::{Catalog, DrilledRow};
use crate::drill_env::DrillEnv;
use crate::prometheus::Scale;
use crate::report::{self, DrillResult, Report, RowResult};

mod failed_data;
mod lane;
mod output;
mod plan;

use lane::Lane;
use output::{Output, print};
use plan::{Plan, Planned};

/// Drills run at the same time.
const LANES: usize = 2;

/// How drills are run.
#[derive(Debug, Clone, Copy)]
pub struct RunOptions {
    /// Switches each row's safeguards off.
    pub sabotage: bool,
    /// Waits for alerts, with their durations divided by this scale.
    pub alerts: Option<Scale>,
}

impl RunOptions {
    /// The result that every row must have.
    fn wanted(self) -> DrillResult {
        if self.sabotage { DrillResult::Red } else { DrillResult::Green }
    }
}

/// Runs the rows with these ids, or all that have a drill. Returns true when every row has the result
/// that this kind of run requires.
pub async fn run(ids: &[String], options: RunOptions) -> anyhow::Result<bool> {
    let begun = Instant::now();
    let (catalog, wanted) = (Catalog::load()?, options.wanted());
    print(&format!("{}\n", catalog.summary()));
    let chosen = catalog.chosen(ids)?;
    let (skipped, drilled): (Vec<_>, Vec<_>) =
        chosen.into_iter().partition(|it| options.sabotage && it.drill.no_safeguard.is_some());
    let rows = run_rows(&drilled, options).await?;
    let skipped = report::without_safeguard(skipped)?;
    let skipped = options.sabotage.then_some(skipped);
    let report = Report { skipped, ..Report::new(&catalog, rows, begun.elapsed()) };
    let file = report.write(&DrillEnv::folder("drills"))?;
    let (right, all) =
        (report.rows.iter().filter(|row| row.result == wanted).count(), report.rows.len());
    let skipped = report.skipped.as_deref().unwrap_or_default();
    let (file, took) = (file.display(), output::minutes(begun.elapsed()));
    print(&format!(
        "{skipped}{right} of {all} drills are {wanted}, as expected, after {took}. Report: {file}"
    ));
    Ok(right == all)
}

/// Returns the results in the order of the rows.
async fn run_rows(rows: &[DrilledRow<'_>], options: RunOptions) -> anyhow::Result<Vec<RowResult>> {
    let planned = rows.iter().map(|row| Planned::of(*row, options));
    let planned = planned.collect::<anyhow::Result<Vec<_>>>()?;
    // cargo would disturb the drills later.
    programs(&Build::Dev).await?;
    if planned.iter().any(Planned::is_sabotaged) {
        programs(&Build::Sabotage).await?;
    }
    let (plan, output) = (Plan::new(planned), Output::new(rows.len()));
    let (plan, output, runtime) = (&plan, &output, Handle::current());
    let work = |number| {
        let runtime = runtime.clone();
        move || runtime.block_on(Lane::new(number, options).work(plan, output))
    };
    // A thread for each lane: one that is busy signing proofs does not delay the other's requests.
    let results = block_in_place(|| {
        thread::scope(|threads| {
            let lanes = (1..=LANES.min(rows.len())).map(|number| threads.spawn(work(number)));
            let lanes: Vec<_> = lanes.collect();
            lanes.into_iter().map(thread::ScopedJoinHandle::join).collect::<Vec<_>>()
        })
    });
    let mut found = Vec::new();
    for result in results {
        found.extend(result.ok().context("a drill panicked")?);
    }
    let position = |row: &RowResult| rows.iter().position(|it| it.row.id == row.id);
    found.sort_by_key(position);
    Ok(found)
}
