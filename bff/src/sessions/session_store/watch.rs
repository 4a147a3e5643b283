//! Probes the session store every few seconds: memory use (F-41), failover (F-19), and whether a
//! used proof is refused by this instance and by another (F-28).
//!
//! Blocked replays are counted where they are refused, but an accepted replay looks like a fresh
//! proof. So the gateway replays proofs of its own.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use auth::edge::{Authenticator, ReplayStore};
use auth::replay::{ProofUse, ReplayKey};
use contracts::clock::{Clock, Entropy};
use metrics::{counter, gauge};
use redis::aio::ConnectionManager;
use serde::Serialize;
use service_kit::background::{BackgroundTask, Schedule};

use super::{ping, server_info};

pub(crate) const PROBE: Schedule = Schedule::every(Duration::from_secs(5));
/// Replays accepted in a row before the probe reports it; a single late response of the store looks
/// the same.
const REPLAYS_TO_CONFIRM: u32 = 3;

/// Outcome of a replayed proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, strum::IntoStaticStr)]
#[serde(rename_all = "lowercase")]
#[strum(const_into_str, serialize_all = "lowercase")]
enum ReplayOutcome {
    Refused,
    Accepted,
    /// The store is unavailable or was late: instances cannot know each other's proofs.
    Unknown,
}

/// Result of the last replay probe. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct ReplayCheck(Arc<AtomicBool>);

impl ReplayCheck {
    /// An error while this instance accepts used proofs: it must get no traffic.
    pub(crate) fn result(&self) -> Result<(), String> {
        if self.0.load(Ordering::Relaxed) {
            return Err("a used proof was accepted again".to_owned());
        }
        Ok(())
    }
}

/// What a probe found.
#[derive(Debug, Serialize)]
pub(crate) struct Probed {
    replay: ReplayOutcome,
}

/// Probes the session store.
#[derive(derive_more::Debug)]
#[debug("SessionStoreProbe")]
pub(crate) struct SessionStoreProbe {
    own: Arc<Authenticator>,
    /// Acts as another instance: shares only the store with this one.
    other_instance: ReplayStore,
    redis: ConnectionManager,
    clock: Clock,
    entropy: Entropy,
    check: ReplayCheck,
    /// The run id that the server reported last.
    run_id: Option<String>,
}

impl BackgroundTask for SessionStoreProbe {
    type Status = Probed;
    type Error = Infallible;

    async fn activate(&mut self) -> Result<Probed, Infallible> {
        self.check_server().await;
        Ok(Probed { replay: self.check_replay().await })
    }
}

impl SessionStoreProbe {
    pub(crate) fn new(own: Arc<Authenticator>, redis: ConnectionManager, entropy: Entropy) -> Self {
        let other_instance = ReplayStore::new(Some(redis.clone()), own.verifier.proofs.span());
        let (clock, check) = (own.clock.clone(), ReplayCheck::default());
        Self { own, other_instance, redis, clock, entropy, check, run_id: None }
    }

    pub(crate) fn check(&self) -> ReplayCheck {
        self.check.clone()
    }

    async fn check_server(&mut self) {
        let Some(info) = server_info(self.redis.clone()).await else { return };
        if let Some(share) = info.memory_used {
            gauge!("bff_backoffice_session_tier_memory_ratio").set(share);
        }
        if self.run_id.as_ref().is_some_and(|before| *before != info.run_id) {
            counter!("bff_backoffice_session_tier_failover_total").increment(1);
            tracing::warn!("The session store failed over or restarted.");
        }
        self.run_id = Some(info.run_id);
    }

    async fn check_replay(&self) -> ReplayOutcome {
        let outcome = self.probe().await;
        counter!("bff_backoffice_dpop_replay_probe_total", "outcome" => outcome.into_str())
            .increment(1);
        if outcome == ReplayOutcome::Accepted {
            tracing::error!("A used proof was accepted again; remove this instance from traffic.");
        }
        self.check.0.store(outcome == ReplayOutcome::Accepted, Ordering::Relaxed);
        outcome
    }

    async fn probe(&self) -> ReplayOutcome {
        for _ in 0..REPLAYS_TO_CONFIRM {
            let outcome = self.replay_once().await;
            if outcome != ReplayOutcome::Accepted {
                return outcome;
            }
        }
        ReplayOutcome::Accepted
    }

    /// Uses a synthetic proof, then again here and as another instance.
    async fn replay_once(&self) -> ReplayOutcome {
        let now = self.clock.now();
        let key = ReplayKey::of("probe", &format!("{:032x}", self.entropy.u128()));
        let proof = ProofUse { key, acceptable_until: now };
        if !self.own.replays.first_use(proof, now).await {
            return ReplayOutcome::Unknown;
        }
        let again = self.own.replays.first_use(proof, now).await
            || self.other_instance.first_use(proof, now).await;
        match again {
            false => ReplayOutcome::Refused,
            true if ping(self.redis.clone()).await.is_err() => ReplayOutcome::Unknown,
            true => ReplayOutcome::Accepted,
        }
    }
}
