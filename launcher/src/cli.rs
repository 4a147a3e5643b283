//! Command line of `launcher`.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::builder::workspace_root;
use crate::data_dir::LOCAL_VAR;
use crate::user_error::UserError;

mod code;
mod curl;
mod dashboard;
mod internal;
mod test;
mod tool;
mod up;

#[derive(Debug, Parser)]
#[command(name = "launcher", about = "The whole hotel back office on this machine.")]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,

    /// Data folder of the stack.
    #[arg(long, global = true, value_name = "FOLDER", env = LOCAL_VAR)]
    local: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start everything and keep it running until Ctrl-C (the default).
    Up(up::UpArguments),
    /// Run a command (`cargo test` unless another is given) with a private Postgres and Redis.
    Test(test::TestArguments),
    /// Print the path of a tool that the checks need, fetching it if it is not installed.
    Tool(tool::ToolArguments),
    /// Send one request as a signed-in desktop.
    Curl(curl::CurlArguments),
    /// Send one request to the gateway's internal listener as a service account.
    Internal(internal::InternalArguments),
    /// Print an operator's current authenticator code, for a second factor.
    Code(code::CodeArguments),
    /// Show a property's dashboard.
    Dashboard(dashboard::DashboardArguments),
}

/// Parses the arguments, runs the command, and prints a failure as one sentence.
pub async fn run() -> ExitCode {
    let arguments = Arguments::parse();
    let local = arguments.local.unwrap_or_else(|| workspace_root().join(".local"));
    let result = match arguments.command.unwrap_or_else(|| Command::Up(up::UpArguments::default()))
    {
        Command::Up(arguments) => up::run(arguments, local).await,
        Command::Test(arguments) => test::run(arguments, local).await,
        Command::Tool(arguments) => tool::run(arguments).await,
        Command::Curl(arguments) => curl::run(arguments, local).await,
        Command::Internal(arguments) => internal::run(arguments, local).await,
        Command::Code(arguments) => code::run(arguments, local),
        Command::Dashboard(arguments) => dashboard::run(arguments, local).await,
    };
    result.unwrap_or_else(|error| UserError::print(&error))
}

/// Writes to standard output, ignoring a closed pipe.
fn print(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}
