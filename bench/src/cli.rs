//! The commands of `bench`.

use std::io::{IsTerminal, Write};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use contracts::upstream::Upstream;
use launcher::obstacle::Obstacle;
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

use crate::flood::FloodArguments;
use crate::{dashboard, flood, floor};

#[derive(Debug, Parser)]
#[command(name = "bench", about = "What the gateway costs on this machine.")]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Load the dashboard and say how fast it is and what it costs (the default, in short).
    Dashboard(DashboardArguments),
    /// Load one guarded read, plain and over TLS, and say what it costs the gateway.
    Read(LoadArguments),
    /// Flood the gateway with connections from one address, and say what another one sees of it.
    Flood(FloodArguments),
    /// The trivial server that the load generator is measured against.
    #[command(hide = true)]
    Hello {
        /// The data folder of the stack, for its certificate.
        #[arg(long)]
        folder: PathBuf,
    },
}

/// Ten widgets that the stand-ins play, so that each is as late as they are told to be.
const TEN: &str = "rateSnapshot,maintenanceSummary,arrivals,departures,inHouse,folioSummary,alerts,\
    aiSuggestions,kpis,propertyCard";

/// In which form a dashboard is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Form {
    Json,
    Ndjson,
}

/// What is measured beside the baselines, and under which load.
#[derive(Debug, Clone, Args, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DashboardArguments {
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) load: LoadArguments,
    /// Forms to measure, one after the other.
    #[arg(long, value_delimiter = ',', default_value = "json")]
    pub(crate) form: Vec<Form>,
    /// Which widgets a dashboard has: names, or `all`. The usual ten are all the stand-ins'.
    #[arg(long, value_delimiter = ',', default_value = TEN)]
    pub(crate) widgets: Vec<String>,
    /// How late the stand-ins answer. The three real services are not delayed.
    #[arg(long, value_name = "MS", default_value = "20", value_parser = clap::value_parser!(u32).range(0..=10_000))]
    pub(crate) upstream_ms: u32,
    /// An upstream of the stand-ins' that takes every question and answers none.
    #[arg(long, value_name = "UPSTREAM", value_parser = upstream)]
    pub(crate) hang: Option<Upstream>,
    /// Show what is kept of earlier answers, as the gateway does; else every dashboard is a cold one.
    #[arg(long)]
    pub(crate) kept: bool,
}

#[derive(Debug, Clone, Args, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LoadArguments {
    /// Requests a second, sent on time whether or not earlier ones have been answered.
    #[arg(long, default_value = "100", conflicts_with = "closed")]
    pub(crate) rate: NonZeroU32,
    /// Instead: this many clients, each of which waits for its answer before it asks again.
    #[arg(long, value_name = "CLIENTS")]
    pub(crate) closed: Option<NonZeroU32>,
    /// How long each form of a dashboard is measured; everything else takes half as long.
    #[arg(long, default_value = "10", value_parser = clap::value_parser!(u32).range(1..=600))]
    pub(crate) seconds: u32,
    /// Seconds of the same load before each measurement, not counted.
    #[arg(long, default_value = "3", value_parser = clap::value_parser!(u32).range(1..=60))]
    pub(crate) warmup: u32,
    /// Connections to the gateway; operators take turns on them. Without HTTP/2 there are as
    /// many as requests under way, when those are more.
    #[arg(long, default_value = "10", value_parser = clap::value_parser!(u32).range(1..=200))]
    pub(crate) connections: u32,
    /// Requests a second that the first tenant's desks send beside; the others' alone are measured.
    #[arg(long, value_name = "RATE")]
    pub(crate) flood: Option<NonZeroU32>,
    /// Threads that work in a gateway: those of an instance with one core, unless told otherwise.
    #[arg(long, default_value = "1", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) workers: u16,
    /// How many nights one read is of: its answer has half a kilobyte for each.
    #[arg(long, default_value = "1", value_parser = clap::value_parser!(u16).range(1..=14))]
    pub(crate) nights: u16,
    /// Decides which connection sends when.
    #[arg(long, default_value = "1")]
    pub(crate) seed: u64,
    /// Measure the servers that were built before and stand in this folder, to compare two builds.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) programs: Option<PathBuf>,
    /// The figures are written to .local/bench/<NAME>.json.
    #[arg(long, default_value = "last", value_parser = file_name)]
    pub(crate) name: String,
}

impl From<LoadArguments> for DashboardArguments {
    /// The baselines alone; what is read is passed on and not kept.
    fn from(load: LoadArguments) -> Self {
        Self { load, form: vec![], widgets: vec![], upstream_ms: 0, hang: None, kept: false }
    }
}

impl DashboardArguments {
    /// The query's part that names them; none for all of them.
    pub(crate) fn names(&self) -> Option<String> {
        (self.widgets != ["all"]).then(|| self.widgets.join(","))
    }
}

fn upstream(text: &str) -> Result<Upstream, String> {
    Upstream::parse(text)
        .ok_or_else(|| "name one of the dashboard's upstreams: pricing, ai, …".to_owned())
}

fn file_name(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !text.is_empty() && text.chars().all(fits) {
        return Ok(text.to_owned());
    }
    Err("use letters, digits, - and _".to_owned())
}

/// What runs when nothing is asked: both forms, for a few seconds each.
fn in_short() -> Arguments {
    Arguments::parse_from([
        "bench",
        "dashboard",
        "--seconds",
        "5",
        "--warmup",
        "2",
        "--form",
        "json,ndjson",
    ])
}

/// Reads the arguments, runs the command, and puts a failure into one sentence.
pub async fn run() -> ExitCode {
    let arguments = Arguments::parse();
    let command = arguments.command.or_else(|| in_short().command);
    let result = match command {
        Some(Command::Dashboard(arguments)) => {
            until_stopped(Box::pin(dashboard::run(&arguments))).await
        }
        Some(Command::Read(load)) => until_stopped(Box::pin(dashboard::run(&load.into()))).await,
        Some(Command::Flood(arguments)) => until_stopped(Box::pin(flood::run(&arguments))).await,
        Some(Command::Hello { folder }) => floor::serve(&folder).await.map(|()| ExitCode::SUCCESS),
        None => Ok(ExitCode::SUCCESS),
    };
    result.unwrap_or_else(|error| {
        let red = if std::io::stderr().is_terminal() { ("\x1b[31m", "\x1b[0m") } else { ("", "") };
        let sentence = Obstacle::sentence(&error);
        // Nobody is left to tell when standard error is closed.
        let _ = writeln!(std::io::stderr().lock(), "{}✗{} {sentence}", red.0, red.1);
        ExitCode::FAILURE
    })
}

/// Ctrl-C, a closed terminal and `kill` drop the measurement; its stack ends its children then.
async fn until_stopped(
    measurement: impl Future<Output = anyhow::Result<ExitCode>>,
) -> anyhow::Result<ExitCode> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let code = tokio::select! {
        outcome = measurement => return outcome,
        _ = interrupt.recv() => 130,
        _ = terminate.recv() => 143,
        _ = hangup.recv() => 129,
    };
    // Printed when the measurement's own processes are gone.
    let _ = writeln!(std::io::stderr().lock(), "  Stopped before the end: nothing was written.");
    Ok(ExitCode::from(code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_default_is_a_command_that_parses() {
        let Some(Command::Dashboard(arguments)) = in_short().command else {
            panic!("the default is the dashboard");
        };
        assert_eq!(arguments.form, [Form::Json, Form::Ndjson]);
    }

    #[test]
    fn a_name_stays_in_its_folder() {
        assert!(file_name("cold-1").is_ok());
        assert!(file_name("../x").is_err() && file_name("").is_err());
    }
}
