//! Proofs that were used: each is remembered until it could no longer be accepted.

use std::time::Duration;

use jiff::Timestamp;
use moka::sync::Cache;
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
}

/// A proof that passed every check but this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Use {
    pub key: ReplayKey,
    /// The last instant at which the proof would pass again.
    pub acceptable_until: Timestamp,
}

impl Use {
    /// How long to remember it: at least a second, never negative.
    pub fn remember_for(&self, now: Timestamp) -> Duration {
        let left = self.acceptable_until.as_millisecond() - now.as_millisecond();
        // A second more than needed: the store's clock is not ours.
        Duration::from_millis(left.max(0) as u64) + Duration::from_secs(1)
    }
}

/// The store of one process, used while the shared one is away. Bounded: when full it refuses
/// new proofs rather than forget old ones.
#[derive(Debug)]
pub struct LocalReplays {
    seen: Cache<ReplayKey, Timestamp>,
    capacity: u64,
}

impl LocalReplays {
    /// `capacity` in proofs; `window` is the longest time any proof stays acceptable.
    pub fn new(capacity: u64, window: Duration) -> Self {
        Self { seen: Cache::builder().time_to_live(window).build(), capacity }
    }

    /// True when this is the first use. Of many calls at once with one key, one gets true.
    pub fn first_use(&self, proof: Use) -> bool {
        if self.seen.entry_count() >= self.capacity {
            self.seen.run_pending_tasks();
            if self.seen.entry_count() >= self.capacity {
                return false;
            }
        }
        self.seen.entry(proof.key).or_insert(proof.acceptable_until).is_fresh()
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

    #[test]
    fn a_second_use_is_seen_and_other_proofs_are_not_touched() {
        let store = LocalReplays::new(10, Duration::from_secs(60));
        assert!(store.first_use(proof("a")));
        assert!(!store.first_use(proof("a")));
        assert!(store.first_use(proof("b")));
    }

    #[test]
    fn one_of_many_at_once_wins() {
        let store = LocalReplays::new(1000, Duration::from_secs(60));
        let wins: usize = std::thread::scope(|scope| {
            let uses: Vec<_> =
                (0..8).map(|_| scope.spawn(|| store.first_use(proof("same")))).collect();
            uses.into_iter().map(|use_| usize::from(use_.join().unwrap())).sum()
        });
        assert_eq!(wins, 1);
    }

    #[test]
    fn a_full_store_refuses_rather_than_forgets() {
        let store = LocalReplays::new(3, Duration::from_secs(60));
        let taken = (0..10).filter(|n| store.first_use(proof(&n.to_string()))).count();
        store.seen.run_pending_tasks();
        assert!(taken <= 10 && !store.first_use(proof("0")), "the first proof was forgotten");
    }

    #[test]
    fn the_time_to_remember_is_never_zero() {
        let late = Timestamp::from_second(500).unwrap();
        assert!(proof("a").remember_for(late) >= Duration::from_secs(1));
        let early = Timestamp::from_second(70).unwrap();
        assert!(proof("a").remember_for(early) >= Duration::from_secs(30));
    }
}
