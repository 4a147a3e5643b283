//! Whether what is one tenant's stays its own, asked of every store and cache that is keyed by a
//! tenant (seed F-30): something is written as one synthetic tenant and looked for as another.
//! Nothing of it stays.
//!
//! Not here: when it runs; a scheduler asks for it each night.

use std::time::Duration;

use contracts::clock::Clock;
use contracts::id::{Id, TenantId};
use jiff::Timestamp;
use metrics::{counter, gauge};
use serde::Serialize;
use service_kit::postgres::StoreError;

use crate::job_lease::{Job, exclusively};
use crate::revocation::Revocations;
use crate::state::Gateway;

pub mod samples;
mod tables;
mod tier;

/// What came of one probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    Clean,
    /// A tenant saw what is another's.
    Leak,
    /// Something could not be asked, so nothing is proven.
    Failed,
}

impl Outcome {
    fn name(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Leak => "leak",
            Self::Failed => "failed",
        }
    }
}

/// What one store said.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    pub store: String,
    pub outcome: Outcome,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
}

impl Finding {
    fn clean(store: &str) -> Self {
        Self { store: store.to_owned(), outcome: Outcome::Clean, reason: None }
    }

    fn leak(store: &str, reason: &'static str) -> Self {
        Self { store: store.to_owned(), outcome: Outcome::Leak, reason: Some(reason) }
    }

    fn failed(store: &str, reason: &'static str) -> Self {
        Self { store: store.to_owned(), outcome: Outcome::Failed, reason: Some(reason) }
    }
}

/// Two tenants that are nobody.
#[derive(Debug, Clone, Copy)]
struct Nobody {
    one: TenantId,
    other: TenantId,
}

impl Nobody {
    fn new() -> Self {
        let tenant = |number| TenantId::from_parts(Timestamp::UNIX_EPOCH, number);
        Self { one: tenant(1), other: tenant(2) }
    }
}

const JOB: Job = Job { name: "probe-tenant-isolation", lease: Duration::from_secs(60) };

/// Asks everything; `None` when another instance is at it.
pub async fn run(gateway: &Gateway) -> Result<Option<Vec<Finding>>, StoreError> {
    let asked = ask_all(gateway).await;
    match &asked {
        Ok(Some(findings)) => note(findings, &gateway.clock),
        Ok(None) => tracing::info!("Another instance is probing the isolation of tenants."),
        Err(_) => count(Outcome::Failed),
    }
    asked
}

async fn ask_all(gateway: &Gateway) -> Result<Option<Vec<Finding>>, StoreError> {
    exclusively(&gateway.database, &gateway.entropy, JOB, ask_each(gateway)).await
}

async fn ask_each(gateway: &Gateway) -> Result<Vec<Finding>, StoreError> {
    let nobody = Nobody::new();
    let mut findings = tables::probe(&gateway.database, nobody).await?;
    findings.extend(tier::probe(&gateway.session_tier, nobody).await);
    findings.extend(in_memory(gateway, nobody));
    Ok(findings)
}

/// What an instance keeps in memory, through the keys it is really kept under.
fn in_memory(gateway: &Gateway, nobody: Nobody) -> [Finding; 2] {
    let (one, other, now) = (nobody.one, nobody.other, gateway.clock.now());
    [
        found("memory: revocations", Revocations::probe(one, other, now)),
        found("memory: operator profiles", gateway.profiles.probe(one, other)),
    ]
}

/// Whether what was written is found by its own tenant, and whether by another.
fn found(store: &str, (by_own, by_other): (bool, bool)) -> Finding {
    match (by_own, by_other) {
        (_, true) => Finding::leak(store, "another tenant found it under the same id"),
        (true, false) => Finding::clean(store),
        (false, false) => {
            Finding::failed(store, "what was written was not found by its own tenant")
        }
    }
}

/// A leak is worse than a failure.
pub fn worst(findings: &[Finding]) -> Outcome {
    let is_any = |outcome| findings.iter().any(|finding| finding.outcome == outcome);
    match (is_any(Outcome::Leak), is_any(Outcome::Failed)) {
        (true, _) => Outcome::Leak,
        (_, true) => Outcome::Failed,
        _ => Outcome::Clean,
    }
}

fn note(findings: &[Finding], clock: &Clock) {
    for finding in findings.iter().filter(|finding| finding.outcome != Outcome::Clean) {
        let (store, reason) = (&finding.store, finding.reason);
        tracing::error!(store, reason, outcome = ?finding.outcome, "Tenants may not be apart.");
    }
    let outcome = worst(findings);
    count(outcome);
    if outcome == Outcome::Clean {
        gauge!("bff_backoffice_tenant_isolation_probe_last_success_timestamp_seconds")
            .set(clock.unix_seconds() as f64);
    }
}

fn count(outcome: Outcome) {
    counter!("bff_backoffice_tenant_isolation_probe_total", "outcome" => outcome.name())
        .increment(1);
}
