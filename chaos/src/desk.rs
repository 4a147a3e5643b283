//! What an operator does at a desk, and how it is answered: reads, changes and second factors.
//!
//! Not here: whether the answer is right; drills say that.

use anyhow::Context;
use contracts::clock::Clock;
use contracts::headers::{IDEMPOTENCY_KEY, IDEMPOTENCY_REPLAYED, MFA_ATTESTATION};
use launcher::desktop::{Call, Desktop};
use launcher::secrets::random_hex;
use reqwest::header::{HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Method, Response};
use serde_json::{Value, json};
use stand_ins::totp;

use crate::house::House;

/// A code counts in its own period and the two beside it, and once.
const PERIODS: [i64; 3] = [0, 1, -1];

/// What the gateway answered.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    pub status: u16,
    /// `Null` for a stream.
    pub body: Value,
    pub retry_after: bool,
    /// Whether it is the stored answer of an earlier request.
    pub replayed: bool,
}

impl Answer {
    pub async fn of(response: Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers());
        let retry_after = headers.contains_key(RETRY_AFTER);
        let replayed = headers.contains_key(IDEMPOTENCY_REPLAYED);
        let is_stream = headers.get("content-type").is_some_and(|kind| kind == "text/event-stream");
        let body = if is_stream { Value::Null } else { response.json().await.unwrap_or_default() };
        Self { status, body, retry_after, replayed }
    }

    pub fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let partial = if self.body["partial"] == true { "partial" } else { self.code() };
        write!(f, "{} {partial}", self.status)
    }
}

pub async fn send(desktop: &Desktop, call: &Call) -> anyhow::Result<Answer> {
    Ok(Answer::of(Box::pin(desktop.send(call)).await?).await)
}

/// A new idempotency key.
pub fn new_key() -> String {
    random_hex(16)
}

/// A POST under an idempotency key.
pub fn change(path: String, key: &str, json: Value) -> anyhow::Result<Call> {
    let mut call = Call { json: Some(json), ..Call::new(Method::POST, path) };
    set(&mut call, IDEMPOTENCY_KEY, key)?;
    Ok(call)
}

pub fn set(call: &mut Call, name: &'static str, value: &str) -> anyhow::Result<()> {
    call.headers.insert(HeaderName::from_static(name), HeaderValue::from_str(value)?);
    Ok(())
}

/// The check-in of a reservation into a room.
pub fn check_in(reservation: &str, room: &str, key: &str) -> anyhow::Result<Call> {
    change(format!("/reservations/{reservation}/check-in"), key, json!({"roomId": room}))
}

/// A folio and the smallest sum that can be paid back on it.
#[derive(Debug, Clone)]
pub struct Refundable {
    pub folio: String,
    amount: Value,
}

impl Refundable {
    /// The first folio of the operator's property that has been paid.
    pub async fn find(house: &House) -> anyhow::Result<Self> {
        let url = format!("{}/demo/folios", house.stack.info().stand_ins.url);
        let request = house.http().get(url).query(&[("propertyId", &house.property)]);
        let list: Value = request.send().await?.error_for_status()?.json().await?;
        let paid = |folio: &&Value| {
            folio["paid"]["amountMicro"].as_str().is_some_and(|sum| sum.len() > "1000000".len())
        };
        let folio = list["items"].as_array().into_iter().flatten().find(paid);
        let folio = folio.context("no folio of the property has been paid")?;
        let id = folio["folioId"].as_str().context("a folio has an id")?.to_owned();
        let amount = json!({"amountMicro": "1000000", "currency": folio["paid"]["currency"]});
        Ok(Self { folio: id, amount })
    }

    /// One unit of the currency paid back.
    pub fn refund(&self, key: &str, attestation: Option<&str>) -> anyhow::Result<Call> {
        let body = json!({"amount": self.amount, "reason": "a drill"});
        let mut call = change(format!("/folios/{}/refunds", self.folio), key, body)?;
        if let Some(attestation) = attestation {
            set(&mut call, MFA_ATTESTATION, attestation)?;
        }
        Ok(call)
    }

    /// How often billing paid something back on it.
    pub async fn paid_back(&self, house: &House) -> anyhow::Result<usize> {
        effects(house, "billing", "folio.refunded", &self.folio).await
    }
}

/// How often an upstream really did this to that.
pub async fn effects(
    house: &House,
    upstream: &str,
    action: &str,
    subject: &str,
) -> anyhow::Result<usize> {
    let url = format!("{}/control/effects?upstream={upstream}", house.stack.info().stand_ins.url);
    let list: Value = house.http().get(url).send().await?.error_for_status()?.json().await?;
    let done = list["items"].as_array().context("effects are a list")?;
    Ok(done.iter().filter(|it| it["action"] == action && it["subject"] == subject).count())
}

/// Shows the second factor for a refund. The answer's `id` is the attestation.
pub async fn step_up(house: &House) -> anyhow::Result<Answer> {
    let (secret, mut last) = (&house.desktop.operator().totp_secret, Answer::default());
    for period in PERIODS {
        let code = totp::code(secret, totp::step(Clock::system().now()) + period)?;
        let body = json!({"method": "totp", "code": code, "scope": "folio.refund"});
        let call = Call { json: Some(body), ..Call::new(Method::POST, "/auth/mfa/step-up") };
        last = send(&house.desktop, &call).await?;
        if last.status == 201 {
            break;
        }
    }
    Ok(last)
}
