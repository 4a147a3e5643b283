//! Proofs that were used, shared by all instances in the session tier, and the sessions beside
//! them: both are asked with one round trip.
//!
//! The tier away: each instance remembers its own. The tier out of memory (F-41): a filter of
//! fixed size in the tier itself, shared too, which may refuse a fresh proof and never accepts
//! a used one; it costs a second round trip for as long as the pressure lasts.

use std::sync::OnceLock;
use std::time::Duration;

use contracts::id::SessionId;
use contracts::safeguard;
use jiff::Timestamp;
use metrics::{Counter, counter};
use redis::aio::ConnectionManager;
use redis::{Cmd, FromRedisValue};
use tokio::time::timeout_at;

use super::pulse::Pulse;
use super::script::KnownScript;
use super::session::{HeldSession, SESSION_LASTS, SLIDES_EVERY, SessionClaim, SessionKeys};
use crate::replay::{LocalReplays, Use, Verdict};

/// Proofs each instance remembers exactly; beyond them its own filter takes over.
const REMEMBERED: usize = 200_000;
/// Bits of one generation of the shared filter, 1 MiB; there are at most three.
const FILTER_BITS: u32 = 1 << 23;

/// What became of a request's proof and session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// The proof was not used before. No session: the tier is away, or none was asked for.
    Admitted(Option<HeldSession>),
    /// The proof was used before.
    Replayed,
    /// The session is of another operator, device or key. Nothing was burnt.
    Mismatch,
    /// The session was ended. Nothing was burnt.
    Ended,
}

/// Whether the proof is burnt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Burn {
    Yes,
    No,
}

/// What `admit.lua` answers: verdict, session, milliseconds it was opened at, whether now.
type Answer = (i64, String, i64, i64);

/// Remembers proofs until they can no longer be accepted (RFC 9449 section 11.1), and finds the
/// session of a request on the way.
pub struct ReplayStore {
    shared: Option<ConnectionManager>,
    admit: KnownScript,
    filter: KnownScript,
    local: LocalReplays,
    /// Seconds.
    span: u64,
    pulse: Pulse,
    /// Proofs the tier judged, looked up once.
    judged: OnceLock<Counter>,
}

impl std::fmt::Debug for ReplayStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReplayStore").finish_non_exhaustive()
    }
}

impl ReplayStore {
    /// `window`: the longest time any proof stays acceptable.
    pub fn new(shared: Option<ConnectionManager>, window: Duration) -> Self {
        Self {
            shared,
            admit: KnownScript::new(include_str!("admit.lua")),
            filter: KnownScript::new(include_str!("filter.lua")),
            local: LocalReplays::new(REMEMBERED, window),
            span: window.as_secs() + 2,
            pulse: Pulse::new(),
            judged: OnceLock::new(),
        }
    }

    /// The same store, which waits this long for the tier: for machines that do much else.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.pulse = self.pulse.with_patience(patience);
        self
    }

    /// True when the proof of a request without a session was not used before.
    pub async fn first_use(&self, proof: Use, now: Timestamp) -> bool {
        matches!(self.burn(proof, None, now).await, Admission::Admitted(_))
    }

    /// Finds the session or opens it, and burns the proof if the session is the caller's.
    pub async fn admit(&self, proof: Use, claim: &SessionClaim<'_>, now: Timestamp) -> Admission {
        self.burn(proof, Some(claim), now).await
    }

    /// What [`admit`](Self::admit) would say of the session; burns and writes nothing.
    pub async fn look(&self, proof: Use, claim: &SessionClaim<'_>, now: Timestamp) -> Admission {
        let call = Call { store: self, proof, claim: Some(claim), burn: Burn::No, now };
        call.shared().await.unwrap_or(Admission::Admitted(None))
    }

    /// Every use is noted locally too, so that a proof burnt here stays burnt when the tier goes
    /// away; a session that is refused takes the note back.
    async fn burn(
        &self,
        proof: Use,
        claim: Option<&SessionClaim<'_>>,
        now: Timestamp,
    ) -> Admission {
        let local = self.local.note(proof, now);
        if !safeguard!(Replay) {
            return self.unburnt(proof, claim, now).await;
        }
        if local == Verdict::Used {
            return Admission::Replayed;
        }
        let shared = Call { store: self, proof, claim, burn: Burn::Yes, now }.shared().await;
        if let Some(Admission::Mismatch | Admission::Ended) = shared {
            self.local.forget(proof);
        }
        shared.unwrap_or_else(|| {
            counted("local").increment(1);
            let first = local == Verdict::First && safeguard!(ReplayFallback);
            if first { Admission::Admitted(None) } else { Admission::Replayed }
        })
    }

    /// Admits any proof, for drills without replay protection.
    async fn unburnt(
        &self,
        proof: Use,
        claim: Option<&SessionClaim<'_>>,
        now: Timestamp,
    ) -> Admission {
        match claim {
            Some(claim) => self.look(proof, claim, now).await,
            None => Admission::Admitted(None),
        }
    }
}

/// One request's question to the tier.
struct Call<'a> {
    store: &'a ReplayStore,
    proof: Use,
    claim: Option<&'a SessionClaim<'a>>,
    burn: Burn,
    now: Timestamp,
}

impl Call<'_> {
    /// `None` when the tier does not answer.
    async fn shared(&self) -> Option<Admission> {
        let answer: Answer = self.ask(&self.store.admit).await?;
        if answer.0 == -1 && !safeguard!(ReplayFilter) {
            return None;
        }
        let session = self.session(&answer);
        let judged_by = match answer.0 {
            2 => return Some(Admission::Mismatch),
            3 => return Some(Admission::Ended),
            4 => return Some(Admission::Admitted(session)),
            -1 => "filter",
            _ => "shared",
        };
        let first = match answer.0 {
            -1 => self.ask::<i64>(&self.store.filter).await? == 1,
            verdict => verdict == 1,
        };
        match judged_by {
            "shared" => self.store.judged.get_or_init(|| counted("shared")).increment(1),
            seldom => counted(seldom).increment(1),
        }
        Some(if first { Admission::Admitted(session) } else { Admission::Replayed })
    }

    fn session(&self, (_, id, opened_at, is_new): &Answer) -> Option<HeldSession> {
        self.claim?;
        let opened_at = Timestamp::from_millisecond(*opened_at).ok()?;
        Some(HeldSession { id: id.parse().ok()?, opened_at, is_new: *is_new == 1 })
    }

    async fn ask<T: FromRedisValue>(&self, script: &KnownScript) -> Option<T> {
        let mut connection = self.store.shared.clone()?;
        let question = self.store.pulse.ask();
        let run = script.run(&mut connection, |command| self.fill(command));
        match timeout_at(question.waits_until, run).await {
            Ok(Ok(answer)) => {
                question.answered();
                Some(answer)
            }
            Ok(Err(error)) => {
                question.unanswered();
                tracing::warn!(%error, "The session tier did not note a proof; this instance's own store did.");
                None
            }
            Err(_) => {
                question.unanswered();
                None
            }
        }
    }

    /// Keys and arguments as the head of `admit.lua` numbers them.
    fn fill(&self, command: &mut Cmd) {
        let key = &self.proof.key;
        command.arg(if self.claim.is_some() { 4 } else { 2 });
        command.arg([b"dpop:".as_slice(), &key.0].concat()).arg("dpop-filter:");
        if let Some(claim) = self.claim {
            let keys = SessionKeys::of(claim.tenant);
            command.arg(keys.by_device(claim.device)).arg(keys.sessions());
        }
        let remember = self.proof.remember_for(self.now).as_millis() as u64;
        command.arg(remember).arg(self.store.span);
        for place in key.places(FILTER_BITS) {
            command.arg(place);
        }
        if let Some(claim) = self.claim {
            self.fill_session(claim, command);
        }
    }

    fn fill_session(&self, claim: &SessionClaim<'_>, command: &mut Cmd) {
        let named = claim.named.as_ref().map_or("", SessionId::as_str);
        command.arg(i32::from(self.burn == Burn::Yes)).arg(named);
        command.arg(claim.fresh.as_str()).arg(claim.operator.as_str());
        command.arg(claim.device.as_str()).arg(claim.thumbprint).arg(claim.issued_at.as_second());
        command.arg(self.now.as_millisecond()).arg(SESSION_LASTS.as_millis() as u64);
        command.arg(SLIDES_EVERY.as_millis() as u64);
        for (name, value) in claim.details {
            command.arg(*name).arg(*value);
        }
    }
}

/// Which store judged a proof; `local` and `filter` are worth a look.
fn counted(store: &'static str) -> Counter {
    counter!("bff_backoffice_dpop_replay_store_total", "store" => store)
}
