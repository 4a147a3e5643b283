//! `cargo run -p chaos -- list | run [ID…] [--sabotage]`

#![expect(clippy::print_stdout, reason = "a program for people")]

use std::process::ExitCode;
use std::time::Duration;

use chaos::catalog::{self, Entry, ServerSafeguard};
use chaos::drills::{self, Form};
use chaos::house::{House, Plan};
use chaos::observations::Observations;
use chaos::report::{self, Row, Verdict};
use clap::{Parser, Subcommand};
use launcher::progress::Progress;

/// Failure drills against a stack of their own.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Prints the rows that have a drill.
    List,
    /// Runs drills, all when none is named, and writes a report.
    Run {
        ids: Vec<String>,
        /// Switches each row's safeguard off: the row must then be reported as broken.
        #[arg(long)]
        sabotage: bool,
        /// Seconds per row: without the wait for its alert.
        #[arg(long)]
        short: bool,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::List => list(),
        Command::Run { ids, sabotage, short } => {
            let form = if short || sabotage { Form::Short } else { Form::Full };
            run(&ids, sabotage, form).await
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

fn list() -> anyhow::Result<bool> {
    let rows = catalog::load()?;
    for (id, entry) in &rows {
        println!("{id:6} {:?} · {} · ops/runbooks/{}.md", entry.kind, entry.title, entry.runbook);
    }
    println!();
    print!("{}", report::without_safeguard(&rows)?);
    Ok(true)
}

/// True when every verdict is the one this kind of run must give.
async fn run(ids: &[String], sabotage: bool, form: Form) -> anyhow::Result<bool> {
    let progress = Progress::for_screen();
    let mut rows = Vec::new();
    let mut shared = None;
    let chosen = catalog::chosen(ids)?;
    let (skipped, drilled): (Vec<_>, Vec<_>) =
        chosen.iter().partition(|(_, entry)| sabotage && entry.no_safeguard.is_some());
    for (id, entry) in drilled {
        let row = drill((id, entry), sabotage, form, &mut shared, &progress);
        let row = Box::pin(row).await?;
        print_row(&row);
        rows.push(row);
    }
    if let Some(house) = shared {
        house.close().await?;
    }
    let wanted = if sabotage { Verdict::Broken } else { Verdict::Green };
    let skipped = report::without_safeguard(skipped)?;
    let file = report::write(&rows, sabotage.then_some(&*skipped), &House::folder("drills"))?;
    let right = rows.iter().filter(|row| row.verdict == wanted).count();
    if sabotage {
        print!("{skipped}");
    }
    println!(
        "{right} of {} rows are {wanted:?} as they must be. Report: {}",
        rows.len(),
        file.display()
    );
    Ok(right == rows.len())
}

/// Every drill has a stack of its own, so that none depends on another; but those that leave it as
/// it was share one, each with a gateway without its own safeguard in a sabotaged run.
async fn drill(
    (id, entry): (&str, &Entry),
    sabotage: bool,
    form: Form,
    shared: &mut Option<House>,
    progress: &Progress,
) -> anyhow::Result<Row> {
    println!("{id} {}", entry.title);
    let off: &[ServerSafeguard] = if sabotage { &entry.sabotage } else { &[] };
    let shares = drills::shares_a_house(id);
    let mut house = match shared.take() {
        Some(mut house) if shares => {
            if sabotage {
                house.without(off).await?;
            }
            house
        }
        other => {
            if let Some(other) = other {
                other.close().await?;
            }
            let plan = drills::prepare(id, Plan::new(House::folder("drills/stack")));
            let plan = if sabotage { plan.without(off) } else { plan };
            House::open(plan, progress).await?
        }
    };
    let mut seen = Observations::default();
    let objective = Duration::from_secs(entry.recover_within_s);
    let outcome = drills::run(id, form, objective, &mut house, &mut seen).await;
    if shares && outcome.is_ok() {
        *shared = Some(house);
    } else {
        house.close().await?;
    }
    outcome?;
    Ok(Row::new(id, entry, seen))
}

fn print_row(row: &Row) {
    for finding in &row.findings {
        let mark = if finding.held { "✓" } else { "✗" };
        println!("  {mark} {}: {} ({})", finding.step.name(), finding.expected, finding.found);
    }
    println!("  {:?}\n", row.verdict);
}
