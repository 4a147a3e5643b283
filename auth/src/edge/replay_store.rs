//! Proofs that were used, shared by all instances in the session tier with one round trip.
//!
//! The tier away: each instance remembers its own. The tier out of memory (F-41): a filter of
//! fixed size in the tier itself, shared too, which may refuse a fresh proof and never accepts
//! a used one; it costs a second round trip for as long as the pressure lasts.

use std::time::Duration;

use jiff::Timestamp;
use metrics::counter;
use redis::Script;
use redis::aio::ConnectionManager;

use super::guards::Guards;
use super::pulse::Pulse;
use crate::replay::{LocalReplays, Use, Verdict};

/// Proofs each instance remembers exactly; beyond them its own filter takes over.
const REMEMBERED: usize = 200_000;
/// Bits of one generation of the shared filter, 1 MiB; there are at most three.
const FILTER_BITS: u32 = 1 << 23;

/// Notes a proof exactly, unless a filter of the last two generations may hold it. Answers 1
/// for a first use, 0 for another, -1 when there is no memory to note it. A generation is
/// counted by the tier's clock, which all instances share.
const EXACT: &str = r"
local span = tonumber(ARGV[2])
local generation = math.floor(redis.call('TIME')[1] / span)
for back = 0, 1 do
  local filter, held = KEYS[2] .. (generation - back), true
  for place = 3, 6 do
    if redis.call('GETBIT', filter, ARGV[place]) == 0 then held = false break end
  end
  if held then return 0 end
end
local noted = redis.pcall('SET', KEYS[1], '1', 'NX', 'PX', ARGV[1])
if not noted then return 0 end
if noted.err then
  if string.find(noted.err, 'OOM', 1, true) then return -1 end
  return noted
end
return 1
";

/// Notes a proof in the filter, which may exceed the memory limit by its own fixed size.
const FILTER: &str = r"#!lua flags=allow-oom
local span = tonumber(ARGV[2])
local generation = math.floor(redis.call('TIME')[1] / span)
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
local before, held = KEYS[2] .. (generation - 1), true
for place = 3, 6 do
  if redis.call('GETBIT', before, ARGV[place]) == 0 then held = false break end
end
if held then return 0 end
local filter, fresh = KEYS[2] .. generation, 0
for place = 3, 6 do
  if redis.call('SETBIT', filter, ARGV[place], 1) == 0 then fresh = 1 end
end
redis.call('EXPIRE', filter, span * 2 + 1)
return fresh
";

/// What the tier said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shared {
    First,
    Used,
    Away,
}

/// Remembers proofs until they can no longer be accepted (RFC 9449 section 11.1).
pub struct ReplayStore {
    shared: Option<ConnectionManager>,
    exact: Script,
    filter: Script,
    local: LocalReplays,
    /// Seconds.
    span: u64,
    pulse: Pulse,
    guards: Guards,
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
            exact: Script::new(EXACT),
            filter: Script::new(FILTER),
            local: LocalReplays::new(REMEMBERED, window),
            span: window.as_secs() + 2,
            pulse: Pulse::new(),
            guards: Guards::default(),
        }
    }

    /// Switches a protection off: drills show with it that the protection matters.
    #[cfg(feature = "sabotage")]
    #[must_use]
    pub fn without(mut self, guard: &str) -> Self {
        self.guards.switch_off(guard);
        self
    }

    /// True when the proof was not used before. Every use is noted locally too, so that a proof
    /// burnt here stays burnt when the tier goes away.
    pub async fn first_use(&self, proof: Use, now: Timestamp) -> bool {
        let local = self.local.note(proof, now);
        if !self.guards.replay() {
            return true;
        }
        if local == Verdict::Used {
            return false;
        }
        match self.note_shared(proof, now).await {
            Shared::First => true,
            Shared::Used => false,
            Shared::Away => {
                count("local");
                local == Verdict::First && self.guards.fallback()
            }
        }
    }

    async fn note_shared(&self, proof: Use, now: Timestamp) -> Shared {
        match self.ask(&self.exact, proof, now).await {
            Some(-1) if self.guards.filter() => {}
            Some(-1) => return Shared::Away,
            answer => return judged(answer, "shared"),
        }
        judged(self.ask(&self.filter, proof, now).await, "filter")
    }

    /// `None` when the tier does not answer.
    async fn ask(&self, script: &Script, proof: Use, now: Timestamp) -> Option<i64> {
        let mut connection = self.shared.clone()?;
        let mut call = script.key([b"dpop:".as_slice(), &proof.key.0].concat());
        call.key("dpop-filter:");
        call.arg(proof.remember_for(now).as_millis() as u64).arg(self.span);
        for place in proof.key.places(FILTER_BITS) {
            call.arg(place);
        }
        let deadline = self.pulse.deadline();
        match tokio::time::timeout_at(deadline, call.invoke_async(&mut connection)).await {
            Ok(Ok(answer)) => {
                self.pulse.beat();
                Some(answer)
            }
            Ok(Err(error)) => {
                tracing::warn!(%error, "The session tier did not note a proof; this instance's own store did.");
                None
            }
            Err(_) => None,
        }
    }
}

fn judged(answer: Option<i64>, store: &'static str) -> Shared {
    match answer {
        Some(1) => {
            count(store);
            Shared::First
        }
        Some(_) => {
            count(store);
            Shared::Used
        }
        None => Shared::Away,
    }
}

/// Which store judged a proof; `local` and `filter` are worth a look.
fn count(store: &'static str) {
    counter!("bff_backoffice_dpop_replay_store_total", "store" => store).increment(1);
}
