//! Rate limits per address and device: a GCRA bucket for each, in bounded memory.
//!
//! The device is an unverified claim here, and a client must not use up another device's limit. So
//! the bucket key is address, claimed device and access token together: a client without the
//! device's token gets its own bucket. Invented devices or tokens get fresh buckets; the address
//! limit covers those.

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

/// Buckets of each kind, about 200 bytes each. Beyond that the least recently used one is dropped
/// and starts full again.
const MAX_BUCKETS: u64 = 50_000;

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

/// State of a limit after one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LimitState {
    pub limit: Limit,
    pub name: &'static str,
    /// Requests that may follow at once.
    pub remaining: u32,
    /// Time until the next request is allowed, if this one is not.
    pub wait: Option<Duration>,
}

impl LimitState {
    /// Seconds until the bucket is full again, rounded up.
    pub(crate) fn full_after(&self) -> u64 {
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
    by_key: Cache<K, Arc<Bucket>>,
}

impl<K: Hash + Eq + Send + Sync + 'static> Buckets<K> {
    fn new(name: &'static str, limit: Limit) -> Self {
        let full = Duration::from_secs(limit.per_seconds.get().into());
        let quota = Quota::with_period(full / limit.requests.get())
            .expect("a limit is at most a million in a second")
            .allow_burst(limit.requests);
        // A bucket idle for that long is full again and can be dropped.
        let by_key = Cache::builder()
            .max_capacity(MAX_BUCKETS)
            .time_to_idle(full)
            .eviction_policy(EvictionPolicy::lru())
            .build();
        Self { name, limit, quota, ticks: Ticks(Instant::now()), by_key }
    }

    fn count_request(&self, key: K) -> Option<LimitState> {
        if self.limit.mode == Mode::Off {
            return None;
        }
        let fresh = || {
            let bucket = RateLimiter::direct_with_clock(self.quota, self.ticks.clone());
            Arc::new(bucket.with_middleware())
        };
        let (remaining, wait) = match self.by_key.get_with(key, fresh).check() {
            Ok(state) => (state.remaining_burst_capacity(), None),
            Err(full) => (0, Some(full.wait_time_from(self.ticks.now()))),
        };
        Some(LimitState { limit: self.limit, name: self.name, remaining, wait })
    }
}

/// Both limits.
#[derive(Debug, Clone)]
pub(crate) struct Rates {
    addresses: Buckets<IpAddr>,
    devices: Buckets<(IpAddr, DeviceId, u64)>,
    /// Randomly keyed per process, so that tokens with colliding buckets cannot be found.
    digest: RandomState,
}

impl Rates {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            addresses: Buckets::new("address", limits.address),
            devices: Buckets::new("device", limits.device),
            digest: RandomState::new(),
        }
    }

    /// Counts a request of this address.
    pub(crate) fn address(&self, address: IpAddr) -> Option<LimitState> {
        self.addresses.count_request(shared(address))
    }

    /// Counts a request with this token, from this address, for the claimed device.
    pub(crate) fn device(
        &self,
        address: IpAddr,
        device: DeviceId,
        token: &[u8],
    ) -> Option<LimitState> {
        self.devices.count_request((shared(address), device, self.digest.hash_one(token)))
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
    async fn a_burst_is_accepted_then_requests_at_the_rate() {
        let rates = rates("enforce");
        let request = || rates.address(A.parse().unwrap()).unwrap();
        assert_eq!([request(), request(), request()].map(|state| state.remaining), [2, 1, 0]);
        let refused = request();
        assert_eq!((refused.wait, refused.full_after()), (Some(Duration::from_secs(10)), 30));
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(request().wait, None);
        assert!(request().wait.is_some());
        assert_eq!(rates.address(B.parse().unwrap()).unwrap().remaining, 2, "another address");
    }

    #[tokio::test(start_paused = true)]
    async fn a_device_cannot_use_up_another_devices_limit() {
        let rates = rates("enforce");
        let request = |address: &str, token: &[u8]| {
            rates.device(address.parse().unwrap(), device(), token).unwrap().wait
        };
        for _ in 0..20 {
            request(B, b"DPoP stolen claim");
            request(A, b"DPoP made up");
            request(A, b"");
        }
        assert_eq!(request(A, b"DPoP the device's own"), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_that_is_off_counts_nothing() {
        assert_eq!(rates("off").address(A.parse().unwrap()), None);
    }

    #[tokio::test(start_paused = true)]
    async fn memory_is_bounded() {
        let rates = rates("enforce");
        for bits in 0..(MAX_BUCKETS as u32 + 5_000) {
            rates.address(IpAddr::V4(bits.into()));
        }
        rates.addresses.by_key.run_pending_tasks();
        assert!(rates.addresses.by_key.entry_count() <= MAX_BUCKETS);
    }
}
