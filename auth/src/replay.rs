//! Proofs that were used: each is remembered until it could no longer be accepted.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use sha2::{Digest, Sha256};

/// What is remembered of a proof: SHA-256 of `jkt:jti`, so that nobody can burn another key's
/// proof and a long `jti` costs no memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ReplayKey(pub [u8; 32]);

impl ReplayKey {
    pub fn of(thumbprint: &str, jti: &str) -> Self {
        Self(
            Sha256::new()
                .chain_update(thumbprint)
                .chain_update(":")
                .chain_update(jti)
                .finalize()
                .into(),
        )
    }

    /// Four places in a filter of this many bits, a power of two. The key is a digest: its
    /// bytes are as good as any hash of it.
    pub fn places(&self, bits: u32) -> [u32; 4] {
        std::array::from_fn(|n| {
            let word = self.0[n * 4..n * 4 + 4].try_into().expect("four bytes");
            u32::from_be_bytes(word) & (bits - 1)
        })
    }
}

/// A proof that passed every check but this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Use {
    pub key: ReplayKey,
    /// The last instant at which the proof would pass again.
    pub acceptable_until: Timestamp,
}

impl Use {
    /// Stands in for a proof that is not valid, in drills without the check of proofs.
    pub(crate) fn unproven(now: Timestamp) -> Self {
        Self { key: ReplayKey::of("", &now.to_string()), acceptable_until: now }
    }

    /// How long to remember it: at least a second, never negative.
    pub fn remember_for(&self, now: Timestamp) -> Duration {
        let left = self.acceptable_until.as_millisecond() - now.as_millisecond();
        // A second more than needed: the store's clock is not ours.
        Duration::from_millis(left.max(0) as u64) + Duration::from_secs(1)
    }
}

/// What a store of one process knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    First,
    Used,
    /// The store is full and its filter cannot exclude that the proof was used.
    Perhaps,
}

/// Parts that are locked one by one.
const SHARDS: usize = 16;
/// Bits of a shard's filter: 64 KiB per shard and generation.
const FILTER_BITS: u32 = 1 << 19;

/// The store of one process, used while the shared one is away. Of a bounded number of proofs
/// it knows exactly, of those beyond by a filter of fixed size that forgets nothing.
#[derive(Debug)]
pub struct LocalReplays {
    shards: [Mutex<Shard>; SHARDS],
    /// Exact ones per shard and generation.
    capacity: usize,
    /// Milliseconds.
    window: i64,
}

/// Two generations, each as long as any proof stays acceptable: what was noted is found for at
/// least that long.
#[derive(Debug, Default)]
struct Shard {
    current: Generation,
    previous: Generation,
    /// Milliseconds since 1970.
    since: i64,
}

#[derive(Debug, Default)]
struct Generation {
    exact: HashSet<ReplayKey>,
    /// Empty until the exact ones are too many.
    filter: Vec<u64>,
}

impl LocalReplays {
    /// `capacity` in proofs; `window` is the longest time any proof stays acceptable.
    pub fn new(capacity: usize, window: Duration) -> Self {
        let capacity = (capacity / SHARDS).max(1);
        let window = i64::try_from(window.as_millis()).unwrap_or(i64::MAX);
        Self { shards: std::array::from_fn(|_| Mutex::default()), capacity, window }
    }

    /// Notes a use. Of many calls at once with one key, at most one is the first.
    pub fn note(&self, proof: Use, now: Timestamp) -> Verdict {
        let shard = &self.shards[usize::from(proof.key.0[31]) % SHARDS];
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        shard.turn(now.as_millisecond(), self.window);
        shard.note(proof.key, self.capacity)
    }

    /// Takes a note back that [`note`](Self::note) called the first. One that is in the filter
    /// stays: it may refuse the proof, and a fresh one is taken.
    pub fn forget(&self, proof: Use) {
        let shard = &self.shards[usize::from(proof.key.0[31]) % SHARDS];
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        shard.current.exact.remove(&proof.key);
        shard.previous.exact.remove(&proof.key);
    }

    /// Whether this is surely the first use.
    pub fn first_use(&self, proof: Use, now: Timestamp) -> bool {
        self.note(proof, now) == Verdict::First
    }
}

impl Shard {
    fn turn(&mut self, now: i64, window: i64) {
        let age = now.saturating_sub(self.since);
        if age < window {
            return;
        }
        let last = std::mem::take(&mut self.current);
        self.previous = if age < window.saturating_mul(2) { last } else { Generation::default() };
        self.since = now;
    }

    fn note(&mut self, key: ReplayKey, capacity: usize) -> Verdict {
        if self.current.exact.contains(&key) || self.previous.exact.contains(&key) {
            return Verdict::Used;
        }
        let perhaps = self.current.may_hold(key) || self.previous.may_hold(key);
        if self.current.exact.len() < capacity {
            self.current.exact.insert(key);
        } else {
            self.current.mark(key);
        }
        if perhaps { Verdict::Perhaps } else { Verdict::First }
    }
}

impl Generation {
    fn may_hold(&self, key: ReplayKey) -> bool {
        !self.filter.is_empty()
            && key
                .places(FILTER_BITS)
                .iter()
                .all(|place| self.filter[*place as usize / 64] & (1 << (place % 64)) != 0)
    }

    fn mark(&mut self, key: ReplayKey) {
        if self.filter.is_empty() {
            self.filter = vec![0; FILTER_BITS as usize / 64];
        }
        for place in key.places(FILTER_BITS) {
            self.filter[place as usize / 64] |= 1 << (place % 64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proof(jti: &str) -> Use {
        Use {
            key: ReplayKey::of("thumb", jti),
            acceptable_until: Timestamp::from_second(100).unwrap(),
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_790_000_000 + second).unwrap()
    }

    #[test]
    fn a_second_use_is_seen_and_other_proofs_are_not_touched() {
        let store = LocalReplays::new(100, Duration::from_secs(60));
        assert!(store.first_use(proof("a"), at(0)));
        assert!(!store.first_use(proof("a"), at(0)));
        assert!(store.first_use(proof("b"), at(0)));
        store.forget(proof("a"));
        assert!(store.first_use(proof("a"), at(0)) && !store.first_use(proof("b"), at(0)));
    }

    /// XukuLLC/attesto#18: whoever knows another's `jti` cannot burn it.
    #[test]
    fn one_jti_of_two_keys_is_two_proofs() {
        assert_ne!(ReplayKey::of("one", "jti"), ReplayKey::of("two", "jti"));
        assert_eq!(ReplayKey::of("one", "jti"), ReplayKey::of("one", "jti"));
    }

    #[test]
    fn a_use_is_found_for_at_least_the_window_and_forgotten_after_two() {
        for first in 0..60 {
            let store = LocalReplays::new(100, Duration::from_secs(60));
            store.first_use(proof("begins the generation"), at(0));
            assert!(store.first_use(proof("a"), at(first)));
            assert_eq!(store.note(proof("a"), at(first + 59)), Verdict::Used, "{first}");
        }
        let store = LocalReplays::new(100, Duration::from_secs(60));
        assert!(store.first_use(proof("a"), at(0)) && store.first_use(proof("a"), at(120)));
    }

    #[test]
    fn one_of_many_at_once_wins() {
        let store = LocalReplays::new(1000, Duration::from_secs(60));
        let wins: usize = std::thread::scope(|scope| {
            let uses: Vec<_> =
                (0..8).map(|_| scope.spawn(|| store.first_use(proof("same"), at(0)))).collect();
            uses.into_iter().map(|use_| usize::from(use_.join().unwrap())).sum()
        });
        assert_eq!(wins, 1);
    }

    #[test]
    fn a_full_store_accepts_no_replay_and_few_fresh_proofs_are_refused() {
        let store = LocalReplays::new(160, Duration::from_secs(60));
        let names: Vec<String> = (0..20_000).map(|n| n.to_string()).collect();
        let taken = names.iter().filter(|name| store.first_use(proof(name), at(0))).count();
        assert!(taken > 19_990, "{taken}");
        assert!(names.iter().all(|name| !store.first_use(proof(name), at(59))));
    }

    #[test]
    fn the_time_to_remember_is_never_zero() {
        let late = Timestamp::from_second(500).unwrap();
        assert!(proof("a").remember_for(late) >= Duration::from_secs(1));
        let early = Timestamp::from_second(70).unwrap();
        assert!(proof("a").remember_for(early) >= Duration::from_secs(30));
    }
}
