//! Which device has which stream: one at a time, on all instances together. A newer stream
//! supersedes the older, and a device opens at most ten a minute.
//!
//! The session tier numbers the streams of a device with growing generations and keeps the latest
//! under a lease. An instance ends the streams that a later generation supersedes: at once when it
//! is told, and with the next renewal of the lease when the message was lost. Everything that ends
//! names its generation, so that the end of an old stream never removes its successor.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use contracts::id::{DeviceId, TenantId};
use futures_util::StreamExt;
use metrics::counter;
use redis::aio::ConnectionManager;
use redis::{RedisResult, Script};
use service_kit::lifecycle::Lifecycle;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

/// Streams a device may open within [`WINDOW`].
const OPENS: u32 = 10;
const WINDOW: Duration = Duration::from_secs(60);
/// A stream whose instance died is forgotten after this; renewals are three times as frequent.
const LEASE: Duration = Duration::from_secs(45);
/// A tier that does not answer sooner is treated as absent.
const TIER_WITHIN: Duration = Duration::from_secs(1);
/// Between two attempts to hear of other instances' streams.
const LISTEN_AGAIN: Duration = Duration::from_secs(1);
const CHANNEL: &str = "bff:streams:opened";

/// KEYS 1 the device's generation, 2 its opens; ARGV 1 opens allowed, 2 ms they are counted, 3 ms of
/// the lease, 4 the channel, 5 tenant and device. Gives {1, generation}, or {0, ms to wait}. A
/// generation is the tier's clock in microseconds, so that it also grows when the tier forgot.
const OPEN: &str = r"
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
const RENEW: &str = r"
local held = redis.call('GET', KEYS[1])
if held and tonumber(held) > tonumber(ARGV[1]) then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
";

/// KEYS 1 the device's generation; ARGV 1 the generation that ends.
const CLOSE: &str = r"
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

/// Why no stream is opened.
#[derive(Debug, thiserror::Error)]
pub enum NotOpened {
    #[error("the device has opened {OPENS} streams within a minute")]
    TooMany { wait: Duration },
    #[error("the session tier is away")]
    Tier(#[source] TierError),
}

#[derive(Debug, thiserror::Error)]
pub enum TierError {
    #[error(transparent)]
    Redis(#[from] redis::RedisError),
    #[error("no answer within {} ms", TIER_WITHIN.as_millis())]
    Timeout,
}

/// The streams of this instance, and the way to those of the others.
#[derive(Clone)]
pub struct Streams(Arc<Inner>);

struct Inner {
    tier: ConnectionManager,
    open: Mutex<HashMap<Device, Open>>,
}

#[derive(Debug, Clone)]
struct Open {
    generation: Generation,
    superseded: CancellationToken,
}

impl std::fmt::Debug for Streams {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Streams").field("open", &self.len()).finish_non_exhaustive()
    }
}

impl Streams {
    pub fn new(tier: ConnectionManager) -> Self {
        Self(Arc::new(Inner { tier, open: Mutex::default() }))
    }

    /// Streams that this instance has open.
    pub fn len(&self) -> usize {
        self.with(|open| open.len())
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Registers the device's newest stream. The older one, wherever it is, ends.
    pub async fn open(&self, device: Device) -> Result<Registration, NotOpened> {
        let generation = self.next_generation(device).await?;
        let superseded = self.register(device, generation);
        let registration = Registration { streams: self.clone(), device, generation, superseded };
        // A later stream may have been announced before this one was registered here.
        registration.renew().await;
        Ok(registration)
    }

    async fn next_generation(&self, device: Device) -> Result<Generation, NotOpened> {
        let script = Script::new(OPEN);
        let mut call = script.key(device.generation_key());
        call.key(device.opens_key()).arg(OPENS).arg(milliseconds(WINDOW));
        call.arg(milliseconds(LEASE)).arg(CHANNEL);
        call.arg(format!("{} {}", device.tenant, device.device));
        let mut tier = self.0.tier.clone();
        let answer = within(call.invoke_async(&mut tier)).await;
        match answer.map_err(NotOpened::Tier)? {
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
        change(&mut self.0.open.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Hears of the streams of other instances until the program stops.
    pub fn follow(&self, listener: redis::Client, lifecycle: &Lifecycle) {
        let streams = self.clone();
        lifecycle.spawn_until_stop(async move {
            let mut tick = interval(LISTEN_AGAIN);
            tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tick.tick().await;
                if let Err(error) = streams.listen(&listener).await {
                    tracing::debug!(%error, "Other instances' streams are noticed with the next renewal only.");
                }
            }
        });
    }

    /// Returns when the connection ends.
    async fn listen(&self, listener: &redis::Client) -> RedisResult<()> {
        let mut connection = listener.get_async_pubsub().await?;
        connection.subscribe(CHANNEL).await?;
        let mut messages = connection.into_on_message();
        while let Some(message) = messages.next().await {
            let payload = message.get_payload::<String>().ok();
            if let Some((device, generation)) = payload.as_deref().and_then(opened) {
                self.supersede(device, generation);
            } else {
                tracing::warn!("A message about an opened stream cannot be read.");
            }
        }
        Ok(())
    }
}

/// `<tenant> <device> <generation>`
fn opened(message: &str) -> Option<(Device, Generation)> {
    let mut parts = message.split(' ');
    let device =
        Device { tenant: parts.next()?.parse().ok()?, device: parts.next()?.parse().ok()? };
    Some((device, parts.next()?.parse().ok()?))
}

/// A stream's place. Dropping it frees the place in this instance, [`close`](Self::close) in the
/// session tier too; neither touches a successor.
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

    /// Keeps the lease, or learns that a later stream has it. While the tier is away nothing changes.
    pub async fn renew(&self) {
        let script = Script::new(RENEW);
        let mut call = script.key(self.device.generation_key());
        call.arg(self.generation).arg(milliseconds(LEASE));
        let mut tier = self.streams.0.tier.clone();
        match within::<i64>(call.invoke_async(&mut tier)).await {
            Ok(0) => self.superseded.cancel(),
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, "The lease of a stream was not renewed."),
        }
    }

    pub async fn close(self) {
        let script = Script::new(CLOSE);
        let mut call = script.key(self.device.generation_key());
        call.arg(self.generation);
        let mut tier = self.streams.0.tier.clone();
        if let Err(error) = within::<i64>(call.invoke_async(&mut tier)).await {
            tracing::debug!(%error, "The lease of a stream runs out by itself.");
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

async fn within<T>(answer: impl Future<Output = RedisResult<T>>) -> Result<T, TierError> {
    Ok(timeout(TIER_WITHIN, answer).await.map_err(|_| TierError::Timeout)??)
}
