//! What an operator does at the desk besides looking: receive a guest, show a second factor, pay
//! money back. And what the platform says became of it.

use std::time::Duration;

use anyhow::Context;
use contracts::clock::Entropy;
use launcher::desktop::{Call, Desktop};
use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::house::House;

/// An answer as the operator's desktop got it.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    /// Of the problem; empty when it is none.
    pub code: String,
    pub retry_after: Option<String>,
    pub took: Duration,
    pub body: Value,
}

impl Answer {
    /// Of what `Desktop::renew` gives.
    pub fn of((status, body): (u16, Value), took: Duration) -> Self {
        let code = body["code"].as_str().unwrap_or_default().to_owned();
        Self { status, code, retry_after: None, took, body }
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
    let after = answer.headers().get(RETRY_AFTER).and_then(|after| after.to_str().ok());
    let (status, retry_after) = (answer.status().as_u16(), after.map(str::to_owned));
    let body = answer.json().await.context("an answer is JSON")?;
    Ok(Answer { retry_after, ..Answer::of((status, body), begun.elapsed()) })
}

/// A change with a key of its own.
pub fn change(path: String, body: Value) -> Call {
    let key = format!("{:032x}", Entropy::system().u128());
    let key = HeaderValue::from_str(&key).expect("hexadecimal");
    let headers = HeaderMap::from_iter([(HeaderName::from_static("idempotency-key"), key)]);
    Call { json: Some(body), headers, ..Call::new(Method::POST, path) }
}

/// Ids of the reservations of today that can be checked in as they are.
pub async fn arriving(house: &House) -> anyhow::Result<Vec<String>> {
    let call = Call::get(format!("/arrivals?propertyId={}", house.property));
    let body = send(&house.desktop, &call).await?.body;
    let items = body["items"].as_array().context("arrivals have items")?;
    let ready =
        items.iter().filter(|stay| stay["state"] == "confirmed" && stay["roomId"] != Value::Null);
    Ok(ready.filter_map(|stay| Some(stay["reservationId"].as_str()?.to_owned())).collect())
}

pub async fn check_in(house: &House, reservation: &str) -> anyhow::Result<Answer> {
    let call = change(format!("/reservations/{reservation}/check-in"), json!({}));
    send(&house.desktop, &call).await
}

/// Shows this code for refunds.
pub async fn step_up(house: &House, code: &str) -> anyhow::Result<Answer> {
    let body = json!({"method": "totp", "code": code, "scope": "folio.refund"});
    let call = Call { json: Some(body), ..Call::new(Method::POST, "/auth/mfa/step-up") };
    send(&house.desktop, &call).await
}

/// Shows a code that iam takes, and says which attestation came of it.
pub async fn attested(house: &House) -> anyhow::Result<HeaderValue> {
    let mut told = String::new();
    for code in house.desktop.codes()? {
        let answer = step_up(house, &code).await?;
        if answer.status == 201 {
            let id = answer.body["id"].as_str().context("an attestation has an id")?;
            return Ok(HeaderValue::from_str(id)?);
        }
        told = answer.told();
    }
    anyhow::bail!("no code was taken: {told}")
}

/// Pays a little back from a folio, with or without an attestation.
pub async fn refund(
    house: &House,
    folio: &Folio,
    attestation: Option<&HeaderValue>,
) -> anyhow::Result<Answer> {
    let amount = json!({"amountMicro": "1000000", "currency": folio.currency});
    let body = json!({"amount": amount, "reason": "a drill"});
    let mut call = change(format!("/folios/{}/refunds", folio.id), body);
    if let Some(attestation) = attestation {
        call.headers.insert("x-mfa-attestation", attestation.clone());
    }
    send(&house.desktop, &call).await
}

/// A folio something was paid on.
#[derive(Debug)]
pub struct Folio {
    pub id: String,
    currency: String,
}

pub async fn paid_folio(house: &House) -> anyhow::Result<Folio> {
    let url = &house.stack.info().stand_ins.url;
    let url = format!("{url}/demo/folios?propertyId={}", house.property);
    let body: Value = house.http().get(url).send().await?.json().await?;
    let micro = |folio: &Value| folio["paid"]["amountMicro"].as_str()?.parse::<i64>().ok();
    let folios = body["items"].as_array().context("there are folios")?;
    let paid = folios.iter().find(|folio| micro(folio).is_some_and(|paid| paid >= 10_000_000));
    let paid = paid.context("nobody has paid anything")?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Ok(Folio { id: text(&paid["folioId"]), currency: text(&paid["paid"]["currency"]) })
}

/// How often an upstream did this, by its own account; to `subject` alone where one is named.
pub async fn effects(
    house: &House,
    (upstream, action): (&str, &str),
    subject: Option<&str>,
) -> anyhow::Result<usize> {
    let url = format!("{}/control/effects?upstream={upstream}", house.stack.info().stand_ins.url);
    let body: Value = house.http().get(url).send().await?.json().await?;
    let all = body["items"].as_array().context("effects have items")?;
    let done = all.iter().filter(|effect| effect["action"] == action);
    Ok(done.filter(|effect| subject.is_none_or(|subject| effect["subject"] == subject)).count())
}
