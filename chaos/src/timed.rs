//! Requests that are sent once, with the time their answers took: a desk that signs in anew by
//! itself would hide what a sick iam costs it.
//!
//! Not here: what an operator asks for; `desk` makes the calls.

use std::time::Duration;

use anyhow::Context;
use launcher::desktop::{Call, Desktop};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::house::House;

/// An answer as the operator's desktop got it.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    /// Of the problem; empty when it is none.
    pub code: String,
    pub took: Duration,
    pub body: Value,
}

impl Answer {
    /// Of what `Desktop::renew` gives.
    pub fn of((status, body): (u16, Value), took: Duration) -> Self {
        let code = body["code"].as_str().unwrap_or_default().to_owned();
        Self { status, code, took, body }
    }

    /// Whether it is this problem.
    pub fn is(&self, status: u16, code: &str) -> bool {
        self.status == status && self.code == code
    }

    /// For a report.
    pub fn told(&self) -> String {
        format!("{} {} after {} ms", self.status, self.code, self.took.as_millis())
    }
}

/// Sends once and reads: whoever asks for a second factor is not to be signed in anew.
pub async fn send(desktop: &Desktop, call: &Call) -> anyhow::Result<Answer> {
    let begun = Instant::now();
    let (token, url) = (desktop.access_token().await?, desktop.url(&call.path)?);
    let proof = desktop.proof(&call.method, &url, &token).sign(desktop.key())?;
    let answer = desktop.request(call, &token, &proof)?.send().await?;
    let status = answer.status().as_u16();
    let body = answer.json().await.context("an answer is JSON")?;
    Ok(Answer::of((status, body), begun.elapsed()))
}

/// The reservations of today that can be checked in as they are, and their rooms.
pub async fn arriving(house: &House) -> anyhow::Result<Vec<(String, String)>> {
    let call = Call::get(format!("/arrivals?propertyId={}", house.property));
    let body = send(&house.desktop, &call).await?.body;
    let items = body["items"].as_array().context("arrivals have items")?;
    let ready = items.iter().filter(|stay| stay["state"] == "confirmed");
    let text = |value: &Value| value.as_str().map(str::to_owned);
    Ok(ready.filter_map(|it| Some((text(&it["reservationId"])?, text(&it["roomId"])?))).collect())
}

/// Shows this code for refunds.
pub async fn step_up(house: &House, code: &str) -> anyhow::Result<Answer> {
    step_up_at(&house.desktop, code).await
}

/// The same at any desk.
pub async fn step_up_at(desktop: &Desktop, code: &str) -> anyhow::Result<Answer> {
    let body = json!({"method": "totp", "code": code, "scope": "folio.refund"});
    let call = Call { json: Some(body), ..Call::new(Method::POST, "/auth/mfa/step-up") };
    send(desktop, &call).await
}

/// Shows a code that iam takes, and says which attestation came of it.
pub async fn attested(house: &House) -> anyhow::Result<String> {
    let mut told = String::new();
    for code in house.desktop.codes()? {
        let answer = step_up(house, &code).await?;
        if answer.status == 201 {
            let id = answer.body["id"].as_str().context("an attestation has an id")?;
            return Ok(id.to_owned());
        }
        told = answer.told();
    }
    anyhow::bail!("no code was taken: {told}")
}
