//! Cache store (a Redis that may lose data): snapshots of all instances, and invalidations.
//!
//! While it is down, it costs one short timeout per second and nothing else.

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

use super::invalidation::INVALIDATION_TTL;
use super::key::Key;
use super::snapshot::Snapshot;
use crate::read_policy::ReadPolicy;

/// After a failure the store is not used for this long.
const BACKOFF: Duration = Duration::from_secs(1);
/// Queued writes; more are dropped, because a write only saves a later upstream call.
const WRITE_QUEUE: usize = 1024;
/// Writes per round trip.
const WRITE_BATCH: usize = 64;
pub const INVALIDATION_CHANNEL: &str = "snapshots:changed";

#[derive(Clone, derive_more::Debug)]
#[debug("CacheStore")]
pub struct CacheStore {
    connection: ConnectionManager,
    writes: mpsc::Sender<Write>,
    backoff: Backoff,
}

/// What the store has for one read.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) snapshot: Option<Snapshot>,
    /// Last invalidations, of the property and of the whole tenant.
    pub(super) invalidations: Vec<(Option<PropertyId>, Timestamp)>,
}

/// Message that an upstream's data changed.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Invalidation {
    pub(super) tenant: TenantId,
    pub(super) property: Option<PropertyId>,
    pub(super) upstream: Upstream,
}

#[derive(Debug)]
enum Write {
    Snapshot { key: String, value: Vec<u8>, ttl: Duration },
    Invalidation { key: String, at: Timestamp, message: String },
}

impl Write {
    fn snapshot(policy: &ReadPolicy, key: &Key, snapshot: &Snapshot) -> Self {
        let (key, ttl) = (key.to_string(), policy.fresh + policy.stale);
        let value = serde_json::to_vec(&(&key, snapshot)).expect("a snapshot is plain JSON");
        Self::Snapshot { key, value, ttl }
    }
}

impl CacheStore {
    /// Returns the store and a future that writes to it, which ends with the store's last clone.
    pub fn new(connection: ConnectionManager) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (writes, queue) = mpsc::channel(WRITE_QUEUE);
        let backoff = Backoff::none();
        let work = write_all(connection.clone(), queue, backoff.clone());
        (Self { connection, writes, backoff }, work)
    }

    /// Reads in one round trip. Returns nothing if the store does not reply within `limit`.
    pub(super) async fn get(
        &self,
        reads: &[&(&'static ReadPolicy, Key)],
        limit: Duration,
    ) -> Vec<Found> {
        if self.backoff.is_active() {
            return Vec::new();
        }
        let mut command = redis::cmd("MGET");
        for (policy, key) in reads {
            command.arg(key.to_string());
            for property in [key.property, None] {
                command.arg(invalidation_key(key.tenant, property, policy.upstream));
            }
        }
        let mut connection = self.connection.clone();
        let reply = command.query_async::<Vec<Option<Vec<u8>>>>(&mut connection);
        let Ok(Ok(values)) = timeout(limit, reply).await else {
            self.backoff.begin();
            return Vec::new();
        };
        values.chunks_exact(3).zip(reads).map(|(values, (_, key))| found(key, values)).collect()
    }

    pub(super) fn put(&self, policy: &ReadPolicy, key: &Key, snapshot: &Snapshot) {
        let _ = self.writes.try_send(Write::snapshot(policy, key, snapshot));
    }

    /// Writes past the queue, and returns when it is written.
    pub(super) async fn put_now(
        &self,
        policy: &ReadPolicy,
        key: &Key,
        snapshot: &Snapshot,
        limit: Duration,
    ) -> redis::RedisResult<()> {
        self.run(&pipeline(&[Write::snapshot(policy, key, snapshot)]), limit).await
    }

    pub(super) async fn remove_now(&self, key: &Key, limit: Duration) -> redis::RedisResult<()> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("DEL").arg(key.to_string()).ignore();
        self.run(&pipeline, limit).await
    }

    async fn run(&self, pipeline: &redis::Pipeline, limit: Duration) -> redis::RedisResult<()> {
        let mut connection = self.connection.clone();
        let done = timeout(limit, pipeline.query_async::<()>(&mut connection)).await;
        done.unwrap_or_else(|_| Err(no_answer()))
    }

    /// Publishes an invalidation to the other instances, and stores it for later ones.
    pub(super) fn publish_invalidation(
        &self,
        tenant: TenantId,
        property: Option<PropertyId>,
        upstream: Upstream,
        at: Timestamp,
    ) {
        let message = serde_json::to_string(&Invalidation { tenant, property, upstream });
        let message = message.expect("an invalidation is plain JSON");
        let key = invalidation_key(tenant, property, Some(upstream));
        if self.writes.try_send(Write::Invalidation { key, at, message }).is_err() {
            tracing::warn!(%upstream, "Dropped an invalidation for other instances: the write queue is full.");
        }
    }
}

/// The error of a store that does not answer in time.
pub(super) fn no_answer() -> redis::RedisError {
    (redis::ErrorKind::Io, "the cache store did not answer").into()
}

/// Ignores a value that does not contain its own key.
fn found(key: &Key, values: &[Option<Vec<u8>>]) -> Found {
    let kept = values[0].as_deref().and_then(|value| serde_json::from_slice(value).ok());
    let snapshot = kept.filter(|(of, _): &(String, Snapshot)| *of == key.to_string());
    let at = |value: &Option<Vec<u8>>| {
        value.as_deref().and_then(|at| std::str::from_utf8(at).ok()?.parse().ok())
    };
    let invalidations = [key.property, None].into_iter().zip(&values[1..]);
    Found {
        snapshot: snapshot.map(|(_, snapshot)| snapshot),
        invalidations: invalidations
            .filter_map(|(property, value)| Some((property, at(value)?)))
            .collect(),
    }
}

/// Key of an upstream's last invalidation.
fn invalidation_key(
    tenant: TenantId,
    property: Option<PropertyId>,
    upstream: Option<Upstream>,
) -> String {
    let property = property.as_ref().map_or("-", PropertyId::as_str);
    let upstream = upstream.map_or("-", Upstream::name);
    format!("changed:{tenant}:{property}:{upstream}")
}

async fn write_all(
    mut connection: ConnectionManager,
    mut queue: mpsc::Receiver<Write>,
    backoff: Backoff,
) {
    let mut batch = Vec::with_capacity(WRITE_BATCH);
    while queue.recv_many(&mut batch, WRITE_BATCH).await > 0 {
        let written = pipeline(&batch).query_async::<()>(&mut connection).await;
        batch.clear();
        if written.is_err() {
            backoff.begin();
            sleep(BACKOFF).await;
        }
    }
}

/// Whether the store is paused after a failure.
#[derive(Debug, Clone)]
struct Backoff {
    origin: Instant,
    /// Milliseconds after `origin`.
    until: Arc<AtomicU64>,
}

impl Backoff {
    fn none() -> Self {
        Self { origin: Instant::now(), until: Arc::default() }
    }

    fn begin(&self) {
        counter!("bff_backoffice_cache_tier_failure_total").increment(1);
        let until = self.origin.elapsed() + BACKOFF;
        self.until.store(milliseconds(until), Ordering::Relaxed);
    }

    fn is_active(&self) -> bool {
        milliseconds(self.origin.elapsed()) < self.until.load(Ordering::Relaxed)
    }
}

fn pipeline(batch: &[Write]) -> redis::Pipeline {
    let mut pipeline = redis::pipe();
    for write in batch {
        match write {
            Write::Snapshot { key, value, ttl } => {
                pipeline.cmd("SET").arg(key).arg(value).arg("PX").arg(milliseconds(*ttl))
            }
            Write::Invalidation { key, at, message } => pipeline
                .cmd("SET")
                .arg(key)
                .arg(at.to_string())
                .arg("PX")
                .arg(milliseconds(INVALIDATION_TTL))
                .ignore()
                .cmd("PUBLISH")
                .arg(INVALIDATION_CHANNEL)
                .arg(message),
        }
        .ignore();
    }
    pipeline
}

fn milliseconds(duration: Duration) -> u64 {
    duration.as_millis() as u64
}

/// Receives invalidations until the connection ends. From `on_subscribed` on none is missed.
pub(super) async fn subscribe(
    listener: &redis::Client,
    on_subscribed: impl FnOnce(),
    mut on_invalidation: impl FnMut(Invalidation),
) -> redis::RedisResult<()> {
    let mut connection = listener.get_async_pubsub().await?;
    connection.subscribe(INVALIDATION_CHANNEL).await?;
    on_subscribed();
    let mut messages = connection.into_on_message();
    while let Some(message) = messages.next().await {
        match serde_json::from_slice(message.get_payload_bytes()) {
            Ok(message) => on_invalidation(message),
            Err(error) => tracing::warn!(%error, "Ignored an invalid invalidation message."),
        }
    }
    Ok(())
}
