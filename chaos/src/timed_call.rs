//! Requests that are sent exactly once, with their duration. `Desktop::send` would hide a failing iam
//! by signing in again.
//!
//! Not here: building the requests; see `client`.

use std::time::Duration;

use anyhow::Context;
use launcher::desktop::{Call, Desktop};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::drill_env::DrillEnv;

/// A response and its duration.
#[derive(Debug, Clone)]
pub struct TimedResponse {
    pub status: u16,
    /// Problem code; empty if the response is not a problem.
    pub code: String,
    pub took: Duration,
    pub body: Value,
}

impl TimedResponse {
    /// Builds it from a status and body.
    pub fn of(status: u16, body: Value, took: Duration) -> Self {
        let code = body["code"].as_str().unwrap_or_default().to_owned();
        Self { status, code, took, body }
    }

    /// Whether it has this status and problem code.
    pub fn is(&self, status: u16, code: &str) -> bool {
        self.status == status && self.code == code
    }

    /// One line for the report.
    pub fn summary(&self) -> String {
        format!("{} {} after {} ms", self.status, self.code, self.took.as_millis())
    }
}

/// Sends once, without signing in again after a 401.
pub async fn send(desktop: &Desktop, call: &Call) -> anyhow::Result<TimedResponse> {
    send_with(desktop, call, &desktop.access_token().await?).await
}

/// Sends once, with this token instead of the desktop's.
pub async fn send_with(
    desktop: &Desktop,
    call: &Call,
    token: &str,
) -> anyhow::Result<TimedResponse> {
    let (begun, url) = (Instant::now(), desktop.url(&call.path)?);
    let proof = desktop.proof(&call.method, &url, token).sign(desktop.key())?;
    let answer = desktop.request(call, token, &proof)?.send().await?;
    let status = answer.status().as_u16();
    let body = answer.json().await.context("a response is JSON")?;
    Ok(TimedResponse::of(status, body, begun.elapsed()))
}

/// The scopes of second factors that drills use.
pub const REFUND_SCOPE: &str = "folio.refund";
pub const REVOKE_SCOPE: &str = "lock.revoke";

/// Steps up at any desktop.
pub async fn step_up_at(
    desktop: &Desktop,
    scope: &str,
    code: &str,
) -> anyhow::Result<TimedResponse> {
    let body = json!({"method": "totp", "code": code, "scope": scope});
    let call = Call { json: Some(body), ..Call::new(Method::POST, "/auth/mfa/step-up") };
    send(desktop, &call).await
}

/// Steps up with a valid code and returns the attestation id.
pub async fn obtain_attestation(env: &DrillEnv, scope: &str) -> anyhow::Result<String> {
    obtain_attestation_at(&env.desktop, scope).await
}

/// Steps up with a valid code at any desktop and returns the attestation id.
pub async fn obtain_attestation_at(desktop: &Desktop, scope: &str) -> anyhow::Result<String> {
    let mut last = String::new();
    for code in desktop.codes()? {
        let answer = step_up_at(desktop, scope, &code).await?;
        if answer.status == 201 {
            let id = answer.body["id"].as_str().context("an attestation has an id")?;
            return Ok(id.to_owned());
        }
        last = answer.summary();
    }
    anyhow::bail!("no code was accepted: {last}")
}
