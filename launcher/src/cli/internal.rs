//! `launcher internal`: sends one request to the gateway's internal listener as a service account.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use contracts::clock::Clock;
use reqwest::Method;

use super::curl::print_response;
use crate::internal::InternalClient;
use crate::service_accounts::{EVENTS, OPERATORS, SCHEDULER};
use crate::stack_info::StackInfo;

#[derive(Debug, Args)]
pub(super) struct InternalArguments {
    /// GET, POST …
    method: Method,
    /// Path, such as '/internal/sessions/revoke' or '/metrics'.
    path: String,
    /// JSON body.
    body: Option<String>,
    /// Service account: scheduler, events, operator-a or operator-b. By default the one that the path
    /// requires.
    #[arg(long = "as", value_name = "ACCOUNT")]
    account: Option<String>,
    /// Print the response headers.
    #[arg(long, short)]
    include: bool,
}

pub(super) async fn run(arguments: InternalArguments, local: PathBuf) -> anyhow::Result<ExitCode> {
    let body = arguments.body.as_deref().map(serde_json::from_str).transpose();
    let body: Option<serde_json::Value> = body.context("the body is not JSON")?;
    let caller =
        InternalClient::new(&StackInfo::read(&local.join("stack.json"))?, Clock::system())?;
    let account = arguments.account.as_deref().unwrap_or_else(|| default_account(&arguments.path));
    let response = caller.call(account, arguments.method, &arguments.path, body.as_ref()).await?;
    print_response(response, arguments.include).await
}

/// Returns the account that a path requires.
fn default_account(path: &str) -> &'static str {
    match path.trim_start_matches('/') {
        path if path.starts_with("internal/jobs/") => SCHEDULER,
        "internal/events" => EVENTS,
        _ => OPERATORS[0],
    }
}
