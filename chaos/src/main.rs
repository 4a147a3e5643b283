//! `cargo run -p chaos -- list [--missing] | run [ID…] [--short] [--sabotage]`

#![expect(clippy::print_stdout, reason = "a program for people")]

use std::process::ExitCode;
use std::time::Duration;

use chaos::catalog::{Catalog, DrilledRow, ServerSafeguard};
use chaos::drill_env::{DrillEnv, EnvOptions};
use chaos::drills::{self, Mode};
use chaos::observations::Observations;
use chaos::prometheus::Scale;
use chaos::report::{self, DrillResult, Report, RowResult};
use clap::{Parser, Subcommand};
use launcher::progress::Progress;

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
        /// Switch each row's safeguard off: the row must then be reported as broken.
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
    let (catalog, progress) = (Catalog::load()?, Progress::for_screen());
    println!("{}\n", catalog.summary());
    let mut rows = Vec::new();
    let mut shared = None;
    let chosen = catalog.chosen(ids)?;
    let (skipped, drilled): (Vec<_>, Vec<_>) =
        chosen.into_iter().partition(|it| sabotage && it.drill.no_safeguard.is_some());
    for it in drilled {
        let row = Box::pin(drill(it, sabotage, alerts, &mut shared, &progress)).await?;
        print_row(&row);
        rows.push(row);
    }
    if let Some(env) = shared {
        env.close().await?;
    }
    let wanted = if sabotage { DrillResult::Broken } else { DrillResult::Green };
    let skipped = report::without_safeguard(skipped)?;
    let skipped = sabotage.then_some(skipped);
    let report = Report { summary: catalog.summary(), skipped, rows };
    let file = report.write(&DrillEnv::folder("drills"))?;
    let right = report.rows.iter().filter(|row| row.result == wanted).count();
    print!("{}", report.skipped.as_deref().unwrap_or_default());
    println!(
        "{right} of {} drills are {wanted:?}, as expected. Report: {}",
        report.rows.len(),
        file.display()
    );
    Ok(right == report.rows.len())
}

/// Runs one drill. Every drill starts its own stack, except that drills which leave it unchanged share
/// one; a sabotaged run restarts the shared gateway with the row's safeguard off.
async fn drill(
    it: DrilledRow<'_>,
    sabotage: bool,
    alerts: Option<Scale>,
    shared: &mut Option<DrillEnv>,
    progress: &Progress,
) -> anyhow::Result<RowResult> {
    let DrilledRow { row, drill } = it;
    let id = row.id.as_str();
    println!("{id} {}", row.title);
    let off: &[ServerSafeguard] = if sabotage { &drill.sabotage } else { &[] };
    let shares = drills::shares_env(id);
    let mut env = match shared.take() {
        Some(mut env) if shares => {
            if sabotage {
                env.without(off).await?;
            }
            env
        }
        other => {
            if let Some(other) = other {
                other.close().await?;
            }
            let options =
                drills::env_options(id, EnvOptions::new(DrillEnv::folder("drills/stack")));
            let options = EnvOptions { alerts, ..options };
            let options = if sabotage { options.without(off) } else { options };
            DrillEnv::open(options, progress).await?
        }
    };
    let mut seen = Observations::default();
    let objective = Duration::from_secs(drill.recover_within_s);
    let mode = if alerts.is_some() { Mode::Full } else { Mode::Short };
    let mut outcome = drills::run(id, mode, objective, &mut env, &mut seen).await;
    if let (Ok(()), Ok(alerts)) = (&outcome, env.alerts()) {
        outcome = alerts.check_resolved(&mut seen).await;
    }
    if shares && outcome.is_ok() {
        *shared = Some(env);
    } else {
        env.close().await?;
    }
    outcome?;
    Ok(RowResult::new(it, seen))
}

fn print_row(row: &RowResult) {
    for finding in &row.findings {
        let mark = if finding.held { "✓" } else { "✗" };
        println!("  {mark} {}: {} ({})", finding.step.name(), finding.expected, finding.found);
    }
    println!("  {:?}\n", row.result);
}
