//! `cargo run -p chaos -- list | run [ID…] [--sabotage]`

#![expect(clippy::print_stdout, reason = "a program for people")]

use std::process::ExitCode;
use std::time::Duration;

use chaos::catalog::{self, Entry};
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
        /// Switches each row's protection off: the row must then be reported as broken.
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
    for (id, entry) in catalog::load()? {
        println!("{id:6} {:?} · {} · ops/runbooks/{}.md", entry.kind, entry.title, entry.runbook);
    }
    Ok(true)
}

/// True when every verdict is the one this kind of run must give.
async fn run(ids: &[String], sabotage: bool, form: Form) -> anyhow::Result<bool> {
    let progress = Progress::for_screen();
    let mut rows = Vec::new();
    for (id, entry) in catalog::chosen(ids)? {
        let row = drill(&id, &entry, sabotage, form, &progress).await?;
        print_row(&row);
        rows.push(row);
    }
    let wanted = if sabotage { Verdict::Broken } else { Verdict::Green };
    let file = report::write(&rows, sabotage, &House::folder("drills"))?;
    let right = rows.iter().filter(|row| row.verdict == wanted).count();
    println!(
        "{right} of {} rows are {wanted:?} as they must be. Report: {}",
        rows.len(),
        file.display()
    );
    Ok(right == rows.len())
}

/// Every drill has a stack of its own, so that none depends on another.
async fn drill(
    id: &str,
    entry: &Entry,
    sabotage: bool,
    form: Form,
    progress: &Progress,
) -> anyhow::Result<Row> {
    println!("{id} {}", entry.title);
    let off: Vec<&str> =
        if sabotage { entry.sabotage.iter().map(String::as_str).collect() } else { Vec::new() };
    let plan = drills::prepare(id, Plan::new(House::folder("drills/stack")));
    let plan = if sabotage { plan.without(&off) } else { plan };
    let mut house = House::open(plan, progress).await?;
    let mut seen = Observations::default();
    let outcome =
        drills::run(id, form, Duration::from_secs(entry.recover_within_s), &mut house, &mut seen)
            .await;
    house.close().await?;
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
