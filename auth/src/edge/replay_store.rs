//! Used proofs and sessions in the session store (Redis), shared by all instances; one round trip
//! checks both.
//!
//! While Redis is down, each instance remembers the proofs it has seen. While Redis is out of
//! memory (F-41), a shared Bloom filter of fixed size takes over: it may refuse a fresh proof but
//! never accepts a used one, and costs a second round trip.

use std::sync::OnceLock;
use std::time::Duration;

use contracts::id::SessionId;
use contracts::safeguard;
use jiff::Timestamp;
use metrics::{Counter, counter};
use redis::aio::ConnectionManager;
use redis::{Cmd, FromRedisValue};
use tokio::time::timeout_at;

use super::redis_health::RedisHealth;
use super::script::CachedScript;
use super::session::{
    SESSION_TOUCH_INTERVAL, SESSION_TTL, SessionClaim, SessionKeys, StoredSession,
};
use crate::replay::{LocalReplays, ProofUse, ReplayCheck};

/// Proofs that an instance remembers exactly; beyond them its own Bloom filter takes over.
const LOCAL_CAPACITY: usize = 200_000;
/// One generation of the shared filter: 1 MiB. There are at most three.
const FILTER_BITS: u32 = 1 << 23;

/// Outcome of the check of a request's proof and session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdmitOutcome {
    /// The proof is fresh. There is no session when Redis is down or none was requested.
    Admitted(Option<StoredSession>),
    /// The proof was used before.
    Replayed,
    /// The session belongs to another operator, device or key. The proof was not consumed.
    Mismatch,
    /// The session was ended. The proof was not consumed.
    Ended,
}

/// Whether the proof is consumed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Consume,
    Peek,
}

/// Reply of `admit.lua`: code, session id, opening time in milliseconds, whether just opened.
type ScriptReply = (i64, String, i64, i64);

/// Remembers proofs until they can no longer be accepted (RFC 9449 section 11.1), and finds the
/// session of a request on the way.
#[derive(derive_more::Debug)]
#[debug("ReplayStore")]
pub struct ReplayStore {
    shared: Option<ConnectionManager>,
    admit: CachedScript,
    filter: CachedScript,
    local: LocalReplays,
    /// Lifetime of a filter generation, in seconds.
    filter_ttl: u64,
    health: RedisHealth,
    /// Counts proofs checked in Redis; looked up once.
    shared_counter: OnceLock<Counter>,
}

impl ReplayStore {
    /// `window`: the longest time any proof stays acceptable.
    pub fn new(shared: Option<ConnectionManager>, window: Duration) -> Self {
        Self {
            shared,
            admit: CachedScript::new(include_str!("admit.lua")),
            filter: CachedScript::new(include_str!("filter.lua")),
            local: LocalReplays::new(LOCAL_CAPACITY, window),
            filter_ttl: window.as_secs() + 2,
            health: RedisHealth::new(),
            shared_counter: OnceLock::new(),
        }
    }

    /// Sets the timeout while Redis is down. For tests on busy machines.
    #[must_use]
    pub fn with_unresponsive_timeout(mut self, timeout: Duration) -> Self {
        self.health = self.health.with_unresponsive_timeout(timeout);
        self
    }

    /// Consumes the proof of a request without a session. Returns whether it was fresh.
    pub async fn first_use(&self, proof: ProofUse, now: Timestamp) -> bool {
        matches!(self.consume(proof, None, now).await, AdmitOutcome::Admitted(_))
    }

    /// Finds or opens the session, and consumes the proof if the session is the caller's.
    pub async fn admit(
        &self,
        proof: ProofUse,
        claim: &SessionClaim<'_>,
        now: Timestamp,
    ) -> AdmitOutcome {
        self.consume(proof, Some(claim), now).await
    }

    /// Checks the session as [`admit`](Self::admit) does, without consuming or writing anything.
    pub async fn peek(
        &self,
        proof: ProofUse,
        claim: &SessionClaim<'_>,
        now: Timestamp,
    ) -> AdmitOutcome {
        let call = StoreCall { store: self, proof, claim: Some(claim), mode: Mode::Peek, now };
        call.shared().await.unwrap_or(AdmitOutcome::Admitted(None))
    }

    /// Records each use locally too, so that a proof consumed here stays so when Redis goes down. A
    /// rejected session reverts the local record.
    async fn consume(
        &self,
        proof: ProofUse,
        claim: Option<&SessionClaim<'_>>,
        now: Timestamp,
    ) -> AdmitOutcome {
        let local = self.local.record(proof, now);
        if !safeguard!(Replay) {
            return self.without_replay_check(proof, claim, now).await;
        }
        if local == ReplayCheck::Used {
            return AdmitOutcome::Replayed;
        }
        let shared =
            StoreCall { store: self, proof, claim, mode: Mode::Consume, now }.shared().await;
        if let Some(AdmitOutcome::Mismatch | AdmitOutcome::Ended) = shared {
            self.local.forget(proof);
        }
        shared.unwrap_or_else(|| {
            store_counter("local").increment(1);
            let first = local == ReplayCheck::First && safeguard!(ReplayFallback);
            if first { AdmitOutcome::Admitted(None) } else { AdmitOutcome::Replayed }
        })
    }

    /// Admits any proof, for drills without replay protection.
    async fn without_replay_check(
        &self,
        proof: ProofUse,
        claim: Option<&SessionClaim<'_>>,
        now: Timestamp,
    ) -> AdmitOutcome {
        match claim {
            Some(claim) => self.peek(proof, claim, now).await,
            None => AdmitOutcome::Admitted(None),
        }
    }
}

/// One request's call to Redis.
struct StoreCall<'a> {
    store: &'a ReplayStore,
    proof: ProofUse,
    claim: Option<&'a SessionClaim<'a>>,
    mode: Mode,
    now: Timestamp,
}

impl StoreCall<'_> {
    /// Returns `None` when Redis does not reply.
    async fn shared(&self) -> Option<AdmitOutcome> {
        let answer: ScriptReply = self.run_script(&self.store.admit).await?;
        if answer.0 == -1 && !safeguard!(ReplayFilter) {
            return None;
        }
        let session = self.session(&answer);
        let checked_by = match answer.0 {
            2 => return Some(AdmitOutcome::Mismatch),
            3 => return Some(AdmitOutcome::Ended),
            4 => return Some(AdmitOutcome::Admitted(session)),
            -1 => "filter",
            _ => "shared",
        };
        let first = match answer.0 {
            -1 => self.run_script::<i64>(&self.store.filter).await? == 1,
            code => code == 1,
        };
        match checked_by {
            "shared" => {
                self.store.shared_counter.get_or_init(|| store_counter("shared")).increment(1);
            }
            other => store_counter(other).increment(1),
        }
        Some(if first { AdmitOutcome::Admitted(session) } else { AdmitOutcome::Replayed })
    }

    fn session(&self, reply: &ScriptReply) -> Option<StoredSession> {
        let (_, id, opened_at, is_new) = reply;
        self.claim?;
        let opened_at = Timestamp::from_millisecond(*opened_at).ok()?;
        Some(StoredSession { id: id.parse().ok()?, opened_at, is_new: *is_new == 1 })
    }

    async fn run_script<T: FromRedisValue>(&self, script: &CachedScript) -> Option<T> {
        let mut connection = self.store.shared.clone()?;
        let reply = self.store.health.begin();
        let run = script.run(&mut connection, |command| self.fill(command));
        match timeout_at(reply.deadline, run).await {
            Ok(Ok(answer)) => {
                reply.received();
                Some(answer)
            }
            Ok(Err(error)) => {
                reply.failed();
                tracing::warn!(%error, "Failed to record a proof in the session store; using the local store.");
                None
            }
            Err(_) => {
                reply.failed();
                None
            }
        }
    }

    /// Adds keys and arguments in the order that the head of `admit.lua` documents.
    fn fill(&self, command: &mut Cmd) {
        let key = &self.proof.key;
        command.arg(if self.claim.is_some() { 4 } else { 2 });
        command.arg([b"dpop:".as_slice(), &key.0].concat()).arg("dpop-filter:");
        if let Some(claim) = self.claim {
            let keys = SessionKeys::of(claim.tenant);
            command.arg(keys.by_device(claim.device)).arg(keys.sessions());
        }
        let remember = self.proof.remember_for(self.now).as_millis() as u64;
        command.arg(remember).arg(self.store.filter_ttl);
        for bit in key.bit_positions(FILTER_BITS) {
            command.arg(bit);
        }
        if let Some(claim) = self.claim {
            self.fill_session(claim, command);
        }
    }

    fn fill_session(&self, claim: &SessionClaim<'_>, command: &mut Cmd) {
        let named = claim.named.as_ref().map_or("", SessionId::as_str);
        command.arg(i32::from(self.mode == Mode::Consume)).arg(named);
        command.arg(claim.new_id.as_str()).arg(claim.operator.as_str());
        command.arg(claim.device.as_str()).arg(claim.thumbprint).arg(claim.issued_at.as_second());
        command.arg(self.now.as_millisecond()).arg(SESSION_TTL.as_millis() as u64);
        command.arg(SESSION_TOUCH_INTERVAL.as_millis() as u64);
        for (name, value) in claim.details {
            command.arg(*name).arg(*value);
        }
    }
}

/// Counts proofs by the store that checked them.
fn store_counter(store: &'static str) -> Counter {
    counter!("bff_backoffice_dpop_replay_store_total", "store" => store)
}
