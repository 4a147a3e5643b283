//! Replay detection (RFC 9449 section 11.1): each used proof is remembered until it expires.

use std::collections::HashSet;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

/// SHA-256 of `jkt:jti`, so that a key consumes only its own proofs and a long `jti` costs no memory.
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

    /// Four positions in a Bloom filter of this many bits, a power of two. The key is a digest, so
    /// its own bytes serve as hashes.
    pub fn bit_positions(&self, bits: u32) -> [u32; 4] {
        std::array::from_fn(|n| {
            let word = self.0[n * 4..n * 4 + 4].try_into().expect("four bytes");
            u32::from_be_bytes(word) & (bits - 1)
        })
    }
}

/// The use of a proof that passed every other check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProofUse {
    pub key: ReplayKey,
    /// The last instant at which the proof would be accepted.
    pub acceptable_until: Timestamp,
}

impl ProofUse {
    /// Stands in for a proof that is not valid, in drills without the check of proofs.
    pub(crate) fn unproven(now: Timestamp) -> Self {
        Self { key: ReplayKey::of("", &now.to_string()), acceptable_until: now }
    }

    /// How long to remember it; at least a second.
    pub fn remember_for(&self, now: Timestamp) -> Duration {
        let left = self.acceptable_until.as_millisecond() - now.as_millisecond();
        // One second more than needed: the store's clock may differ.
        Duration::from_millis(left.max(0) as u64) + Duration::from_secs(1)
    }
}

/// Result of a local replay check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplayCheck {
    First,
    Used,
    /// The store is full and its Bloom filter cannot rule out an earlier use.
    Uncertain,
}

/// Each shard has its own lock.
const SHARDS: usize = 16;
/// 64 KiB per shard and generation.
const FILTER_BITS: u32 = 1 << 19;

/// In-process store, used while the shared one is down. Remembers a bounded number of proofs
/// exactly and the rest in a Bloom filter.
#[derive(Debug)]
pub struct LocalReplays {
    shards: [Mutex<Shard>; SHARDS],
    /// Exact proofs per shard and generation.
    capacity: usize,
    /// In milliseconds.
    window: i64,
}

/// Two generations, each as long as any proof stays acceptable: a recorded proof is found for at
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
    /// Allocated once `exact` is full.
    filter: Vec<u64>,
}

impl LocalReplays {
    /// `capacity` in proofs; `window` is the longest time any proof stays acceptable.
    pub fn new(capacity: usize, window: Duration) -> Self {
        let capacity = (capacity / SHARDS).max(1);
        let window = i64::try_from(window.as_millis()).unwrap_or(i64::MAX);
        Self { shards: std::array::from_fn(|_| Mutex::default()), capacity, window }
    }

    /// Records a use. Of concurrent calls with one key, at most one returns `First`.
    pub fn record(&self, proof: ProofUse, now: Timestamp) -> ReplayCheck {
        let shard = &self.shards[usize::from(proof.key.0[31]) % SHARDS];
        let mut shard = shard.lock();
        shard.rotate(now.as_millisecond(), self.window);
        shard.record(proof.key, self.capacity)
    }

    /// Reverts a [`record`](Self::record) that returned `First`. An entry in the filter stays; the
    /// client must then send a new proof.
    pub fn forget(&self, proof: ProofUse) {
        let shard = &self.shards[usize::from(proof.key.0[31]) % SHARDS];
        let mut shard = shard.lock();
        shard.current.exact.remove(&proof.key);
        shard.previous.exact.remove(&proof.key);
    }

    /// Records a use. Returns whether it is certainly the first.
    pub fn first_use(&self, proof: ProofUse, now: Timestamp) -> bool {
        self.record(proof, now) == ReplayCheck::First
    }
}

impl Shard {
    fn rotate(&mut self, now: i64, window: i64) {
        let age = now.saturating_sub(self.since);
        if age < window {
            return;
        }
        let last = std::mem::take(&mut self.current);
        self.previous = if age < window.saturating_mul(2) { last } else { Generation::default() };
        self.since = now;
    }

    fn record(&mut self, key: ReplayKey, capacity: usize) -> ReplayCheck {
        if self.current.exact.contains(&key) || self.previous.exact.contains(&key) {
            return ReplayCheck::Used;
        }
        let may_be_used = self.current.may_hold(key) || self.previous.may_hold(key);
        if self.current.exact.len() < capacity {
            self.current.exact.insert(key);
        } else {
            self.current.mark(key);
        }
        if may_be_used { ReplayCheck::Uncertain } else { ReplayCheck::First }
    }
}

impl Generation {
    fn may_hold(&self, key: ReplayKey) -> bool {
        !self.filter.is_empty()
            && key
                .bit_positions(FILTER_BITS)
                .iter()
                .all(|bit| self.filter[*bit as usize / 64] & (1 << (bit % 64)) != 0)
    }

    fn mark(&mut self, key: ReplayKey) {
        if self.filter.is_empty() {
            self.filter = vec![0; FILTER_BITS as usize / 64];
        }
        for bit in key.bit_positions(FILTER_BITS) {
            self.filter[bit as usize / 64] |= 1 << (bit % 64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proof(jti: &str) -> ProofUse {
        ProofUse {
            key: ReplayKey::of("thumb", jti),
            acceptable_until: Timestamp::from_second(100).unwrap(),
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_790_000_000 + second).unwrap()
    }

    #[test]
    fn a_second_use_is_detected_and_other_proofs_are_unaffected() {
        let store = LocalReplays::new(100, Duration::from_secs(60));
        assert!(store.first_use(proof("a"), at(0)));
        assert!(!store.first_use(proof("a"), at(0)));
        assert!(store.first_use(proof("b"), at(0)));
        store.forget(proof("a"));
        assert!(store.first_use(proof("a"), at(0)) && !store.first_use(proof("b"), at(0)));
    }

    /// XukuLLC/attesto#18: knowing another's `jti` does not allow consuming it.
    #[test]
    fn one_jti_of_two_keys_is_two_proofs() {
        assert_ne!(ReplayKey::of("one", "jti"), ReplayKey::of("two", "jti"));
        assert_eq!(ReplayKey::of("one", "jti"), ReplayKey::of("one", "jti"));
    }

    #[test]
    fn a_use_is_remembered_for_at_least_one_window_and_at_most_two() {
        for first in 0..60 {
            let store = LocalReplays::new(100, Duration::from_secs(60));
            store.first_use(proof("begins the generation"), at(0));
            assert!(store.first_use(proof("a"), at(first)));
            assert_eq!(store.record(proof("a"), at(first + 59)), ReplayCheck::Used, "{first}");
        }
        let store = LocalReplays::new(100, Duration::from_secs(60));
        assert!(store.first_use(proof("a"), at(0)) && store.first_use(proof("a"), at(120)));
    }

    #[test]
    fn one_of_many_concurrent_uses_wins() {
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
