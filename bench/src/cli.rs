//! Command line of `bench`.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use console::style;
use launcher::user_error::UserError;
use tokio::signal::unix::{SignalKind, signal};

use crate::options::{DashboardArguments, FloodArguments, LoadArguments};
use crate::{baseline, dashboard, flood};

#[derive(Debug, Parser)]
#[command(name = "bench", about = "Measures what the gateway costs on this machine.")]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measure latency and CPU cost of the dashboard (the default, in a short form).
    Dashboard(DashboardArguments),
    /// Measure the CPU cost of one authenticated read, plain and over TLS.
    Read(LoadArguments),
    /// Measure how a connection flood from one address affects another address.
    Flood(FloodArguments),
    /// The baseline server.
    #[command(hide = true)]
    Hello {
        /// Data folder of the stack, for its certificate.
        #[arg(long)]
        folder: PathBuf,
    },
}

/// The default command: both response formats for a few seconds each.
fn default_command() -> Arguments {
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

/// Parses the arguments, runs the command, and prints a failure as one sentence.
pub async fn run() -> ExitCode {
    let arguments = Arguments::parse();
    let command = arguments.command.or_else(|| default_command().command);
    let result = match command {
        Some(Command::Dashboard(arguments)) => {
            run_until_signal(Box::pin(dashboard::run(&arguments))).await
        }
        Some(Command::Read(load)) => run_until_signal(Box::pin(dashboard::run(&load.into()))).await,
        Some(Command::Flood(arguments)) => run_until_signal(Box::pin(flood::run(&arguments))).await,
        Some(Command::Hello { folder }) => {
            baseline::serve(&folder).await.map(|()| ExitCode::SUCCESS)
        }
        None => Ok(ExitCode::SUCCESS),
    };
    result.unwrap_or_else(|error| {
        let (sentence, cross) = (UserError::sentence(&error), style("✗").red().for_stderr());
        // Standard error may be closed; there is nowhere else to report to.
        let _ = writeln!(std::io::stderr().lock(), "{cross} {sentence}");
        ExitCode::FAILURE
    })
}

/// Runs a measurement until it ends or a signal arrives. Dropping it ends the stack's processes.
async fn run_until_signal(
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
    // Printed after the measurement's processes have ended.
    let _ = writeln!(std::io::stderr().lock(), "  Interrupted: no results were written.");
    Ok(ExitCode::from(code))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Form;

    #[test]
    fn the_default_command_parses() {
        let Some(Command::Dashboard(arguments)) = default_command().command else {
            panic!("the default is the dashboard");
        };
        assert_eq!(arguments.form, [Form::Json, Form::Ndjson]);
    }
}
