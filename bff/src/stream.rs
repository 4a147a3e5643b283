//! Registry of event streams: a device has one stream across all instances. A newer stream
//! supersedes the older, and a device opens at most ten a minute.
//!
//! The session store assigns increasing generations to a device's streams and keeps the latest
//! under a lease. An instance ends a superseded stream at once when notified, else at the next
//! lease renewal. Every removal names its generation, so that the end of an old stream never
//! removes its successor.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use contracts::id::{DeviceId, TenantId};
use metrics::counter;
use parking_lot::Mutex;
use redis::aio::ConnectionManager;
use redis::{Msg, Script};
use service_kit::background::TaskDriver;
use tokio_util::sync::CancellationToken;

use crate::background::subscription::Subscription;
use crate::sessions::session_store::{self, StoreError};

/// Streams a device may open within [`OPENS_WINDOW`].
const MAX_OPENS: u32 = 10;
const OPENS_WINDOW: Duration = Duration::from_secs(60);
/// A stream of a crashed instance expires after this; renewals are three times as frequent.
const LEASE_TTL: Duration = Duration::from_secs(45);
/// Longest wait for an answer of the session store.
const STORE_TIMEOUT: Duration = Duration::from_secs(1);
const CHANNEL: &str = "bff:streams:opened";

/// KEYS 1 the device's generation, 2 its opens; ARGV 1 opens allowed, 2 ms they are counted, 3 ms
/// of the lease, 4 the channel, 5 tenant and device. Gives {1, generation}, or {0, ms to wait}. A
/// generation is the session store's clock in microseconds, so that it also grows when the session
/// store forgot.
const OPEN_SCRIPT: &str = r"
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local window = ARGV[2] * 1000
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', string.format('%.0f', now - window))
if redis.call('ZCARD', KEYS[2]) >= tonumber(ARGV[1]) then
  local oldest = redis.call('ZRANGE', KEYS[2], 0, 0, 'WITHSCORES')
  return {0, math.ceil((oldest[2] + window - now) / 1000)}
end
local generation = math.max(now, (redis.call('GET', KEYS[1]) or 0) + 1)
local text = string.format('%.0f', generation)
redis.call('ZADD', KEYS[2], string.format('%.0f', now), text)
redis.call('PEXPIRE', KEYS[2], ARGV[2])
redis.call('SET', KEYS[1], text, 'PX', ARGV[3])
redis.call('PUBLISH', ARGV[4], ARGV[5] .. ' ' .. text)
return {1, generation}
";

/// KEYS 1 the device's generation; ARGV 1 a stream's generation, 2 ms of the lease. Gives 0 when a
/// later stream has the lease.
const RENEW_SCRIPT: &str = r"
local held = redis.call('GET', KEYS[1])
if held and tonumber(held) > tonumber(ARGV[1]) then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
";

/// KEYS 1 the device's generation; ARGV 1 the generation that ends.
const CLOSE_SCRIPT: &str = r"
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
";

type Generation = u64;

/// A device of a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Device {
    pub tenant: TenantId,
    pub device: DeviceId,
}

impl Device {
    fn generation_key(&self) -> String {
        format!("bff:stream:{{{}:{}}}", self.tenant, self.device)
    }

    fn opens_key(&self) -> String {
        format!("bff:stream:{{{}:{}}}:opens", self.tenant, self.device)
    }
}

/// Why a stream was not opened.
#[derive(Debug, thiserror::Error)]
pub enum NotOpened {
    #[error("the device has opened {MAX_OPENS} streams within a minute")]
    TooMany { wait: Duration },
    #[error("the session store is unavailable")]
    Store(#[source] StoreError),
}

/// The streams of this instance.
#[derive(Clone, derive_more::Debug)]
#[debug("Streams {{ open: {:?}, .. }}", self.len())]
pub struct Streams(Arc<Inner>);

struct Inner {
    redis: ConnectionManager,
    open: Mutex<HashMap<Device, Open>>,
}

#[derive(Debug, Clone)]
struct Open {
    generation: Generation,
    superseded: CancellationToken,
}

impl Streams {
    pub fn new(redis: ConnectionManager) -> Self {
        Self(Arc::new(Inner { redis, open: Mutex::default() }))
    }

    /// Number of open streams of this instance.
    pub fn len(&self) -> usize {
        self.with(|open| open.len())
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Registers the device's newest stream and ends the older one on any instance.
    pub async fn open(&self, device: Device) -> Result<Registration, NotOpened> {
        let generation = self.next_generation(device).await?;
        let superseded = self.register(device, generation);
        let registration = Registration { streams: self.clone(), device, generation, superseded };
        // A later stream may have been announced before this one was registered here.
        registration.renew().await;
        Ok(registration)
    }

    async fn next_generation(&self, device: Device) -> Result<Generation, NotOpened> {
        let script = Script::new(OPEN_SCRIPT);
        let mut call = script.key(device.generation_key());
        call.key(device.opens_key()).arg(MAX_OPENS).arg(milliseconds(OPENS_WINDOW));
        call.arg(milliseconds(LEASE_TTL)).arg(CHANNEL);
        call.arg(format!("{} {}", device.tenant, device.device));
        let answer = session_store::run(&call, &self.0.redis, STORE_TIMEOUT).await;
        match answer.map_err(NotOpened::Store)? {
            (1, generation) => Ok(generation),
            (_, wait) => {
                counter!("bff_backoffice_sse_open_refused_total").increment(1);
                Err(NotOpened::TooMany { wait: Duration::from_millis(wait) })
            }
        }
    }

    /// The token is cancelled when a later stream of the device is known.
    fn register(&self, device: Device, generation: Generation) -> CancellationToken {
        let superseded = CancellationToken::new();
        let newer = Open { generation, superseded: superseded.clone() };
        self.with(|open| match open.get(&device) {
            Some(other) if other.generation > generation => newer.superseded.cancel(),
            _ => {
                if let Some(older) = open.insert(device, newer) {
                    older.superseded.cancel();
                }
            }
        });
        superseded
    }

    /// Ends a stream of this instance that is older than `generation`.
    fn supersede(&self, device: Device, generation: Generation) {
        self.with(|open| {
            if open.get(&device).is_some_and(|known| known.generation < generation)
                && let Some(older) = open.remove(&device)
            {
                older.superseded.cancel();
            }
        });
    }

    fn remove(&self, device: Device, generation: Generation) {
        self.with(|open| {
            if open.get(&device).is_some_and(|known| known.generation == generation) {
                open.remove(&device);
            }
        });
    }

    fn with<T>(&self, change: impl FnOnce(&mut HashMap<Device, Open>) -> T) -> T {
        change(&mut self.0.open.lock())
    }

    /// Follows the streams of other instances until shutdown. A missed message is made up for by the next
    /// lease renewal.
    pub fn follow(&self, client: redis::Client, driver: &TaskDriver) {
        let streams = self.clone();
        let on_message = move |message| streams.receive(&message);
        Subscription { channel: CHANNEL, client, on_message }.start(driver);
    }

    fn receive(&self, message: &Msg) {
        let payload = message.get_payload::<String>().ok();
        if let Some((device, generation)) = payload.as_deref().and_then(parse_opened) {
            self.supersede(device, generation);
        } else {
            tracing::warn!("A message about an opened stream cannot be read.");
        }
    }
}

/// `<tenant> <device> <generation>`
fn parse_opened(message: &str) -> Option<(Device, Generation)> {
    let mut parts = message.split(' ');
    let device =
        Device { tenant: parts.next()?.parse().ok()?, device: parts.next()?.parse().ok()? };
    Some((device, parts.next()?.parse().ok()?))
}

/// Registration of a stream. Dropping it removes it from this instance, [`close`](Self::close) also
/// from the session store; neither affects a successor.
#[derive(Debug)]
pub struct Registration {
    streams: Streams,
    device: Device,
    generation: Generation,
    superseded: CancellationToken,
}

impl Registration {
    /// Resolves when a later stream of the device is known.
    pub async fn superseded(&self) {
        self.superseded.cancelled().await;
    }

    /// Renews the lease, or notices that a later stream has it. While the store is unavailable
    /// nothing changes.
    pub async fn renew(&self) {
        let script = Script::new(RENEW_SCRIPT);
        let mut call = script.key(self.device.generation_key());
        call.arg(self.generation).arg(milliseconds(LEASE_TTL));
        match session_store::run::<i64>(&call, &self.streams.0.redis, STORE_TIMEOUT).await {
            Ok(0) => self.superseded.cancel(),
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, "The lease of a stream was not renewed."),
        }
    }

    pub async fn close(self) {
        let script = Script::new(CLOSE_SCRIPT);
        let mut call = script.key(self.device.generation_key());
        call.arg(self.generation);
        let closed = session_store::run::<i64>(&call, &self.streams.0.redis, STORE_TIMEOUT).await;
        if let Err(error) = closed {
            tracing::debug!(%error, "Failed to release a stream's lease; it expires by itself.");
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.streams.remove(self.device, self.generation);
    }
}

fn milliseconds(duration: Duration) -> u64 {
    duration.as_millis() as u64
}
