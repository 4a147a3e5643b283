//! `launcher tool`: prints the paths of tools that the checks need.

use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::print;
use crate::binaries::tools::{self, Tool};
use crate::progress::Progress;

#[derive(Debug, Args)]
pub(super) struct ToolArguments {
    /// Tools to find, all by default. Prints one path per line, in this order.
    names: Vec<Tool>,
}

pub(super) async fn run(arguments: ToolArguments) -> anyhow::Result<ExitCode> {
    let progress = Progress::for_screen();
    let all = arguments.names.is_empty();
    let wanted = if all { Tool::value_variants().to_vec() } else { arguments.names };
    for tool in wanted {
        print(&format!("{}\n", tools::find(tool, &progress).await?.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}
