//! `cargo run -p chaos -- list [--missing] | run [ID…] [--short] [--sabotage [--changed]] | repeat N [ID…]`

#![expect(clippy::print_stdout, reason = "a program for people")]

use std::process::ExitCode;

use chaos::catalog::Catalog;
use chaos::prometheus::Scale;
use chaos::report;
use chaos::runner::{self, RepeatOptions, RunOptions};
use clap::{Parser, Subcommand};

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
        /// With --sabotage: only rows that changed since they were red here, and a seventh of the others.
        #[arg(long, requires = "sabotage", conflicts_with = "ids")]
        changed: bool,
        /// Only the rows that `./check` runs, without those that run once a night.
        #[arg(long, conflicts_with = "ids")]
        gate: bool,
        /// Take seconds per row: do not wait for the alert.
        #[arg(long)]
        short: bool,
        /// Divide the durations of alert rules by this number; 1 is production.
        #[arg(long, default_value = "10")]
        time_scale: Scale,
    },
    /// Run the drills as `./check` does and keep the results by commit. Red drills that never ran at a commit
    /// run first, and then a seventh in turn.
    Repeat {
        #[arg(value_parser = clap::value_parser!(u32).range(1..))]
        runs: u32,
        ids: Vec<String>,
        /// Build the workspace in a folder of its own at the same time.
        #[arg(long)]
        beside_build: bool,
        /// Run all tests too.
        #[arg(long)]
        tests: bool,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::List { missing } => list(missing),
        Command::Run { ids, sabotage, changed, gate, short, time_scale } => {
            let alerts = (!short && !sabotage).then_some(time_scale);
            runner::run(&ids, RunOptions { sabotage, changed, gate, alerts }).await
        }
        Command::Repeat { runs, ids, beside_build, tests } => {
            runner::repeat(&ids, RepeatOptions { runs, beside_build, tests }).await
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
