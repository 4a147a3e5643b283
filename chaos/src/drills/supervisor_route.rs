//! Somebody who is no supervisor calls a route for supervisors at housekeeping, past the gateway,
//! with a request token that is good: a gateway that gives too much away, or its stolen key.

use std::time::Duration;

use anyhow::Context;
use auth::Principal;
use auth::request_token::RequestTokens;
use contracts::clock::{Clock, Entropy};
use contracts::id::{DeviceId, Id, OperatorId};
use contracts::role::{Role, RoleSet};
use launcher::folder::DataFolder;
use launcher::secrets::signing_key;
use reqwest::Response;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::sleep;

use super::Form;
use crate::alerts;
use crate::house::House;
use crate::observations::{Observations, Step};

const SERVICE: &str = "housekeeping";
const METRIC: &str = "housekeeping_auth_role_unexpected_total";
const ALERT: &str = "HousekeepingUnexpectedRole";
const CODE: &str = "MELMASTOON.HOUSEKEEPING.SUPERVISOR_REQUIRED";
const ATTEMPTS: usize = 5;
/// So that promtool sees the counter as it was before, at one sample a second.
const BEFORE: Duration = Duration::from_secs(3);

/// The room, and how to speak to the service as the gateway does.
struct Scene<'a> {
    house: &'a House,
    tokens: RequestTokens,
    url: String,
    path: String,
}

pub(super) async fn run(
    form: Form,
    objective: Duration,
    house: &mut House,
    seen: &mut Observations,
) -> anyhow::Result<()> {
    let scene = Scene::set(house).await?;
    let flipped = scene.flip(Role::HousekeepingManager, "out_of_order").await?;
    seen.expect(Step::Steady, "a supervisor flips a room", flipped.is_done(), &flipped);
    let counted = scene.counted().await?;
    seen.expect(
        Step::Steady,
        format!("{METRIC} stands still"),
        counted.abs() < f64::EPSILON,
        counted,
    );

    let (done, until) = watch::channel(false);
    let attempting = async {
        if form == Form::Full {
            sleep(BEFORE).await;
        }
        let tried = attempts(&scene, seen).await;
        if form == Form::Full {
            sleep(BEFORE).await;
        }
        done.send_replace(true);
        tried
    };
    let sampling = alerts::sample(house.http(), scene.metrics_url(), until);
    let (tried, samples) = tokio::join!(attempting, sampling);
    tried?;
    if form == Form::Full {
        let fired = alerts::firing(ALERT, &samples?, &House::folder("drills")).await;
        seen.took(Step::Detection, format!("{ALERT} fires on the exported metrics"), fired);
    }
    recover(&scene, objective, seen).await
}

async fn attempts(scene: &Scene<'_>, seen: &mut Observations) -> anyhow::Result<()> {
    let before = scene.state().await?;
    let what = "somebody of the cleaning staff calls the route for supervisors, five times";
    seen.expect(Step::Fault, what, true, "done");
    let mut refused = 0;
    for _ in 0..ATTEMPTS {
        let answer = scene.flip(Role::Housekeeping, "dirty").await?;
        refused += usize::from(answer.status == 403 && answer.body["code"] == CODE);
    }
    seen.expect(
        Step::User,
        format!("each call gets 403 {CODE}"),
        refused == ATTEMPTS,
        format!("{refused} of {ATTEMPTS}"),
    );
    let after = scene.state().await?;
    seen.expect(Step::Automatic, "the room is as it was", before == after, &after);
    let counted = scene
        .house
        .until(METRIC, Duration::from_secs(5), async |_| Ok(scene.counted().await? >= 5.0))
        .await;
    let took = seen.took(Step::Detection, format!("{METRIC} counts each of them"), counted);
    seen.detected_after(took);
    Ok(())
}

async fn recover(
    scene: &Scene<'_>,
    objective: Duration,
    seen: &mut Observations,
) -> anyhow::Result<()> {
    let before = scene.counted().await?;
    let begun = tokio::time::Instant::now();
    let flipped = scene.flip(Role::HousekeepingManager, "dirty").await?;
    let took = begun.elapsed();
    let within = flipped.is_done() && took < objective;
    seen.expect(Step::Recovery, "the supervisor goes on as before", within, &flipped);
    seen.recovered_after(Some(took));
    let counted = scene.counted().await?;
    let still = (counted - before).abs() < f64::EPSILON;
    seen.expect(Step::Recovery, format!("{METRIC} stands still again"), still, counted);
    Ok(())
}

/// An answer of the service.
struct Answer {
    status: u16,
    body: Value,
}

impl Answer {
    async fn of(response: Response) -> Self {
        Self { status: response.status().as_u16(), body: response.json().await.unwrap_or_default() }
    }

    fn is_done(&self) -> bool {
        self.status == 200
    }
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.status, self.body["code"].as_str().unwrap_or_default())
    }
}

impl<'a> Scene<'a> {
    /// With the first room of the manager's property, which is not closed.
    async fn set(house: &'a House) -> anyhow::Result<Self> {
        let folder = DataFolder::open(&house.folder)?;
        let pem = std::fs::read(signing_key(&folder, "request-token")?)?;
        let tokens =
            RequestTokens::new("bff-backoffice", &pem, Clock::system(), Entropy::system())?;
        let url = house.service_url(SERVICE)?;
        let mut scene = Self { house, tokens, url, path: String::new() };
        let rooms = format!("/api/v1/housekeeping/rooms/status?propertyId={}", house.property);
        let rooms = scene.get(&rooms).await?.body;
        let open = |room: &&Value| !room["status"].as_str().unwrap_or_default().contains("out_of");
        let rooms = rooms["rooms"].as_array().into_iter().flatten();
        let room = rooms.into_iter().find(open).context("the property has no open room")?;
        let room = room["roomId"].as_str().context("a room has an id")?;
        scene.path = format!("/api/v1/housekeeping/rooms/{room}/status");
        Ok(scene)
    }

    fn metrics_url(&self) -> String {
        format!("{}/metrics", self.url)
    }

    async fn counted(&self) -> anyhow::Result<f64> {
        self.house.metric_from(&self.metrics_url(), METRIC, &[]).await
    }

    async fn state(&self) -> anyhow::Result<String> {
        let body = self.get(&self.path).await?.body;
        Ok(format!("{} v{}", body["status"].as_str().unwrap_or_default(), body["version"]))
    }

    async fn get(&self, path: &str) -> anyhow::Result<Answer> {
        let token = self.token(Role::Housekeeping)?;
        let request = self.house.http().get(format!("{}{path}", self.url)).bearer_auth(token);
        Ok(Answer::of(request.send().await?).await)
    }

    async fn flip(&self, role: Role, status: &str) -> anyhow::Result<Answer> {
        let url = format!("{}{}", self.url, self.path);
        let body = json!({"status": status, "reason": "a drill"});
        let request = self.house.http().post(url).bearer_auth(self.token(role)?).json(&body);
        Ok(Answer::of(request.send().await?).await)
    }

    /// What the gateway would sign for an operator of this role.
    fn token(&self, role: Role) -> anyhow::Result<String> {
        let (clock, entropy) = (Clock::system(), Entropy::system());
        let principal = Principal {
            tenant: self.house.desktop.operator().tenant_id.parse()?,
            operator: OperatorId::generate(&clock, &entropy),
            device: DeviceId::generate(&clock, &entropy),
            session: None,
            roles: RoleSet::of(&[role]),
            properties: vec![self.house.property.parse()?],
            issued_at: clock.now(),
            expires_at: clock.now(),
            thumbprint: None,
            token_digest: {
                let (one, other) = (entropy.u128().to_be_bytes(), entropy.u128().to_be_bytes());
                let mut digest = [0; 32];
                digest[..16].copy_from_slice(&one);
                digest[16..].copy_from_slice(&other);
                digest
            },
        };
        Ok(self.tokens.token_for(&principal, SERVICE).to_string())
    }
}
