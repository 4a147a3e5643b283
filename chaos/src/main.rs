//! `cargo run -p chaos -- list [--missing] | run [ID…] [--short] [--sabotage]`

#![expect(clippy::print_stdout, reason = "a program for people")]

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use chaos::catalog::{Catalog, DrilledRow, ServerSafeguard};
use chaos::drill_env::{DrillEnv, EnvOptions};
use chaos::drill_run::{Drill, DrillRun, EnvAfter, Mode};
use chaos::drills;
use chaos::observations::Observations;
use chaos::prometheus::Scale;
use chaos::report::{self, DrillResult, Report, RowResult};
use clap::{Parser, Subcommand};
use launcher::progress::Progress;
use launcher::run_as::remove_any;

/// Data folder of the drills' stack.
const STACK: &str = "drills/stack";

/// Runs failure drills against their own stack.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the rows of the failure catalogues.
    List {
        /// Only the rows without a drill.
        #[arg(long)]
        missing: bool,
    },
    /// Run the drills with these ids, or all, and write a report.
    Run {
        ids: Vec<String>,
        /// Switch each row's safeguards off: the findings that the row names must then break.
        #[arg(long)]
        sabotage: bool,
        /// Take seconds per row: do not wait for the alert.
        #[arg(long)]
        short: bool,
        /// Divide the durations of alert rules by this number; 1 is production.
        #[arg(long, default_value = "10")]
        time_scale: Scale,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::List { missing } => list(missing),
        Command::Run { ids, sabotage, short, time_scale } => {
            let alerts = (!short && !sabotage).then_some(time_scale);
            run(&ids, sabotage, alerts).await
        }
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn list(only_missing: bool) -> anyhow::Result<bool> {
    let catalog = Catalog::load()?;
    println!("{}\n", catalog.summary());
    for row in catalog.rows() {
        match &row.drill {
            Some(_) if only_missing => {}
            Some(drill) => println!(
                "{:8} {} · {} · {} · ops/runbooks/{}.md",
                row.id,
                row.title,
                drill.kind.name(),
                drill.schedule.name(),
                drill.runbook
            ),
            None => println!("{:8} {} · no drill", row.id, row.title),
        }
    }
    if !only_missing {
        print!("\n{}", report::without_safeguard(catalog.drilled())?);
    }
    Ok(true)
}

/// Returns true when every row has the result that this kind of run requires. Drills wait for alerts
/// if there is a scale for them.
async fn run(ids: &[String], sabotage: bool, alerts: Option<Scale>) -> anyhow::Result<bool> {
    let catalog = Catalog::load()?;
    println!("{}\n", catalog.summary());
    let chosen = catalog.chosen(ids)?;
    let (skipped, drilled): (Vec<_>, Vec<_>) =
        chosen.into_iter().partition(|it| sabotage && it.drill.no_safeguard.is_some());
    let mut runner = Runner { sabotage, alerts, shared: None, progress: Progress::for_screen() };
    let mut rows = Vec::new();
    for it in drilled {
        println!("{} {}", it.row.id, it.row.title);
        let row = Box::pin(runner.run(it)).await;
        print_row(&row);
        rows.push(row);
    }
    let closed = runner.close().await;
    let wanted = if sabotage { DrillResult::Red } else { DrillResult::Green };
    let skipped = report::without_safeguard(skipped)?;
    let skipped = sabotage.then_some(skipped);
    let report = Report { summary: catalog.summary(), skipped, rows };
    let file = report.write(&DrillEnv::folder("drills"))?;
    let (right, all) =
        (report.rows.iter().filter(|row| row.result == wanted).count(), report.rows.len());
    print!("{}", report.skipped.as_deref().unwrap_or_default());
    println!("{right} of {all} drills are {wanted}, as expected. Report: {}", file.display());
    closed?;
    Ok(right == all)
}

/// Runs drills one after the other. An error in one is its result.
struct Runner {
    sabotage: bool,
    alerts: Option<Scale>,
    /// The environment that the last drill left unchanged.
    shared: Option<DrillEnv>,
    progress: Progress,
}

impl Runner {
    async fn run(&mut self, it: DrilledRow<'_>) -> RowResult {
        let mut seen = Observations::default();
        let mut outcome = self.drill(it, &mut seen).await;
        // A drill that fails or stops early leaves its fault in the data too.
        if self.shared.is_none() && outcome.is_err() {
            outcome = outcome.and(keep_data(&it.row.id));
        } else if self.shared.is_none() && self.sabotage {
            outcome = remove_any(&DrillEnv::folder(STACK));
        }
        RowResult::new(it, seen, outcome, self.sabotage)
    }

    async fn drill(&mut self, it: DrilledRow<'_>, seen: &mut Observations) -> anyhow::Result<()> {
        let drill = drills::find(&it.row.id).context("the row is not in chaos/src/drills.rs")?;
        let env = self.environment(it, drill).await?;
        let objective = Duration::from_secs(it.drill.recover_within_s);
        let mode = if self.alerts.is_some() { Mode::Full } else { Mode::Short };
        let mut run = DrillRun::new(env, mode, objective);
        let leaves = drill.leaves();
        // A drill that stops early does not remove its fault.
        if self.sabotage && leaves == EnvAfter::Changed {
            run = run.stop_at(&it.drill.red);
        }
        let outcome = run.execute(drill).await;
        let env;
        (env, *seen) = run.finish();
        if leaves == EnvAfter::Unchanged && outcome.is_ok() {
            self.shared = Some(env);
            return Ok(());
        }
        let closed = env.close().await;
        outcome.and(closed)
    }

    /// Starts a stack, or takes the one that the last drill left unchanged. A sabotaged run switches the
    /// row's safeguards off.
    async fn environment(
        &mut self,
        it: DrilledRow<'_>,
        drill: &dyn Drill,
    ) -> anyhow::Result<DrillEnv> {
        let off: &[ServerSafeguard] = if self.sabotage { &it.drill.sabotage } else { &[] };
        match self.shared.take() {
            Some(mut env) if drill.leaves() == EnvAfter::Unchanged => {
                if self.sabotage {
                    env.without(off).await?;
                }
                return Ok(env);
            }
            Some(env) => env.close().await?,
            None => {}
        }
        let options = drill.environment(EnvOptions::new(DrillEnv::folder(STACK)));
        let options = EnvOptions { alerts: self.alerts, ..options };
        let options = if self.sabotage { options.without(off) } else { options };
        DrillEnv::open(options, &self.progress).await
    }

    async fn close(self) -> anyhow::Result<()> {
        match self.shared {
            Some(env) => env.close().await,
            None => Ok(()),
        }
    }
}

/// Moves the data and logs of a failed drill's stack away, so that the next one begins with new data.
fn keep_data(id: &str) -> anyhow::Result<()> {
    let (data, kept) = (DrillEnv::folder(STACK), DrillEnv::folder("drills/failed").join(id));
    if data.is_dir() {
        remove_any(&kept)?;
        std::fs::create_dir_all(DrillEnv::folder("drills/failed"))?;
        std::fs::rename(&data, &kept).with_context(|| format!("moving {}", data.display()))?;
        println!("  Data and logs of the failed drill: {}", kept.display());
    }
    Ok(())
}

fn print_row(row: &RowResult) {
    for finding in &row.findings {
        let mark = if finding.held { "✓" } else { "✗" };
        let fault = finding.fault.as_deref().map(|fault| format!("{fault}: ")).unwrap_or_default();
        println!("  {mark} {}: {fault}{} ({})", finding.step.name(), finding.name, finding.found);
    }
    println!("  {}\n", row.result);
}
