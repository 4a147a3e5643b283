//! `launcher code`: prints the operator's current authenticator code.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use contracts::clock::Clock;
use stand_ins::totp;

use super::curl::operator;
use super::print;
use crate::stack_info::StackInfo;

#[derive(Debug, Args)]
pub(super) struct CodeArguments {
    /// Operator; the first demo operator by default.
    #[arg(long, short)]
    user: Option<String>,
}

pub(super) fn run(arguments: CodeArguments, local: PathBuf) -> anyhow::Result<ExitCode> {
    let info = StackInfo::read(&local.join("stack.json"))?;
    let operator = operator(&info, arguments.user.as_deref())?;
    print(&format!("{}\n", totp::code(&operator.totp_secret, totp::step(Clock::system().now()))?))?;
    Ok(ExitCode::SUCCESS)
}
