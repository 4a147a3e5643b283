//! The requests of the leaves, right and wrong.

use anyhow::Context;
use auth::jwt::decoded;
use contracts::clock::{Clock, Entropy};
use contracts::headers::DEVICE_ID;
use contracts::id::{DeviceId, Id, PropertyId};
use launcher::desktop::{Call, DeviceKey, Proof};
use launcher::folder::DataFolder;
use launcher::secrets::signing_key;
use reqwest::Method;
use serde_json::{Value, json};

use super::Want;
use crate::desk::{self, Answer, Refundable};
use crate::doors::{self, Door};
use crate::house::House;

/// A request of the operator, or of somebody in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    Session,
    Dashboard,
    /// Of a day that nobody has looked at: nothing is known of it.
    Arrivals,
    Stream,
    /// The leaf's reservation, always under the leaf's key.
    CheckIn,
    CheckIns,
    /// After a step-up of its own.
    Refund,
    RefundWithoutFactor,
    /// Under another key, with the attestation of a refund before it.
    RefundWithUsedFactor,
    /// A key of the leaf's door, always under the leaf's key.
    IssueKey,
    KeysMade,
    /// What the ledger of lock actions says of the leaf's key.
    LockRows,
    /// Without an Authorization header.
    Unsigned,
    /// The same where there is no route at all.
    UnsignedNowhere,
    WithoutProof,
    ProofOfOtherKey,
    ProofOfOtherMethod,
    /// Good but for its end, which was a minute ago.
    ExpiredToken,
    OtherDevice,
    OtherProperty,
    /// Readiness: its status, and the checks that are down.
    Readiness,
}

impl Ask {
    pub(super) fn sentence(self) -> &'static str {
        match self {
            Self::Session => "the session",
            Self::Dashboard => "a dashboard",
            Self::Arrivals => "the arrivals of a day that nobody looked at",
            Self::Stream => "a stream",
            Self::CheckIn => "a check-in, under one key",
            Self::CheckIns => "check-ins that really happened",
            Self::Refund => "a refund with a second factor",
            Self::RefundWithoutFactor => "a refund without a second factor",
            Self::RefundWithUsedFactor => "a refund with a used second factor",
            Self::IssueKey => "a key for a door, under one key",
            Self::KeysMade => "keys that were really made",
            Self::LockRows => "its rows in the ledger",
            Self::Unsigned => "a request without Authorization",
            Self::UnsignedNowhere => "the same to a route that does not exist",
            Self::WithoutProof => "a request without a proof",
            Self::ProofOfOtherKey => "a proof of another key",
            Self::ProofOfOtherMethod => "a proof for another method",
            Self::ExpiredToken => "a token that ended a minute ago",
            Self::OtherDevice => "a token at another device",
            Self::OtherProperty => "another property's dashboard",
            Self::Readiness => "readiness",
        }
    }
}

/// What the requests of a leaf are about.
#[derive(Debug)]
pub(super) struct Scene {
    key: String,
    /// Far from today.
    day: String,
    /// Its id, and the room it gets.
    reservation: Option<(String, String)>,
    folio: Refundable,
    door: Option<Door>,
}

impl Scene {
    /// Chosen before anything fails.
    pub(super) async fn set(asks: &[(Ask, Want)], house: &House) -> anyhow::Result<Self> {
        let checks_in = asks.iter().any(|(ask, _)| *ask == Ask::CheckIn);
        let reservation = if checks_in { Some(arriving(house).await?) } else { None };
        let issues = asks.iter().any(|(ask, _)| *ask == Ask::IssueKey);
        let door = if issues { Some(used_door(house).await?) } else { None };
        let folio = Refundable::find(house).await?;
        Ok(Self { key: desk::new_key(), day: some_day(), reservation, folio, door })
    }

    pub(super) async fn ask(&self, ask: Ask, house: &House) -> anyhow::Result<Answer> {
        let desktop = &house.desktop;
        match ask {
            Ask::Session => desk::send(desktop, &Call::get("/session")).await,
            Ask::Dashboard => desk::send(desktop, &dashboard(&house.property)).await,
            Ask::OtherProperty => {
                let other = PropertyId::generate(&Clock::system(), &Entropy::system());
                desk::send(desktop, &dashboard(other.as_str())).await
            }
            Ask::Arrivals => {
                let call = Call::get(format!("{}&date={}", arrivals(house).path, self.day));
                desk::send(desktop, &call).await
            }
            Ask::Stream => {
                desk::send(desktop, &Call { within: None, ..Call::get("/sse/stream") }).await
            }
            Ask::CheckIn => {
                let (reservation, room) = self.reservation()?;
                desk::send(desktop, &desk::check_in(reservation, room, &self.key)?).await
            }
            Ask::CheckIns => {
                let (subject, _) = self.reservation()?;
                let action = "reservation.checked_in";
                let count = desk::effects(house, "reservation", action, subject).await?;
                Ok(Answer { status: 200, body: json!(count), ..Answer::default() })
            }
            Ask::Refund | Ask::RefundWithoutFactor | Ask::RefundWithUsedFactor => {
                self.refund(ask, house).await
            }
            Ask::IssueKey | Ask::KeysMade | Ask::LockRows => self.at_door(ask, house).await,
            Ask::Unsigned | Ask::UnsignedNowhere => unsigned(ask, house).await,
            Ask::Readiness => readiness(house).await,
            _ => wrong(ask, house).await,
        }
    }

    fn reservation(&self) -> anyhow::Result<&(String, String)> {
        self.reservation.as_ref().context("the leaf checks nobody in")
    }

    async fn at_door(&self, ask: Ask, house: &House) -> anyhow::Result<Answer> {
        let door = self.door.as_ref().context("the leaf makes no key")?;
        let told = |body| Answer { status: 200, body, ..Answer::default() };
        Ok(match ask {
            Ask::KeysMade => told(json!(doors::made(house, &self.key).await?)),
            Ask::LockRows => told(json!(doors::phases(house, &self.key).await?.join(" "))),
            _ => desk::send(&house.desktop, &door.issue(&self.key)?).await?,
        })
    }

    async fn refund(&self, ask: Ask, house: &House) -> anyhow::Result<Answer> {
        let desktop = &house.desktop;
        if ask == Ask::RefundWithoutFactor {
            return desk::send(desktop, &self.folio.refund(&desk::new_key(), None)?).await;
        }
        let shown = desk::step_up(house).await?;
        let Some(attestation) = shown.body["id"].as_str() else { return Ok(shown) };
        let refund = || self.folio.refund(&desk::new_key(), Some(attestation));
        let first = desk::send(desktop, &refund()?).await?;
        if ask == Ask::Refund || first.status != 201 {
            return Ok(first);
        }
        desk::send(desktop, &refund()?).await
    }
}

fn dashboard(property: &str) -> Call {
    Call::get(format!("/dashboard?propertyId={property}"))
}

fn arrivals(house: &House) -> Call {
    Call::get(format!("/arrivals?propertyId={}", house.property))
}

/// One of three million.
fn some_day() -> String {
    let draw = |count: u128| Entropy::system().u128() % count;
    format!("{}-{:02}-{:02}", 2100 + draw(7900), 1 + draw(12), 1 + draw(28))
}

/// A guest of today who is not in the house yet, and a room: the guest's own, or any in use.
async fn arriving(house: &House) -> anyhow::Result<(String, String)> {
    let list = desk::send(&house.desktop, &arrivals(house)).await?;
    let stays = || list.body["items"].as_array().into_iter().flatten();
    let stay = stays().find(|stay| stay["state"] == "confirmed");
    let stay =
        stay.with_context(|| format!("nobody arrives any more: {list} {}", stays().count()))?;
    let room = std::iter::once(stay).chain(stays()).find_map(|stay| stay["roomId"].as_str());
    let id = stay["reservationId"].as_str().context("a stay has an id")?;
    Ok((id.to_owned(), room.context("no stay has a room")?.to_owned()))
}

/// A door whose lock was used before, so that the ledger knows where it is.
async fn used_door(house: &House) -> anyhow::Result<Door> {
    let door = Door::find(house).await?;
    let issued = desk::send(&house.desktop, &door.issue(&desk::new_key())?).await?;
    anyhow::ensure!(issued.status == 201, "no key was made: {issued}");
    Ok(door)
}

async fn unsigned(ask: Ask, house: &House) -> anyhow::Result<Answer> {
    let path = if ask == Ask::Unsigned { "/session" } else { "/no-such-route" };
    let desktop = &house.desktop;
    let request = desktop.http().get(desktop.url(path)?);
    let request = request.header(DEVICE_ID, &desktop.operator().device_id);
    Ok(Answer::of(request.send().await?).await)
}

/// Credentials of which one thing is wrong.
async fn wrong(ask: Ask, house: &House) -> anyhow::Result<Answer> {
    let (desktop, mut call) = (&house.desktop, Call::get("/session"));
    let (mut token, url) = (desktop.access_token().await?, desktop.url("/session")?);
    if ask == Ask::ExpiredToken {
        token = expired(&token, house)?;
    }
    if ask == Ask::OtherDevice {
        let other = DeviceId::generate(&Clock::system(), &Entropy::system());
        desk::set(&mut call, DEVICE_ID, other.as_str())?;
    }
    let method = if ask == Ask::ProofOfOtherMethod { Method::POST } else { Method::GET };
    let proof: Proof = desktop.proof(&method, &url, &token);
    let proof = if ask == Ask::ProofOfOtherKey {
        proof.sign(&DeviceKey::generate()?)?
    } else {
        proof.sign(desktop.key())?
    };
    let request = desktop.request(&call, &token, &proof)?;
    let mut request = request.build()?;
    if ask == Ask::WithoutProof {
        request.headers_mut().remove(contracts::headers::DPOP);
    }
    Ok(Answer::of(desktop.http().execute(request).await?).await)
}

/// The same token as iam would have signed it a quarter of an hour and a minute ago.
fn expired(token: &str, house: &House) -> anyhow::Result<String> {
    let mut parts = token.split('.').map(|part| {
        let bytes = decoded(part).context("a token is base64url")?;
        anyhow::Ok(serde_json::from_slice::<Value>(&bytes)?)
    });
    let header = parts.next().context("a token has a header")??;
    let mut claims = parts.next().context("a token has claims")??;
    let ended = Clock::system().unix_seconds() - 60;
    (claims["iat"], claims["exp"]) = (json!(ended - 15 * 60), json!(ended));
    let pem = std::fs::read(signing_key(&DataFolder::open(&house.folder)?, "iam")?)?;
    DeviceKey::from_pem(&pem)?.sign(&header, &claims)
}

async fn readiness(house: &House) -> anyhow::Result<Answer> {
    let (status, down) = house.readiness(&house.stack.info().gateway).await?;
    Ok(Answer { status, body: json!({"code": down.join(", ")}), ..Answer::default() })
}
