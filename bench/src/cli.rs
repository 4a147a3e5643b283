//! Command line of `bench`.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use launcher::stop_signals::StopSignals;
use launcher::user_error::UserError;

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
    let line = "bench dashboard --seconds 5 --warmup 2 --form json,ndjson";
    Arguments::parse_from(line.split(' '))
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
    result.unwrap_or_else(|error| UserError::print(&error))
}

/// Runs a measurement until it ends or a signal arrives. Dropping it ends the stack's processes.
async fn run_until_signal(
    measurement: impl Future<Output = anyhow::Result<ExitCode>>,
) -> anyhow::Result<ExitCode> {
    let mut stops = StopSignals::listen()?;
    let code = tokio::select! {
        outcome = measurement => return outcome,
        code = stops.next() => code,
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
