//! `launcher internal`: one request to the gateway's internal listener, as a service account.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use contracts::clock::Clock;
use reqwest::Method;

use super::curl::{REFUSED, show};
use crate::info::StackInfo;
use crate::internal::Caller;
use crate::service_accounts::{EVENTS, OPERATORS, SCHEDULER};

#[derive(Debug, Args)]
pub(super) struct InternalArguments {
    /// GET, POST …
    method: Method,
    /// '/internal/sessions/revoke', '/metrics' …
    path: String,
    /// Body, as JSON.
    body: Option<String>,
    /// The service account: scheduler, events, operator-a or operator-b. By default the one the
    /// path is for.
    #[arg(long = "as", value_name = "ACCOUNT")]
    account: Option<String>,
    /// Show the answer's headers.
    #[arg(long, short)]
    include: bool,
}

pub(super) async fn run(
    arguments: InternalArguments,
    local: PathBuf,
    clock: Clock,
) -> anyhow::Result<ExitCode> {
    let body = arguments.body.as_deref().map(serde_json::from_str).transpose();
    let body: Option<serde_json::Value> = body.context("the body is not JSON")?;
    let caller = Caller::new(&StackInfo::read(&local.join("stack.json"))?, clock)?;
    let account = arguments.account.as_deref().unwrap_or_else(|| usual(&arguments.path));
    let response = caller.call(account, arguments.method, &arguments.path, body.as_ref()).await?;
    let ok = response.status().is_success();
    show(response, arguments.include).await?;
    Ok(if ok { ExitCode::SUCCESS } else { ExitCode::from(REFUSED) })
}

/// The account a path is for.
fn usual(path: &str) -> &'static str {
    match path.trim_start_matches('/') {
        path if path.starts_with("internal/jobs/") => SCHEDULER,
        "internal/events" => EVENTS,
        _ => OPERATORS[0],
    }
}
