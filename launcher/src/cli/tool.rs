//! `launcher tool`: where a program is that the checks need.

use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::print;
use crate::programs::tools::{self, Tool};
use crate::progress::Progress;

#[derive(Debug, Args)]
pub(super) struct ToolArguments {
    /// Which; all of them unless given. Their paths are printed in this order, one a line.
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
