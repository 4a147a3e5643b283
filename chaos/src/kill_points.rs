//! Kills the gateway with SIGKILL at a chosen point of a lock action, from outside: a stand-in holds
//! its response, or a lock in the gateway's database holds the gateway's statement.
//!
//! Not here: expectations, which are part of the drills.

use std::time::Duration;

use anyhow::{Context, ensure};
use launcher::desktop::Call;
use launcher::servers::GATEWAY;
use serde_json::{Value, json};

use crate::client;
use crate::drill_env::DrillEnv;
use crate::gateway_database::{GatewayDatabase, HeldClaims};
use crate::lock_fixture::LockFixture;

const ISSUE_ROUTE: &str = "POST /api/v1/locks/{id}/keys";
/// Time for the gateway to reach a point.
const REACHED_WITHIN: Duration = Duration::from_secs(5);
/// How long lock-integration takes where the gateway must not settle at once. Shorter than the
/// gateway's limit of a call, 1.2 s.
const SLOW_MS: u64 = 800;

/// The points, in the order of the gateway's work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KillPoint {
    /// The statement that claims the key waits.
    BeforeClaim,
    /// The key is claimed; lock-integration has the request and has done nothing.
    AfterClaim,
    /// lock-integration has issued the key; its response is on its way.
    AfterEffect,
    /// The gateway has the response; the statement that stores it waits.
    BeforeStore,
    /// The response is stored, and the caller has disconnected without it.
    AfterStore,
}

impl KillPoint {
    pub const ALL: [Self; 5] = [
        Self::BeforeClaim,
        Self::AfterClaim,
        Self::AfterEffect,
        Self::BeforeStore,
        Self::AfterStore,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::BeforeClaim => "before the claim",
            Self::AfterClaim => "after the claim",
            Self::AfterEffect => "after the upstream's effect",
            Self::BeforeStore => "before the response is stored",
            Self::AfterStore => "after the response is stored",
        }
    }

    /// What the gateway leaves in its database.
    fn claim_left(self) -> &'static str {
        match self {
            Self::BeforeClaim => "none",
            Self::AfterClaim | Self::AfterEffect | Self::BeforeStore => "claimed",
            Self::AfterStore => "completed",
        }
    }

    fn effects_left(self) -> usize {
        match self {
            Self::BeforeClaim | Self::AfterClaim => 0,
            Self::AfterEffect | Self::BeforeStore | Self::AfterStore => 1,
        }
    }
}

/// A request for a key under its own idempotency key.
#[derive(Debug)]
pub struct KeyRequest<'a> {
    pub env: &'a DrillEnv,
    pub lock: &'a LockFixture,
    pub key: &'a str,
}

impl KeyRequest<'_> {
    /// Sends the request and kills the gateway at this point of it. Fails if the gateway died at
    /// another one.
    pub async fn kill_at(&self, point: KillPoint) -> anyhow::Result<()> {
        let (env, database) = (self.env, GatewayDatabase::connect(self.env).await?);
        let before = keys_issued(env).await?;
        let held = match point {
            KillPoint::BeforeClaim => Some(HeldClaims::take(env).await?),
            _ => None,
        };
        if let Some(fault) = held_response(point) {
            env.add_fault(&fault).await?;
        }
        let reached = Reached {
            request: self,
            database: &database,
            keys_before: before,
            requests_before: requests_received(env).await?,
        };
        let sending = self.send(point, &database);
        let killing = async {
            let held = reached.wait(point, held).await?;
            env.stack.process(GATEWAY)?.kill().await?;
            match held {
                Some(held) => held.release().await,
                None => Ok(()),
            }
        };
        let (sent, killed) = tokio::join!(sending, killing);
        env.clear_faults().await?;
        sent.and(killed)?;
        let (claim, effects) =
            (database.claim_state(self.key).await?, keys_issued(env).await? - before);
        ensure!(
            claim == point.claim_left() && effects == point.effects_left(),
            "the gateway did not die {}: its claim is {claim}, and {effects} keys were issued",
            point.name()
        );
        Ok(())
    }

    /// Sends the request, which the gateway's end ends. At the last point the caller disconnects first.
    async fn send(&self, point: KillPoint, database: &GatewayDatabase) -> anyhow::Result<()> {
        let call: Call = self.lock.issue(self.key)?;
        let responding = client::send(&self.env.desktop, &call);
        if point != KillPoint::AfterStore {
            // The connection ends without a response.
            drop(responding.await);
            return Ok(());
        }
        tokio::select! {
            response = responding => anyhow::bail!("a response before the disconnect: {response:?}"),
            claimed = until_claim_is(self, database, "claimed") => claimed,
        }
    }
}

/// Waits for the points of one request.
struct Reached<'a> {
    request: &'a KeyRequest<'a>,
    database: &'a GatewayDatabase,
    keys_before: usize,
    requests_before: u64,
}

impl Reached<'_> {
    /// Returns the lock that holds the gateway's statement, if one does.
    async fn wait(
        &self,
        point: KillPoint,
        held: Option<HeldClaims>,
    ) -> anyhow::Result<Option<HeldClaims>> {
        let Self { request, database, .. } = self;
        let env = request.env;
        match point {
            KillPoint::BeforeClaim => {
                let held = held.context("the claims are held")?;
                held.until_waited_for(env).await?;
                Ok(Some(held))
            }
            KillPoint::AfterClaim => {
                let before = self.requests_before;
                let is_there = async |env: &DrillEnv| Ok(requests_received(env).await? > before);
                env.wait_until("the request", REACHED_WITHIN, is_there).await.map(|_| None)
            }
            KillPoint::AfterEffect => self.until_issued().await.map(|()| None),
            KillPoint::BeforeStore => {
                until_claim_is(request, database, "claimed").await?;
                let held = HeldClaims::take(env).await?;
                self.until_issued().await?;
                held.until_waited_for(env).await?;
                Ok(Some(held))
            }
            KillPoint::AfterStore => {
                until_claim_is(request, database, "completed").await.map(|()| None)
            }
        }
    }

    async fn until_issued(&self) -> anyhow::Result<()> {
        let is_issued = async |env: &DrillEnv| Ok(keys_issued(env).await? > self.keys_before);
        self.request.env.wait_until("the key", REACHED_WITHIN, is_issued).await.map(drop)
    }
}

async fn until_claim_is(
    request: &KeyRequest<'_>,
    database: &GatewayDatabase,
    state: &str,
) -> anyhow::Result<()> {
    let is_so = async |_: &DrillEnv| Ok(database.claim_state(request.key).await? == state);
    let what = format!("a claim in the state {state}");
    request.env.wait_until(&what, REACHED_WITHIN, is_so).await.map(drop)
}

/// How lock-integration holds its response, so that the gateway is at the point when it is killed.
fn held_response(point: KillPoint) -> Option<Value> {
    let fault = |kind: &str| json!({"upstream": "lock", "route": ISSUE_ROUTE, "kind": kind});
    match point {
        KillPoint::BeforeClaim => None,
        KillPoint::AfterClaim => Some(fault("hang")),
        KillPoint::AfterEffect => Some(fault("drip")),
        KillPoint::BeforeStore | KillPoint::AfterStore => {
            let mut slow = fault("latency");
            slow["ms"] = SLOW_MS.into();
            Some(slow)
        }
    }
}

/// Number of keys that lock-integration has issued so far, under any idempotency key.
pub async fn keys_issued(env: &DrillEnv) -> anyhow::Result<usize> {
    let issued = items(env, "effects").await?;
    Ok(issued.iter().filter(|effect| effect["action"] == "key.issued").count())
}

/// Number of requests for a key that lock-integration has received so far.
async fn requests_received(env: &DrillEnv) -> anyhow::Result<u64> {
    let routes = items(env, "requests").await?;
    let own = routes.iter().filter(|route| route["route"] == ISSUE_ROUTE);
    Ok(own.filter_map(|route| route["count"].as_u64()).sum())
}

async fn items(env: &DrillEnv, list: &str) -> anyhow::Result<Vec<Value>> {
    let url = format!("{}/control/{list}?upstream=lock", env.stack.info().stand_ins.url);
    let list: Value = env.http().get(url).send().await?.error_for_status()?.json().await?;
    list["items"].as_array().cloned().context("the stand-ins return a list")
}
