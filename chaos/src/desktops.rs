//! Desktops that come back online: their handshakes, alone and all at once, and what sync-service has
//! to do with them.
//!
//! Not here: whether that is right; drills say that.

use std::time::Duration;

use anyhow::Context;
use contracts::clock::Clock;
use contracts::headers::DPOP;
use futures_util::future::join_all;
use launcher::desktop::{Call, Desktop};
use reqwest::header::AUTHORIZATION;
use reqwest::{Method, Url};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use crate::house::House;
use crate::timed::{self, Answer};

/// The route of sync-service.
pub const HANDSHAKE: &str = "POST /api/v1/sync/handshake";
/// A desktop that was not answered by then gives up.
const PATIENCE: Duration = Duration::from_secs(5);

/// A handshake of a desktop that has this version, or nothing.
pub fn handshake(version: Option<u64>) -> Call {
    let body = version.map_or_else(|| json!({}), |version| json!({"cursorVersion": version}));
    Call { json: Some(body), ..Call::new(Method::POST, "/sync/handshake") }
}

/// Its answer, or one without a status.
pub async fn shake(desktop: &Desktop) -> Answer {
    let begun = Instant::now();
    let answer = timeout(PATIENCE, Box::pin(timed::send(desktop, &handshake(None)))).await;
    let none = || Answer::of((0, Value::Null), begun.elapsed());
    answer.ok().and_then(Result::ok).unwrap_or_else(none)
}

/// Pulls from sync-service, past the gateway, with the token of a handshake and a proof by the
/// desktop's own key. The version it then has.
pub async fn pull(desktop: &Desktop, session: &Value) -> anyhow::Result<u64> {
    let text = |name: &str| session[name].as_str().with_context(|| format!("no {name}"));
    let (token, url) = (text("syncSessionToken")?, Url::parse(text("pullUrl")?)?);
    let proof = desktop.proof(&Method::POST, &url, token).sign(desktop.key())?;
    let request = desktop.http().post(url).header(AUTHORIZATION, format!("DPoP {token}"));
    let answer = request.header(DPOP, proof).send().await?.error_for_status()?;
    answer.json::<Value>().await?["version"].as_u64().context("a pull has a version")
}

/// Tells the gateway of a pull; where the cursor then stands.
pub async fn tell(desktop: &Desktop, version: u64) -> anyhow::Result<Value> {
    let body = Some(json!({"version": version}));
    let call = Call { json: body, ..Call::new(Method::POST, "/sync/cursor") };
    Ok(timed::send(desktop, &call).await?.body["cursor"]["version"].clone())
}

/// What the gateway says of the desktop's cursor.
pub async fn cursor(desktop: &Desktop) -> anyhow::Result<Value> {
    let answer = timed::send(desktop, &Call::get("/sync/cursor")).await?;
    anyhow::ensure!(answer.status == 200, "no cursor: {}", answer.told());
    Ok(answer.body)
}

/// How many handshakes reached sync-service so far.
pub async fn reached(house: &House) -> anyhow::Result<u64> {
    let url = format!("{}/control/requests?upstream=sync", house.stack.info().stand_ins.url);
    let list: Value = house.http().get(url).send().await?.error_for_status()?.json().await?;
    let routes = list["items"].as_array().context("requests are a list")?;
    let own = routes.iter().filter(|route| route["route"] == HANDSHAKE);
    Ok(own.filter_map(|route| route["count"].as_u64()).sum())
}

/// Every desktop of every hotel.
#[derive(Debug)]
pub struct Fleet(Vec<Desktop>);

impl Fleet {
    /// All signed in.
    pub async fn open(house: &House) -> anyhow::Result<Self> {
        let (info, folder) = (house.stack.info(), house.folder.join("desktop"));
        let mut all = Vec::new();
        for operator in &info.operators {
            let desktop = Desktop::open(info, &operator.username, &folder, Clock::system())?;
            // A token of an earlier stack is worth nothing to this one's iam.
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

    /// One after the other.
    pub async fn shake_in_turn(&self) -> Vec<Answer> {
        let mut answers = Vec::new();
        for desktop in &self.0 {
            answers.push(shake(desktop).await);
        }
        answers
    }

    /// All shake hands at once.
    pub async fn shake(&self) -> Vec<Answer> {
        join_all(self.0.iter().map(shake)).await
    }
}
