//! Probes that tenants are isolated in every table, in the session store, in the instance's memory of
//! revocations, operator profiles and cached upstream responses, and in the cache store (seed F-30): a
//! value is written as one synthetic tenant and read as another, then removed.
//!
//! Not here: when the probe runs; a scheduler starts it each night.

use std::time::Duration;

use composer::Snapshots;
use composer::snapshots::FoundBy;
use contracts::clock::Clock;
use contracts::env::Env;
use contracts::id::{Id, TenantId};
use jiff::Timestamp;
use metrics::{counter, gauge};
use serde::Serialize;
use service_kit::background::BackgroundTask;
use service_kit::postgres::{Database, StoreError};
use service_kit::problem::chain;

use crate::background::job::Job;
use crate::sessions::Profiles;
use crate::sessions::revocation::Revocations;
use crate::sessions::session_store::SessionRedis;

pub(crate) mod samples;
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
    /// A store could not be probed, so nothing is known of it.
    Failed,
}

/// Result for one store.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Finding {
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

/// Result for all stores.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Probed {
    /// The worst of them.
    pub outcome: Outcome,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    stores: Vec<Finding>,
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

/// Stores to probe, and what the probe needs.
#[derive(Debug, Clone)]
pub(crate) struct IsolationProbe {
    pub database: Database,
    pub session_redis: SessionRedis,
    pub profiles: Profiles,
    pub snapshots: Snapshots,
    pub env: Env,
}

impl Job for IsolationProbe {
    const NAME: &'static str = "probe-tenant-isolation";
    const LEASE: Option<Duration> = Some(Duration::from_secs(60));
}

impl BackgroundTask for IsolationProbe {
    /// Any outcome is a result; the alert fires on the metric.
    type Status = Probed;
    type Error = StoreError;

    async fn activate(&mut self) -> Result<Probed, StoreError> {
        let stores = self.probe_each().await;
        let outcome = report(&stores, &self.env.clock);
        Ok(Probed { outcome, stores })
    }
}

impl IsolationProbe {
    /// Probes every store, also after one failed.
    async fn probe_each(&self) -> Vec<Finding> {
        let (tenants, mut findings) = (SyntheticTenants::new(), Vec::new());
        if let Err(error) = tables::probe(&self.database, tenants, &mut findings).await {
            tracing::warn!(error = %chain(&error), "Failed to probe the database's tables.");
            findings.push(Finding::failed("postgres", "a statement failed"));
        }
        findings.extend(session_keys::probe(&self.session_redis, tenants).await);
        findings.extend(self.in_memory(tenants));
        findings.extend(self.in_cache_store(tenants).await);
        findings
    }

    /// Cached upstream responses in the store that all instances share. Nothing without one.
    async fn in_cache_store(&self, tenants: SyntheticTenants) -> Option<Finding> {
        let store = "cache tier: upstream responses";
        match self.snapshots.probe_cache_store(tenants.one, tenants.other).await? {
            Ok(by) => Some(found(store, by)),
            Err(error) => {
                tracing::warn!(%error, "Failed to probe the cache store.");
                Some(Finding::failed(store, "the cache tier could not be asked"))
            }
        }
    }

    /// What an instance keeps in memory, through the keys that requests use.
    fn in_memory(&self, tenants: SyntheticTenants) -> [Finding; 3] {
        let (one, other, now) = (tenants.one, tenants.other, self.env.now());
        [
            found("memory: revocations", Revocations::probe(one, other, now)),
            found("memory: operator profiles", self.profiles.probe(one, other)),
            found("memory: upstream responses", self.snapshots.probe_memory(one, other)),
        ]
    }
}

/// Builds the finding from whether a value was found by its own tenant, and by another.
fn found(store: &str, by: FoundBy) -> Finding {
    match (by.own, by.other) {
        (_, true) => Finding::leak(store, "another tenant found it under the same id"),
        (true, false) => Finding::clean(store),
        (false, false) => {
            Finding::failed(store, "what was written was not found by its own tenant")
        }
    }
}

/// A leak is worse than a failure.
fn worst(findings: &[Finding]) -> Outcome {
    let is_any = |outcome| findings.iter().any(|finding| finding.outcome == outcome);
    match (is_any(Outcome::Leak), is_any(Outcome::Failed)) {
        (true, _) => Outcome::Leak,
        (_, true) => Outcome::Failed,
        _ => Outcome::Clean,
    }
}

/// Counts a probe by its outcome, also one that could not begin.
pub(crate) fn count(outcome: Outcome) {
    let label: &'static str = outcome.into();
    counter!("bff_backoffice_tenant_isolation_probe_total", "outcome" => label).increment(1);
}

fn report(findings: &[Finding], clock: &Clock) -> Outcome {
    for Finding { store, outcome, reason } in findings {
        match outcome {
            Outcome::Clean => {}
            Outcome::Leak => tracing::error!(store, reason, "Tenants are not isolated."),
            Outcome::Failed => {
                tracing::warn!(store, reason, "The isolation of tenants could not be checked.");
            }
        }
    }
    let outcome = worst(findings);
    count(outcome);
    if outcome == Outcome::Clean {
        gauge!("bff_backoffice_tenant_isolation_probe_last_success_timestamp_seconds")
            .set(clock.unix_seconds() as f64);
    }
    outcome
}
