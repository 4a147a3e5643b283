//! Probes that tenants are isolated in every store and cache that is keyed by a tenant (seed F-30): a
//! value is written as one synthetic tenant and read as another, then removed.
//!
//! Not here: when it runs; a scheduler starts it each night.

use std::time::Duration;

use contracts::clock::Clock;
use contracts::env::Env;
use contracts::id::{Id, TenantId};
use jiff::Timestamp;
use metrics::{counter, gauge};
use serde::Serialize;
use service_kit::postgres::{Database, StoreError};

use crate::background::job_lease::{Job, exclusively};
use crate::sessions::revocation::Revocations;
use crate::sessions::session_store::SessionRedis;
use crate::sessions::{Profiles, TenantLookup};

pub mod samples;
mod session_keys;
mod tables;

/// Result of a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::IntoStaticStr, Serialize)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum Outcome {
    Clean,
    /// A tenant read another tenant's value.
    Leak,
    /// A store could not be probed.
    Failed,
}

impl Outcome {
    fn name(self) -> &'static str {
        self.into()
    }
}

/// Result for one store.
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

/// Two tenants that do not exist.
#[derive(Debug, Clone, Copy)]
struct SyntheticTenants {
    one: TenantId,
    other: TenantId,
}

impl SyntheticTenants {
    fn new() -> Self {
        let tenant = |number| TenantId::from_parts(Timestamp::UNIX_EPOCH, number);
        Self { one: tenant(1), other: tenant(2) }
    }
}

const JOB: Job = Job { name: "probe-tenant-isolation", lease: Duration::from_secs(60) };

/// Stores to probe, and what the probe needs.
#[derive(Debug, Clone)]
pub struct IsolationProbe {
    pub database: Database,
    pub session_redis: SessionRedis,
    pub profiles: Profiles,
    pub env: Env,
}

impl IsolationProbe {
    /// Probes every store; `None` while another instance does.
    pub async fn run(&self) -> Result<Option<Vec<Finding>>, StoreError> {
        let work = self.probe_each();
        let result = exclusively(&self.database, &self.env.entropy, JOB, work).await;
        match &result {
            Ok(Some(findings)) => report(findings, &self.env.clock),
            Ok(None) => tracing::info!("Another instance is probing the isolation of tenants."),
            Err(_) => count(Outcome::Failed),
        }
        result
    }

    async fn probe_each(&self) -> Result<Vec<Finding>, StoreError> {
        let tenants = SyntheticTenants::new();
        let mut findings = tables::probe(&self.database, tenants).await?;
        findings.extend(session_keys::probe(&self.session_redis, tenants).await);
        findings.extend(self.in_memory(tenants));
        Ok(findings)
    }

    /// What an instance keeps in memory, through the keys that requests use.
    fn in_memory(&self, tenants: SyntheticTenants) -> [Finding; 2] {
        let (one, other, now) = (tenants.one, tenants.other, self.env.now());
        [
            found("memory: revocations", Revocations::probe(one, other, now)),
            found("memory: operator profiles", self.profiles.probe(one, other)),
        ]
    }
}

/// Builds the finding from whether a value was found by its own tenant, and by another.
fn found(store: &str, lookup: TenantLookup) -> Finding {
    match (lookup.by_own, lookup.by_other) {
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

fn report(findings: &[Finding], clock: &Clock) {
    for finding in findings.iter().filter(|finding| finding.outcome != Outcome::Clean) {
        let (store, reason) = (&finding.store, finding.reason);
        tracing::error!(store, reason, outcome = ?finding.outcome, "Tenants may not be isolated.");
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
