//! A non-supervisor calls a supervisor route of housekeeping directly, with a valid request token, as
//! if the gateway were faulty or its key stolen.

use std::time::Duration;

use anyhow::Context;
use auth::Principal;
use auth::request_token::RequestTokens;
use contracts::clock::{Clock, Entropy};
use contracts::id::{DeviceId, Id, OperatorId};
use contracts::role::{Role, RoleSet};
use launcher::data_dir::DataDir;
use launcher::secrets::signing_key;
use reqwest::Response;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::drill_env::DrillEnv;
use crate::drill_run::{Drill, DrillFuture, DrillRun, EnvAfter};

const SERVICE: &str = "housekeeping";
const METRIC: &str = "housekeeping_auth_role_unexpected_total";
const ALERT: &str = "HousekeepingUnexpectedRole";
const CODE: &str = "MELMASTOON.HOUSEKEEPING.SUPERVISOR_REQUIRED";
const ATTEMPTS: usize = 5;

/// The room's status route, and what is needed to call it as the gateway does.
struct RoomRoute<'a> {
    env: &'a DrillEnv,
    tokens: RequestTokens,
    url: String,
    path: String,
}

pub(super) struct SupervisorRoute;

impl Drill for SupervisorRoute {
    fn leaves(&self) -> EnvAfter {
        EnvAfter::Unchanged
    }

    fn run<'a>(&'a self, run: &'a mut DrillRun) -> DrillFuture<'a> {
        Box::pin(run_drill(run))
    }
}

async fn run_drill(run: &mut DrillRun) -> anyhow::Result<()> {
    let route = RoomRoute::open(&run.env).await?;
    let flipped = route.flip(Role::HousekeepingManager, "out_of_order").await?;
    run.steady("a supervisor changes a room's status", flipped.is_done(), &flipped);

    run.raised_during(&[ALERT], Instant::now(), attempts(run, &route)).await??;
    recover(run, &route).await
}

async fn attempts(run: &DrillRun, route: &RoomRoute<'_>) -> anyhow::Result<()> {
    let (before, counted_before) = (route.state().await?, route.counted().await?);
    let what = "a room attendant calls the supervisor route five times";
    run.inject(what);
    let mut refused = 0;
    for _ in 0..ATTEMPTS {
        let answer = route.flip(Role::Housekeeping, "dirty").await?;
        refused += usize::from(answer.status == 403 && answer.body["code"] == CODE);
    }
    run.user(
        format!("each call gets 403 {CODE}"),
        refused == ATTEMPTS,
        format!("{refused} of {ATTEMPTS}"),
    );
    let after = route.state().await?;
    run.automatic("the room is unchanged", before == after, &after);
    let is_counted = async |_: &DrillEnv| Ok(route.counted().await? - counted_before >= 5.0);
    let counted = run.env.wait_until(METRIC, Duration::from_secs(5), is_counted).await;
    let took = run.detect_within(format!("{METRIC} counts each of them"), counted);
    run.detected_after(took);
    Ok(())
}

async fn recover(run: &DrillRun, route: &RoomRoute<'_>) -> anyhow::Result<()> {
    let before = route.counted().await?;
    let begun = Instant::now();
    let flipped = route.flip(Role::HousekeepingManager, "dirty").await?;
    let took = begun.elapsed();
    let within = flipped.is_done() && took < run.objective;
    run.recover("the supervisor can still change the status", within, &flipped);
    run.recovered_after(Some(took));
    let counted = route.counted().await?;
    let still = (counted - before).abs() < f64::EPSILON;
    run.recover(format!("{METRIC} does not grow"), still, counted);
    Ok(())
}

/// Response of the service.
struct ServiceResponse {
    status: u16,
    body: Value,
}

impl ServiceResponse {
    async fn of(response: Response) -> Self {
        Self { status: response.status().as_u16(), body: response.json().await.unwrap_or_default() }
    }

    fn is_done(&self) -> bool {
        self.status == 200
    }
}

impl std::fmt::Display for ServiceResponse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.status, self.body["code"].as_str().unwrap_or_default())
    }
}

impl<'a> RoomRoute<'a> {
    /// Uses the first room of the operator's property that is not out of order or service.
    async fn open(env: &'a DrillEnv) -> anyhow::Result<Self> {
        let folder = DataDir::open(&env.folder)?;
        let pem = std::fs::read(signing_key(&folder, "request-token")?)?;
        let tokens =
            RequestTokens::new("bff-backoffice", &pem, Clock::system(), Entropy::system())?;
        let url = env.service_url(SERVICE)?;
        let mut route = Self { env, tokens, url, path: String::new() };
        let rooms = format!("/api/v1/housekeeping/rooms/status?propertyId={}", env.property);
        let rooms = route.get(&rooms).await?.body;
        let open = |room: &&Value| !room["status"].as_str().unwrap_or_default().contains("out_of");
        let rooms = rooms["rooms"].as_array().into_iter().flatten();
        let room = rooms.into_iter().find(open).context("the property has no open room")?;
        let room = room["roomId"].as_str().context("a room has an id")?;
        route.path = format!("/api/v1/housekeeping/rooms/{room}/status");
        Ok(route)
    }

    fn metrics_url(&self) -> String {
        format!("{}/metrics", self.url)
    }

    async fn counted(&self) -> anyhow::Result<f64> {
        self.env.counter_at(&self.metrics_url(), METRIC, &[]).await
    }

    async fn state(&self) -> anyhow::Result<String> {
        let body = self.get(&self.path).await?.body;
        Ok(format!("{} v{}", body["status"].as_str().unwrap_or_default(), body["version"]))
    }

    async fn get(&self, path: &str) -> anyhow::Result<ServiceResponse> {
        let token = self.token(Role::Housekeeping)?;
        let request = self.env.http().get(format!("{}{path}", self.url)).bearer_auth(token);
        Ok(ServiceResponse::of(request.send().await?).await)
    }

    async fn flip(&self, role: Role, status: &str) -> anyhow::Result<ServiceResponse> {
        let url = format!("{}{}", self.url, self.path);
        let body = json!({"status": status, "reason": "a drill"});
        let request = self.env.http().post(url).bearer_auth(self.token(role)?).json(&body);
        Ok(ServiceResponse::of(request.send().await?).await)
    }

    /// Signs the request token that the gateway would send for an operator with this role.
    fn token(&self, role: Role) -> anyhow::Result<String> {
        let (clock, entropy) = (Clock::system(), Entropy::system());
        let principal = Principal {
            tenant: self.env.desktop.operator().tenant_id.parse()?,
            operator: OperatorId::generate(&clock, &entropy),
            device: DeviceId::generate(&clock, &entropy),
            session: None,
            roles: RoleSet::of(&[role]),
            properties: vec![self.env.property.parse()?],
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
