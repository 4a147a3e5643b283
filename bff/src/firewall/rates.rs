//! How many requests an address and a device may make: a GCRA bucket for each, in bounded memory.
//!
//! A device is only claimed at this point, and nobody may use up the requests of another device by
//! claiming to be it. So a bucket belongs to the address, the claimed device and the access
//! token together: who does not hold the device's token has a bucket of their own. Inventing
//! devices or tokens gives fresh buckets, and is what the limit of the address is for.

use std::hash::{BuildHasher, Hash, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use contracts::id::DeviceId;
use governor::clock::Clock;
use governor::middleware::StateInformationMiddleware;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use tokio::time::Instant;

use super::address::shared;
use super::file::{Limit, Limits};
use super::mode::Mode;

/// Buckets kept of each kind, about 200 bytes each. Past that the one used longest ago is
/// forgotten, which only ever gives its owner a fresh one.
const MOST_BUCKETS: u64 = 50_000;

/// Tokio's clock, so that tests can pause it.
#[derive(Debug, Clone)]
struct Ticks(Instant);

impl Clock for Ticks {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::from(self.0.elapsed())
    }
}

type Bucket = RateLimiter<NotKeyed, InMemoryState, Ticks, StateInformationMiddleware>;

/// What a limit said to one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    pub limit: Limit,
    pub name: &'static str,
    /// Requests that could follow at once.
    pub remaining: u32,
    /// Until the next request is let in, when this one is not.
    pub wait: Option<Duration>,
}

impl Standing {
    /// Seconds until all of the limit's requests are there again, rounded up.
    pub fn full_after(&self) -> u64 {
        let (all, seconds) = (self.limit.requests.get(), self.limit.per_seconds.get());
        let missing = u64::from(all.saturating_sub(self.remaining));
        (missing * u64::from(seconds)).div_ceil(u64::from(all))
    }
}

#[derive(Debug, Clone)]
struct Buckets<K: Hash + Eq + Send + Sync + 'static> {
    name: &'static str,
    limit: Limit,
    quota: Quota,
    ticks: Ticks,
    kept: Cache<K, Arc<Bucket>>,
}

impl<K: Hash + Eq + Send + Sync + 'static> Buckets<K> {
    fn new(name: &'static str, limit: Limit) -> Self {
        let full = Duration::from_secs(limit.per_seconds.get().into());
        let quota = Quota::with_period(full / limit.requests.get())
            .expect("a limit is at most a million in a second")
            .allow_burst(limit.requests);
        // A bucket nobody used for that long is full again: nothing is lost with it.
        let kept = Cache::builder()
            .max_capacity(MOST_BUCKETS)
            .time_to_idle(full)
            .eviction_policy(EvictionPolicy::lru())
            .build();
        Self { name, limit, quota, ticks: Ticks(Instant::now()), kept }
    }

    fn take(&self, key: K) -> Option<Standing> {
        if self.limit.mode == Mode::Off {
            return None;
        }
        let fresh = || {
            let bucket = RateLimiter::direct_with_clock(self.quota, self.ticks.clone());
            Arc::new(bucket.with_middleware())
        };
        let (remaining, wait) = match self.kept.get_with(key, fresh).check() {
            Ok(state) => (state.remaining_burst_capacity(), None),
            Err(full) => (0, Some(full.wait_time_from(self.ticks.now()))),
        };
        Some(Standing { limit: self.limit, name: self.name, remaining, wait })
    }
}

/// Both limits.
#[derive(Debug, Clone)]
pub struct Rates {
    addresses: Buckets<IpAddr>,
    devices: Buckets<(IpAddr, DeviceId, u64)>,
    /// Keyed with random numbers of this process: nobody finds a token that shares another's bucket.
    digest: RandomState,
}

impl Rates {
    pub fn new(limits: &Limits) -> Self {
        Self {
            addresses: Buckets::new("address", limits.address),
            devices: Buckets::new("device", limits.device),
            digest: RandomState::new(),
        }
    }

    /// Counts a request of this address.
    pub fn address(&self, address: IpAddr) -> Option<Standing> {
        self.addresses.take(shared(address))
    }

    /// Counts a request of whoever sends this token from this address and claims this device.
    pub fn device(&self, address: IpAddr, device: DeviceId, token: &[u8]) -> Option<Standing> {
        self.devices.take((shared(address), device, self.digest.hash_one(token)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "203.0.113.7";
    const B: &str = "203.0.113.8";

    fn rates(mode: &str) -> Rates {
        let limit = format!("{{requests = 3, per_seconds = 30, mode = '{mode}'}}");
        let text = format!("limits.address = {limit}\nlimits.device = {limit}");
        Rates::new(&crate::firewall::file::parse(&text).unwrap().limits)
    }

    fn device() -> DeviceId {
        "dev_01K0000000000000000000000A".parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_let_in_then_one_after_the_other() {
        let rates = rates("enforce");
        let ask = || rates.address(A.parse().unwrap()).unwrap();
        assert_eq!([ask(), ask(), ask()].map(|standing| standing.remaining), [2, 1, 0]);
        let refused = ask();
        assert_eq!((refused.wait, refused.full_after()), (Some(Duration::from_secs(10)), 30));
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(ask().wait, None);
        assert!(ask().wait.is_some());
        assert_eq!(rates.address(B.parse().unwrap()).unwrap().remaining, 2, "another address");
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_uses_up_the_requests_of_another_device() {
        let rates = rates("enforce");
        let ask = |address: &str, token: &[u8]| {
            rates.device(address.parse().unwrap(), device(), token).unwrap().wait
        };
        for _ in 0..20 {
            ask(B, b"DPoP stolen claim");
            ask(A, b"DPoP made up");
            ask(A, b"");
        }
        assert_eq!(ask(A, b"DPoP the device's own"), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_that_is_off_counts_nothing() {
        assert_eq!(rates("off").address(A.parse().unwrap()), None);
    }

    #[tokio::test(start_paused = true)]
    async fn memory_is_bounded() {
        let rates = rates("enforce");
        for bits in 0..(MOST_BUCKETS as u32 + 5_000) {
            rates.address(IpAddr::V4(bits.into()));
        }
        rates.addresses.kept.run_pending_tasks();
        assert!(rates.addresses.kept.entry_count() <= MOST_BUCKETS);
    }
}
