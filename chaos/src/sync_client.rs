//! Desktops that come back online: handshakes, and pulls from sync-service.
//!
//! Not here: expectations, which are part of the drills.

use std::time::Duration;

use anyhow::Context;
use contracts::clock::Clock;
use contracts::headers::DPOP;
use launcher::desktop::{Call, Desktop};
use reqwest::header::AUTHORIZATION;
use reqwest::{Method, Url};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use crate::drill_env::DrillEnv;
use crate::timed_call::{self, TimedResponse};

/// Handshake route of sync-service.
pub const HANDSHAKE: &str = "POST /api/v1/sync/handshake";
/// Timeout of a handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// Builds the handshake of a desktop that has this cursor version, or none.
pub fn handshake(version: Option<u64>) -> Call {
    let body = version.map_or_else(|| json!({}), |version| json!({"cursorVersion": version}));
    Call { json: Some(body), ..Call::new(Method::POST, "/sync/handshake") }
}

/// Sends a handshake. Without a response, the status is 0.
pub async fn send_handshake(desktop: &Desktop) -> TimedResponse {
    let begun = Instant::now();
    let answer =
        timeout(HANDSHAKE_TIMEOUT, Box::pin(timed_call::send(desktop, &handshake(None)))).await;
    let none = || TimedResponse::of(0, Value::Null, begun.elapsed());
    answer.ok().and_then(Result::ok).unwrap_or_else(none)
}

/// Pulls from sync-service directly, with the token of a handshake and a proof by the desktop's key.
/// Returns the new cursor version.
pub async fn pull(desktop: &Desktop, session: &Value) -> anyhow::Result<u64> {
    let text = |name: &str| session[name].as_str().with_context(|| format!("no {name}"));
    let (token, url) = (text("syncSessionToken")?, Url::parse(text("pullUrl")?)?);
    let proof = desktop.proof(&Method::POST, &url, token).sign(desktop.key())?;
    let request = desktop.http().post(url).header(AUTHORIZATION, format!("DPoP {token}"));
    let answer = request.header(DPOP, proof).send().await?.error_for_status()?;
    answer.json::<Value>().await?["version"].as_u64().context("a pull has a version")
}

/// Reports a pull to the gateway and returns the stored cursor version.
pub async fn report_pull(desktop: &Desktop, version: u64) -> anyhow::Result<Value> {
    let body = Some(json!({"version": version}));
    let call = Call { json: body, ..Call::new(Method::POST, "/sync/cursor") };
    Ok(timed_call::send(desktop, &call).await?.body["cursor"]["version"].clone())
}

/// Reads the desktop's cursor from the gateway.
pub async fn cursor(desktop: &Desktop) -> anyhow::Result<Value> {
    let answer = timed_call::send(desktop, &Call::get("/sync/cursor")).await?;
    anyhow::ensure!(answer.status == 200, "no cursor: {}", answer.summary());
    Ok(answer.body)
}

/// Number of handshakes that sync-service received so far.
pub async fn handshakes_received(env: &DrillEnv) -> anyhow::Result<u64> {
    let url = format!("{}/control/requests?upstream=sync", env.stack.info().stand_ins.url);
    let list: Value = env.http().get(url).send().await?.error_for_status()?.json().await?;
    let routes = list["items"].as_array().context("requests are a list")?;
    let own = routes.iter().filter(|route| route["route"] == HANDSHAKE);
    Ok(own.filter_map(|route| route["count"].as_u64()).sum())
}

/// All desktops of all hotels.
#[derive(Debug)]
pub struct DesktopFleet(Vec<Desktop>);

impl DesktopFleet {
    /// Opens and signs in every desktop.
    pub async fn open(env: &DrillEnv) -> anyhow::Result<Self> {
        let (info, folder) = (env.stack.info(), env.folder.join("desktop"));
        let mut all = Vec::new();
        for operator in &info.operators {
            let desktop = Desktop::open(info, &operator.username, &folder, Clock::system())?;
            // This stack's iam does not accept tokens of an earlier stack.
            desktop.forget_tokens().await?;
            desktop.access_token().await?;
            all.push(desktop);
        }
        Ok(Self(all))
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Sends one handshake after the other.
    pub async fn handshake_in_turn(&self) -> Vec<TimedResponse> {
        let mut answers = Vec::new();
        for desktop in &self.0 {
            answers.push(send_handshake(desktop).await);
        }
        answers
    }
}
