//! Requests of an operator: reads, changes and second factors.
//!
//! Not here: expectations, which are part of the drills.

use anyhow::Context;
use contracts::clock::Clock;
use contracts::headers::{IDEMPOTENCY_KEY, IDEMPOTENCY_REPLAYED, MFA_ATTESTATION};
use launcher::desktop::{Call, Desktop};
use launcher::secrets::random_hex;
use reqwest::header::{HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Method, Response};
use serde_json::{Value, json};
use stand_ins::totp;

use crate::drill_env::DrillEnv;

/// Offsets of the TOTP periods whose code iam accepts.
const TOTP_PERIODS: [i64; 3] = [0, 1, -1];

/// Response of the gateway.
#[derive(Debug, Clone, Default)]
pub struct ApiResponse {
    pub status: u16,
    /// `Null` for a stream.
    pub body: Value,
    pub retry_after: bool,
    /// Whether it is the stored response of an earlier request.
    pub replayed: bool,
}

impl ApiResponse {
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

impl std::fmt::Display for ApiResponse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let partial = if self.body["partial"] == true { "partial" } else { self.code() };
        write!(f, "{} {partial}", self.status)
    }
}

pub async fn send(desktop: &Desktop, call: &Call) -> anyhow::Result<ApiResponse> {
    Ok(ApiResponse::of(Box::pin(desktop.send(call)).await?).await)
}

/// Returns a new idempotency key.
pub fn new_key() -> String {
    random_hex(16)
}

/// Builds a POST with an idempotency key.
pub fn change(path: String, key: &str, json: Value) -> anyhow::Result<Call> {
    let mut call = Call { json: Some(json), ..Call::new(Method::POST, path) };
    set(&mut call, IDEMPOTENCY_KEY, key)?;
    Ok(call)
}

pub fn set(call: &mut Call, name: &'static str, value: &str) -> anyhow::Result<()> {
    call.headers.insert(HeaderName::from_static(name), HeaderValue::from_str(value)?);
    Ok(())
}

/// A reservation of today that can be checked in.
#[derive(Debug, Clone)]
pub struct Arrival {
    pub reservation: String,
    /// Its own, or, if none is assigned, another reservation's.
    pub room: String,
}

impl Arrival {
    /// Finds all of the operator's property. Fails if none is left.
    pub async fn all(env: &DrillEnv) -> anyhow::Result<Vec<Self>> {
        let list = Call::get(format!("/arrivals?propertyId={}", env.property));
        let list = send(&env.desktop, &list).await?;
        let stays = || list.body["items"].as_array().into_iter().flatten();
        let any_room = stays().find_map(|stay| stay["roomId"].as_str());
        let confirmed = stays().filter(|stay| stay["state"] == "confirmed");
        let arrivals: Vec<_> = confirmed
            .filter_map(|stay| {
                let reservation = stay["reservationId"].as_str()?.to_owned();
                let room = stay["roomId"].as_str().or(any_room)?.to_owned();
                Some(Self { reservation, room })
            })
            .collect();
        let count = stays().count();
        anyhow::ensure!(
            !arrivals.is_empty(),
            "no arrival is left to check in: {list}, {count} items"
        );
        Ok(arrivals)
    }

    pub fn check_in(&self, key: &str) -> anyhow::Result<Call> {
        let path = format!("/reservations/{}/check-in", self.reservation);
        change(path, key, json!({"roomId": self.room}))
    }
}

/// A folio and the amount to refund on it.
#[derive(Debug, Clone)]
pub struct Refundable {
    pub folio: String,
    amount: Value,
}

impl Refundable {
    /// Finds the first paid folio of the operator's property.
    pub async fn find(env: &DrillEnv) -> anyhow::Result<Self> {
        Self::find_at(env, &env.property).await
    }

    /// Finds the first paid folio of any property.
    pub async fn find_at(env: &DrillEnv, property: &str) -> anyhow::Result<Self> {
        let url = format!("{}/demo/folios", env.stack.info().stand_ins.url);
        let request = env.http().get(url).query(&[("propertyId", property)]);
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

    /// Builds a refund of one currency unit.
    pub fn refund(&self, key: &str, attestation: Option<&str>) -> anyhow::Result<Call> {
        let body = json!({"amount": self.amount, "reason": "a drill"});
        let mut call = change(format!("/folios/{}/refunds", self.folio), key, body)?;
        if let Some(attestation) = attestation {
            set(&mut call, MFA_ATTESTATION, attestation)?;
        }
        Ok(call)
    }

    /// Counts the refunds that billing made on this folio.
    pub async fn paid_back(&self, env: &DrillEnv) -> anyhow::Result<usize> {
        effects(env, "billing", "folio.refunded", &self.folio).await
    }
}

/// Counts how often an upstream executed `action` on `subject`.
pub async fn effects(
    env: &DrillEnv,
    upstream: &str,
    action: &str,
    subject: &str,
) -> anyhow::Result<usize> {
    let url = format!("{}/control/effects?upstream={upstream}", env.stack.info().stand_ins.url);
    let list: Value = env.http().get(url).send().await?.error_for_status()?.json().await?;
    let done = list["items"].as_array().context("effects are a list")?;
    Ok(done
        .iter()
        .filter(|effect| effect["action"] == action && effect["subject"] == subject)
        .count())
}

/// Steps up with a second factor for refunds. The response's `id` is the attestation.
pub async fn step_up(env: &DrillEnv) -> anyhow::Result<ApiResponse> {
    let (secret, mut last) = (&env.desktop.operator().totp_secret, ApiResponse::default());
    for period in TOTP_PERIODS {
        let code = totp::code(secret, totp::step(Clock::system().now()) + period)?;
        let body = json!({"method": "totp", "code": code, "scope": "folio.refund"});
        let call = Call { json: Some(body), ..Call::new(Method::POST, "/auth/mfa/step-up") };
        last = send(&env.desktop, &call).await?;
        if last.status == 201 {
            break;
        }
    }
    Ok(last)
}
