//! Requests of the cases, correct and wrong ones.

use anyhow::Context;
use contracts::clock::{Clock, Entropy};
use contracts::headers::DEVICE_ID;
use contracts::id::{DeviceId, Id, PropertyId};
use launcher::desktop::{Call, DeviceKey, Proof};
use reqwest::Method;
use serde_json::json;

use super::Expected;
use crate::client::{self, ApiResponse, Arrival, Refundable};
use crate::drill_env::DrillEnv;
use crate::durable_records;
use crate::lock_fixture::{self, LockFixture};
use crate::minted_token::Mint;

/// A request to the gateway, or a query of its effects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Probe {
    Session,
    Dashboard,
    /// Arrivals of a day that is not cached.
    Arrivals,
    Stream,
    /// Checks in the case's reservation, always with the case's idempotency key.
    CheckIn,
    CheckIns,
    /// Outcomes in the operator activity for the case's idempotency key.
    Activity,
    /// With its own step-up.
    Refund,
    RefundWithoutFactor,
    /// With another idempotency key and the attestation of an earlier refund.
    RefundWithUsedFactor,
    /// Issues a key for the case's lock, always with the case's idempotency key.
    IssueKey,
    KeysMade,
    /// Phases in the lock audit log for the case's idempotency key.
    LockRows,
    /// Without an Authorization header.
    Unsigned,
    /// The same to an unknown route.
    UnsignedNowhere,
    WithoutProof,
    ProofOfOtherKey,
    ProofOfOtherMethod,
    /// Valid except that it expired a minute ago.
    ExpiredToken,
    OtherDevice,
    OtherProperty,
    /// Readiness: the status and the checks that are down.
    Readiness,
}

impl Probe {
    pub(super) fn sentence(self) -> &'static str {
        match self {
            Self::Session => "the session",
            Self::Dashboard => "a dashboard",
            Self::Arrivals => "the arrivals of an uncached day",
            Self::Stream => "a stream",
            Self::CheckIn => "a check-in, with one idempotency key",
            Self::CheckIns => "executed check-ins",
            Self::Activity => "its rows in the operator activity",
            Self::Refund => "a refund with a second factor",
            Self::RefundWithoutFactor => "a refund without a second factor",
            Self::RefundWithUsedFactor => "a refund with a used second factor",
            Self::IssueKey => "a room key, with one idempotency key",
            Self::KeysMade => "issued room keys",
            Self::LockRows => "its lock audit rows",
            Self::Unsigned => "a request without Authorization",
            Self::UnsignedNowhere => "the same to a route that does not exist",
            Self::WithoutProof => "a request without a proof",
            Self::ProofOfOtherKey => "a proof of another key",
            Self::ProofOfOtherMethod => "a proof for another method",
            Self::ExpiredToken => "a token that expired a minute ago",
            Self::OtherDevice => "a token from another device",
            Self::OtherProperty => "another property's dashboard",
            Self::Readiness => "readiness",
        }
    }
}

/// Resources that the requests of a case use.
#[derive(Debug)]
pub(super) struct ProbeContext {
    key: String,
    /// A date in the far future.
    day: String,
    arrival: Option<Arrival>,
    folio: Refundable,
    lock: Option<LockFixture>,
}

impl ProbeContext {
    /// Chooses the resources before the failure.
    pub(super) async fn prepare(
        probes: &[(Probe, Expected)],
        env: &DrillEnv,
    ) -> anyhow::Result<Self> {
        let checks_in = probes.iter().any(|(probe, _)| *probe == Probe::CheckIn);
        let arrival = if checks_in { Arrival::all(env).await?.into_iter().next() } else { None };
        let issues = probes.iter().any(|(probe, _)| *probe == Probe::IssueKey);
        let lock = if issues { Some(used_lock(env).await?) } else { None };
        let folio = Refundable::find(env).await?;
        Ok(Self { key: client::new_key(), day: some_day(), arrival, folio, lock })
    }

    pub(super) async fn probe(&self, probe: Probe, env: &DrillEnv) -> anyhow::Result<ApiResponse> {
        let desktop = &env.desktop;
        match probe {
            Probe::Session => client::send(desktop, &Call::get("/session")).await,
            Probe::Dashboard => client::send(desktop, &dashboard(&env.property)).await,
            Probe::OtherProperty => {
                let other = PropertyId::generate(&Clock::system(), &Entropy::system());
                client::send(desktop, &dashboard(other.as_str())).await
            }
            Probe::Arrivals => {
                let call = Call::get(format!("{}&date={}", arrivals(env).path, self.day));
                client::send(desktop, &call).await
            }
            Probe::Stream => {
                client::send(desktop, &Call { within: None, ..Call::get("/sse/stream") }).await
            }
            Probe::CheckIn => client::send(desktop, &self.arrival()?.check_in(&self.key)?).await,
            Probe::CheckIns => {
                let subject = &self.arrival()?.reservation;
                let action = "reservation.checked_in";
                let count = client::effects(env, "reservation", action, subject).await?;
                Ok(ApiResponse { status: 200, body: json!(count), ..ApiResponse::default() })
            }
            Probe::Activity => {
                let outcomes = durable_records::activity(env, &self.key).await?;
                Ok(ApiResponse { status: 200, body: json!(outcomes), ..ApiResponse::default() })
            }
            Probe::Refund | Probe::RefundWithoutFactor | Probe::RefundWithUsedFactor => {
                self.refund(probe, env).await
            }
            Probe::IssueKey | Probe::KeysMade | Probe::LockRows => self.at_lock(probe, env).await,
            Probe::Unsigned | Probe::UnsignedNowhere => send_unsigned(probe, env).await,
            Probe::Readiness => readiness(env).await,
            _ => send_wrong(probe, env).await,
        }
    }

    fn arrival(&self) -> anyhow::Result<&Arrival> {
        self.arrival.as_ref().context("the case has no arrival")
    }

    async fn at_lock(&self, probe: Probe, env: &DrillEnv) -> anyhow::Result<ApiResponse> {
        let lock = self.lock.as_ref().context("the case has no lock")?;
        let response = |body| ApiResponse { status: 200, body, ..ApiResponse::default() };
        Ok(match probe {
            Probe::KeysMade => response(json!(lock_fixture::keys_issued(env, &self.key).await?)),
            Probe::LockRows => {
                response(json!(lock_fixture::phases_of_key(env, &self.key).await?.join(" ")))
            }
            _ => client::send(&env.desktop, &lock.issue(&self.key)?).await?,
        })
    }

    async fn refund(&self, probe: Probe, env: &DrillEnv) -> anyhow::Result<ApiResponse> {
        let desktop = &env.desktop;
        if probe == Probe::RefundWithoutFactor {
            return client::send(desktop, &self.folio.refund(&client::new_key(), None)?).await;
        }
        let shown = client::step_up(env).await?;
        let Some(attestation) = shown.body["id"].as_str() else { return Ok(shown) };
        let refund = || self.folio.refund(&client::new_key(), Some(attestation));
        let first = client::send(desktop, &refund()?).await?;
        if probe == Probe::Refund || first.status != 201 {
            return Ok(first);
        }
        client::send(desktop, &refund()?).await
    }
}

fn dashboard(property: &str) -> Call {
    Call::get(format!("/dashboard?propertyId={property}"))
}

fn arrivals(env: &DrillEnv) -> Call {
    Call::get(format!("/arrivals?propertyId={}", env.property))
}

/// A random date, so that it is not cached.
fn some_day() -> String {
    let draw = |count: u128| Entropy::system().u128() % count;
    format!("{}-{:02}-{:02}", 2100 + draw(7900), 1 + draw(12), 1 + draw(28))
}

/// Finds a lock and issues one key, so that the gateway knows the lock's location.
async fn used_lock(env: &DrillEnv) -> anyhow::Result<LockFixture> {
    let lock = LockFixture::find(env).await?;
    let issued = client::send(&env.desktop, &lock.issue(&client::new_key())?).await?;
    anyhow::ensure!(issued.status == 201, "no key was issued: {issued}");
    Ok(lock)
}

async fn send_unsigned(probe: Probe, env: &DrillEnv) -> anyhow::Result<ApiResponse> {
    let path = if probe == Probe::Unsigned { "/session" } else { "/no-such-route" };
    let desktop = &env.desktop;
    let request = desktop.http().get(desktop.url(path)?);
    let request = request.header(DEVICE_ID, &desktop.operator().device_id);
    Ok(ApiResponse::of(request.send().await?).await)
}

/// Sends a request with one wrong credential.
async fn send_wrong(probe: Probe, env: &DrillEnv) -> anyhow::Result<ApiResponse> {
    let (desktop, mut call) = (&env.desktop, Call::get("/session"));
    let (mut token, url) = (desktop.access_token().await?, desktop.url("/session")?);
    if probe == Probe::ExpiredToken {
        token = Mint::of(env)?.ending_in(&token, -60)?;
    }
    if probe == Probe::OtherDevice {
        let other = DeviceId::generate(&Clock::system(), &Entropy::system());
        client::set(&mut call, DEVICE_ID, other.as_str())?;
    }
    let method = if probe == Probe::ProofOfOtherMethod { Method::POST } else { Method::GET };
    let proof: Proof = desktop.proof(&method, &url, &token);
    let proof = if probe == Probe::ProofOfOtherKey {
        proof.sign(&DeviceKey::generate()?)?
    } else {
        proof.sign(desktop.key())?
    };
    let request = desktop.request(&call, &token, &proof)?;
    let mut request = request.build()?;
    if probe == Probe::WithoutProof {
        request.headers_mut().remove(contracts::headers::DPOP);
    }
    Ok(ApiResponse::of(desktop.http().execute(request).await?).await)
}

async fn readiness(env: &DrillEnv) -> anyhow::Result<ApiResponse> {
    let (status, down) = env.readiness(&env.stack.info().gateway).await?;
    Ok(ApiResponse { status, body: json!({"code": down.join(", ")}), ..ApiResponse::default() })
}
