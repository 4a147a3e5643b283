//! Runs drills in two lanes, in environments that are kept for the next drill, and writes the report. An
//! error in one drill is its result and ends nothing else.
//!
//! `red_choice` decides which rows run without their safeguards, `plan` what runs when, and `lane` runs
//! it. Not here: what a drill does, which is [`crate::drills`], and what its result is, which is
//! [`crate::report`].

use std::thread;
use std::time::Duration;

use anyhow::Context;
use launcher::builder::{Build, link_launcher, programs};
use tokio::runtime::Handle;
use tokio::task::block_in_place;
use tokio::time::Instant;

use crate::catalog::{Catalog, DrillEntry, DrilledRow, Schedule};
use crate::drill_env::DrillEnv;
use crate::prometheus::Scale;
use crate::report::{self, DrillResult, Report, RowResult};
use crate::sources::Sources;

mod failed_data;
mod history;
mod lane;
mod output;
mod plan;
mod red_choice;
mod repeat;

use lane::Lane;
use output::{Output, print};
use plan::{Plan, Planned, join_rows};
use red_choice::{Choice, Guards, Record};
pub use repeat::{RepeatOptions, repeat};

/// Drills run at the same time.
const LANES: usize = 2;

/// How drills are run.
#[derive(Debug, Clone, Copy)]
pub struct RunOptions {
    /// Switches each row's safeguards off.
    pub sabotage: bool,
    /// With `sabotage`: leaves most rows out that did not change since they were red.
    pub changed: bool,
    /// Leaves the rows out that run once a night.
    pub gate: bool,
    /// Waits for alerts, with their durations divided by this scale.
    pub alerts: Option<Scale>,
}

impl RunOptions {
    /// The result that every row must have.
    fn wanted(self) -> DrillResult {
        if self.sabotage { DrillResult::Red } else { DrillResult::Green }
    }

    fn includes(self, drill: &DrillEntry) -> bool {
        !self.gate || drill.schedule == Schedule::Gate
    }
}

/// Runs the rows with these ids, or all that have a drill. Returns true when every row has the result
/// that this kind of run requires.
pub async fn run(ids: &[String], options: RunOptions) -> anyhow::Result<bool> {
    let catalog = Catalog::load()?;
    print(&format!("{}\n", catalog.summary()));
    let report = report_of(&catalog, ids, options).await?;
    let file = report.write(&DrillEnv::folder("drills"))?;
    print(&format!("Report: {}", file.display()));
    Ok(report.rows.iter().all(|row| row.result == options.wanted()))
}

async fn report_of(
    catalog: &Catalog,
    ids: &[String],
    options: RunOptions,
) -> anyhow::Result<Report> {
    let mut rows = catalog.chosen(ids)?;
    rows.retain(|it| options.includes(it.drill));
    let run = async {
        if options.sabotage {
            red(catalog, rows, options).await
        } else {
            green(catalog, rows, options).await
        }
    };
    let (report, wanted) = (run.await?, options.wanted());
    let right = report.rows.iter().filter(|row| row.result == wanted).count();
    let all = report.rows.len();
    let took = output::minutes(Duration::from_millis(report.took_ms as u64));
    print(&format!("{right} of {all} drills are {wanted}, as expected, after {took}."));
    Ok(report)
}

async fn green(
    catalog: &Catalog,
    rows: Vec<DrilledRow<'_>>,
    options: RunOptions,
) -> anyhow::Result<Report> {
    let begun = Instant::now();
    let results = run_rows(&rows, options).await?;
    Ok(Report::new(catalog, results, begun.elapsed()))
}

/// Runs the rows that have safeguards, or those of them that [`Choice`] chooses, and records which were
/// red.
async fn red(
    catalog: &Catalog,
    rows: Vec<DrilledRow<'_>>,
    options: RunOptions,
) -> anyhow::Result<Report> {
    let begun = Instant::now();
    let has_safeguard = |it: &DrilledRow<'_>| it.drill.no_safeguard.is_none();
    let (mut rows, others): (Vec<_>, Vec<_>) = rows.into_iter().partition(has_safeguard);
    let (mut record, sources) = (Record::read()?, Sources::read()?);
    let guards = Guards::of(&sources);
    let mut skipped = report::without_safeguard(others)?;
    if options.changed {
        let choice = Choice::of(rows, &record, &guards);
        skipped.push_str(&choice.to_string());
        rows = choice.rows();
    }
    print(&skipped);
    let results = run_rows(&rows, options).await?;
    record.note(&rows, &results, &guards);
    record.write()?;
    Ok(Report { skipped: Some(skipped), ..Report::new(catalog, results, begun.elapsed()) })
}

/// Returns the results in the order of the rows.
async fn run_rows(rows: &[DrilledRow<'_>], options: RunOptions) -> anyhow::Result<Vec<RowResult>> {
    let planned = rows.iter().map(|row| Planned::of(*row, options));
    let mut planned = planned.collect::<anyhow::Result<Vec<_>>>()?;
    // A run without a safeguard stops at its row's finding, and an alert does not tell upstreams apart.
    if !options.sabotage && options.alerts.is_none() {
        join_rows(&mut planned);
    }
    // cargo would disturb the drills later.
    let built = programs(&Build::Dev).await?;
    // The runbooks' commands include ./desk.
    let launcher = built.get("launcher").context("cargo built no launcher")?;
    link_launcher(&DrillEnv::folder(""), launcher)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gate_leaves_nightly_rows_out() {
        let catalog = Catalog::load().unwrap();
        let entry = catalog.drilled().next().unwrap().drill;
        let all = RunOptions { sabotage: false, changed: false, gate: false, alerts: None };
        let gate = RunOptions { gate: true, ..all };
        for (schedule, in_gate) in [(Schedule::Gate, true), (Schedule::Nightly, false)] {
            let entry = DrillEntry { schedule, ..entry.clone() };
            assert_eq!((all.includes(&entry), gate.includes(&entry)), (true, in_gate));
        }
    }
}
