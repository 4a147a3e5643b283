//! Platform operators end the freeze of the routes that require a second factor.
//!
//! Not here: expectations, which are part of the drills.

use anyhow::Context;
use contracts::clock::Clock;
use launcher::internal::InternalClient;
use launcher::service_accounts::OPERATORS;
use reqwest::Method;
use serde_json::{Value, json};

use crate::drill_env::DrillEnv;

const PATH: &str = "/internal/admin/unfreeze-second-factor";

/// Whether the routes are frozen.
pub async fn is_frozen(env: &DrillEnv) -> anyhow::Result<bool> {
    let operators = InternalClient::new(env.stack.info(), Clock::system())?;
    let state = call(&operators, OPERATORS[0], Method::GET, PATH, None).await?;
    state["frozen"].as_bool().context("the state says whether they are frozen")
}

/// One operator requests the end of the freeze, another approves it. Returns the state afterwards.
pub async fn by_two_people(env: &DrillEnv) -> anyhow::Result<Value> {
    let operators = InternalClient::new(env.stack.info(), Clock::system())?;
    let [one, other] = OPERATORS;
    let body = json!({"reason": "The cause was removed."});
    let requested = call(&operators, one, Method::POST, PATH, Some(&body)).await?;
    let id = requested["id"].as_str().context("a request has an id")?;
    call(&operators, other, Method::POST, &format!("{PATH}/{id}/approve"), None).await
}

async fn call(
    operators: &InternalClient,
    account: &str,
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> anyhow::Result<Value> {
    let answer = operators.call(account, method, path, body).await?.error_for_status()?;
    answer.json().await.with_context(|| format!("reading the response of {path}"))
}
