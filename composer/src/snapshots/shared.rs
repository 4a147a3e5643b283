//! The cache tier (Redis that may forget): what other instances read, and what they know to have
//! changed. Away, it costs one short wait a second and nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use contracts::id::{PropertyId, TenantId};
use contracts::upstream::Upstream;
use futures_util::StreamExt;
use jiff::Timestamp;
use metrics::counter;
use redis::aio::ConnectionManager;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use super::{Key, Rule, Snapshot, marks};

/// After a failure the tier is left alone for so long.
const REST: Duration = Duration::from_secs(1);
/// Writes that may wait; past that they are dropped, because they only save a question.
const WAITING: usize = 1024;
/// Writes in one round trip.
const AT_ONCE: usize = 64;
const CHANNEL: &str = "snapshots:changed";

#[derive(Clone)]
pub struct SharedTier {
    tier: ConnectionManager,
    writes: mpsc::Sender<Write>,
    rest: Rest,
}

impl std::fmt::Debug for SharedTier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SharedTier")
    }
}

/// What the tier has of one read.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) snapshot: Option<Snapshot>,
    /// When what it shows last changed, in the property and in the whole tenant.
    pub(super) changes: Vec<(Option<PropertyId>, Timestamp)>,
}

/// Something changed.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct News {
    pub(super) tenant: TenantId,
    pub(super) property: Option<PropertyId>,
    pub(super) upstream: Upstream,
}

#[derive(Debug)]
enum Write {
    Snapshot { key: String, value: Vec<u8>, keep: Duration },
    Change { key: String, at: Timestamp, news: String },
}

impl SharedTier {
    /// The tier, and the work of writing to it, which ends with the last clone of the tier.
    pub fn new(tier: ConnectionManager) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (writes, waiting) = mpsc::channel(WAITING);
        let rest = Rest::none();
        let work = write_all(tier.clone(), waiting, rest.clone());
        (Self { tier, writes, rest }, work)
    }

    /// One round trip; nothing when the tier does not answer in this time.
    pub(super) async fn get(
        &self,
        reads: &[&(&'static Rule, Key)],
        within: Duration,
    ) -> Vec<Found> {
        if self.rest.is_on() {
            return Vec::new();
        }
        let mut asking = redis::cmd("MGET");
        for (rule, key) in reads {
            asking.arg(key.to_string());
            for property in [key.property, None] {
                asking.arg(place(key.tenant, property, rule.upstream));
            }
        }
        let mut tier = self.tier.clone();
        let answer = asking.query_async::<Vec<Option<Vec<u8>>>>(&mut tier);
        let Ok(Ok(values)) = timeout(within, answer).await else {
            self.rest.begin();
            return Vec::new();
        };
        values.chunks_exact(3).zip(reads).map(|(values, (_, key))| found(key, values)).collect()
    }

    pub(super) fn put(&self, rule: &Rule, key: &Key, snapshot: &Snapshot) {
        let (key, keep) = (key.to_string(), rule.fresh + rule.stale);
        let value = serde_json::to_vec(&(&key, snapshot)).expect("a snapshot is plain JSON");
        let _ = self.writes.try_send(Write::Snapshot { key, value, keep });
    }

    /// Tells the other instances, and those that start later.
    pub(super) fn tell(
        &self,
        tenant: TenantId,
        property: Option<PropertyId>,
        upstream: Upstream,
        at: Timestamp,
    ) {
        let news = serde_json::to_string(&News { tenant, property, upstream });
        let news = news.expect("news are plain JSON");
        let key = place(tenant, property, Some(upstream));
        if self.writes.try_send(Write::Change { key, at, news }).is_err() {
            tracing::warn!(%upstream, "Other instances do not hear of a change: too many writes wait.");
        }
    }
}

/// A value that does not name its own key is not believed.
fn found(key: &Key, values: &[Option<Vec<u8>>]) -> Found {
    let kept = values[0].as_deref().and_then(|value| serde_json::from_slice(value).ok());
    let snapshot = kept.filter(|(of, _): &(String, Snapshot)| *of == key.to_string());
    let at = |value: &Option<Vec<u8>>| {
        value.as_deref().and_then(|at| std::str::from_utf8(at).ok()?.parse().ok())
    };
    let changes = [key.property, None].into_iter().zip(&values[1..]);
    Found {
        snapshot: snapshot.map(|(_, snapshot)| snapshot),
        changes: changes.filter_map(|(property, value)| Some((property, at(value)?))).collect(),
    }
}

/// Where the instant of a change stands.
fn place(tenant: TenantId, property: Option<PropertyId>, upstream: Option<Upstream>) -> String {
    let property = property.as_ref().map_or("-", PropertyId::as_str);
    let upstream = upstream.map_or("-", Upstream::name);
    format!("changed:{tenant}:{property}:{upstream}")
}

async fn write_all(mut tier: ConnectionManager, mut waiting: mpsc::Receiver<Write>, rest: Rest) {
    let mut batch = Vec::with_capacity(AT_ONCE);
    while waiting.recv_many(&mut batch, AT_ONCE).await > 0 {
        let written = pipeline(&batch).query_async::<()>(&mut tier).await;
        batch.clear();
        if written.is_err() {
            rest.begin();
            sleep(REST).await;
        }
    }
}

/// Whether the tier is left alone because it failed just now.
#[derive(Debug, Clone)]
struct Rest {
    origin: Instant,
    /// Milliseconds after `origin`.
    until: Arc<AtomicU64>,
}

impl Rest {
    fn none() -> Self {
        Self { origin: Instant::now(), until: Arc::default() }
    }

    fn begin(&self) {
        counter!("bff_backoffice_cache_tier_failure_total").increment(1);
        let until = self.origin.elapsed() + REST;
        self.until.store(milliseconds(until), Ordering::Relaxed);
    }

    fn is_on(&self) -> bool {
        milliseconds(self.origin.elapsed()) < self.until.load(Ordering::Relaxed)
    }
}

fn pipeline(batch: &[Write]) -> redis::Pipeline {
    let mut pipeline = redis::pipe();
    for write in batch {
        match write {
            Write::Snapshot { key, value, keep } => {
                pipeline.cmd("SET").arg(key).arg(value).arg("PX").arg(milliseconds(*keep))
            }
            Write::Change { key, at, news } => pipeline
                .cmd("SET")
                .arg(key)
                .arg(at.to_string())
                .arg("PX")
                .arg(milliseconds(marks::KEPT))
                .ignore()
                .cmd("PUBLISH")
                .arg(CHANNEL)
                .arg(news),
        }
        .ignore();
    }
    pipeline
}

fn milliseconds(duration: Duration) -> u64 {
    duration.as_millis() as u64
}

/// Returns when the connection ends. `begun` is called once nothing can be missed any more.
pub(super) async fn listen(
    listener: &redis::Client,
    begun: impl FnOnce(),
    mut heard: impl FnMut(News),
) -> redis::RedisResult<()> {
    let mut connection = listener.get_async_pubsub().await?;
    connection.subscribe(CHANNEL).await?;
    begun();
    let mut messages = connection.into_on_message();
    while let Some(message) = messages.next().await {
        match serde_json::from_slice(message.get_payload_bytes()) {
            Ok(news) => heard(news),
            Err(error) => tracing::warn!(%error, "News of a change cannot be read."),
        }
    }
    Ok(())
}
