//! `launcher code`: what the operator's authenticator shows now.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use contracts::clock::Clock;
use stand_ins::totp;

use super::curl::operator;
use super::print;
use crate::info::StackInfo;

#[derive(Debug, Args)]
pub(super) struct CodeArguments {
    /// Whose; the first demo operator's unless given.
    #[arg(long, short)]
    user: Option<String>,
}

pub(super) fn run(
    arguments: CodeArguments,
    local: PathBuf,
    clock: Clock,
) -> anyhow::Result<ExitCode> {
    let info = StackInfo::read(&local.join("stack.json"))?;
    let operator = operator(&info, arguments.user.as_deref())?;
    print(&format!("{}\n", totp::code(&operator.totp_secret, totp::step(clock.now()))?))?;
    Ok(ExitCode::SUCCESS)
}
