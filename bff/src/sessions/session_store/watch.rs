//! What the gateway asks its session tier by itself every few seconds: how full it is (F-41),
//! whether it is still the same server (F-19), and whether a proof that was used is refused,
//! here and where another instance would ask (F-28).
//!
//! Blocked replays are counted where they are refused; one that got through is in no counter,
//! because whoever let it in took it for fresh. So the gateway replays proofs of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use auth::edge::{Authenticator, ReplayStore};
use auth::replay::{ProofUse, ReplayKey};
use contracts::clock::{Clock, Entropy};
use metrics::{counter, gauge};
use redis::aio::ConnectionManager;
use tokio::time::{MissedTickBehavior, interval};

use super::{condition, ping};

const EVERY: Duration = Duration::from_secs(5);
/// An acceptance is believed when this many proofs in a row were accepted again: one answer of
/// the tier that came too late looks the same.
const CERTAIN: u32 = 3;

/// What became of a used proof that was sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Refused,
    Accepted,
    /// The tier is away or was late: instances cannot know of each other's proofs.
    Unknown,
}

impl Outcome {
    fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Accepted => "accepted",
            Self::Unknown => "unknown",
        }
    }
}

/// Whether used proofs are refused, as far as the last probe says. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct ReplayCheck(Arc<AtomicBool>);

impl ReplayCheck {
    /// An error while this instance lets used proofs in: it must get no traffic.
    pub fn holds(&self) -> Result<(), String> {
        if self.0.load(Ordering::Relaxed) {
            return Err("a proof that was used is accepted again".to_owned());
        }
        Ok(())
    }
}

/// Asks the tier; runs until it is dropped.
pub struct Watch {
    own: Arc<Authenticator>,
    /// As another instance: it shares the tier with us and nothing else.
    elsewhere: ReplayStore,
    tier: ConnectionManager,
    clock: Clock,
    entropy: Entropy,
    check: ReplayCheck,
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}

impl Watch {
    pub fn new(own: Arc<Authenticator>, tier: ConnectionManager, entropy: Entropy) -> Self {
        let elsewhere = ReplayStore::new(Some(tier.clone()), own.verifier.proofs.span());
        let (clock, check) = (own.clock.clone(), ReplayCheck::default());
        Self { own, elsewhere, tier, clock, entropy, check }
    }

    pub fn check(&self) -> ReplayCheck {
        self.check.clone()
    }

    pub async fn run(self) {
        let (mut tick, mut server) = (interval(EVERY), None);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            self.look(&mut server).await;
            self.replay().await;
        }
    }

    /// `server`: the run id of the last look.
    async fn look(&self, server: &mut Option<String>) {
        let Some(now) = condition(self.tier.clone()).await else { return };
        if let Some(share) = now.memory_used {
            gauge!("bff_backoffice_session_tier_memory_ratio").set(share);
        }
        if server.as_ref().is_some_and(|before| *before != now.run_id) {
            counter!("bff_backoffice_session_tier_failover_total").increment(1);
            tracing::warn!("Another server answers as the session tier than before.");
        }
        *server = Some(now.run_id);
    }

    /// One probe of the replay check.
    pub async fn replay(&self) {
        let outcome = self.probe().await;
        counter!("bff_backoffice_dpop_replay_probe_total", "outcome" => outcome.name())
            .increment(1);
        if outcome == Outcome::Accepted {
            tracing::error!("A proof that was used is accepted again: take this instance out.");
        }
        self.check.0.store(outcome == Outcome::Accepted, Ordering::Relaxed);
    }

    async fn probe(&self) -> Outcome {
        for _ in 0..CERTAIN {
            let outcome = self.replay_one().await;
            if outcome != Outcome::Accepted {
                return outcome;
            }
        }
        Outcome::Accepted
    }

    /// Uses a proof nobody made, then again here, then where another instance would ask.
    async fn replay_one(&self) -> Outcome {
        let now = self.clock.now();
        let key = ReplayKey::of("probe", &format!("{:032x}", self.entropy.u128()));
        let proof = ProofUse { key, acceptable_until: now };
        if !self.own.replays.first_use(proof, now).await {
            return Outcome::Unknown;
        }
        let again = self.own.replays.first_use(proof, now).await
            || self.elsewhere.first_use(proof, now).await;
        match again {
            false => Outcome::Refused,
            true if ping(self.tier.clone()).await.is_err() => Outcome::Unknown,
            true => Outcome::Accepted,
        }
    }
}
