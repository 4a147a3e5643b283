//! Pushes events to their subscribers in the Pub/Sub push format, with an identity token of the
//! `events` account: in order per subscriber and ordering key, at most ten deliveries with exponential
//! backoff, then to the dead letters.
//!
//! Not here: durability. Queued events are lost with the process.

use std::collections::VecDeque;
use std::collections::btree_map::{BTreeMap, Entry};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use contracts::clock::{Clock, wire, wire_time};
use contracts::event::CloudEvent;
use http::header::AUTHORIZATION;
use parking_lot::Mutex;
use serde::Serialize;
use serde_json::json;
use service_kit::lifecycle::Lifecycle;

use crate::config::{EVENTS_ACCOUNT, EventsConfig};
use crate::oidc::Oidc;

/// Deliveries of one event before it becomes a dead letter.
const MAX_DELIVERIES: u32 = 10;
/// Events queued at once; more are refused.
const MAX_QUEUED_EVENTS: usize = 10_000;
const MAX_DEAD_LETTERS: usize = 1_000;

/// An event whose deliveries all failed.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeadLetter {
    pub(crate) subscriber: String,
    pub(crate) deliveries: u32,
    /// Why the last delivery failed.
    pub(crate) last_refusal: String,
    pub(crate) buried_at: wire::Timestamp,
    pub(crate) event: CloudEvent,
}

#[derive(Debug, thiserror::Error)]
#[error("too many events are waiting")]
pub(crate) struct QueueFull;

/// Subscriber and ordering key: events of one queue are delivered in order.
type QueueKey = (String, String);

#[derive(Debug)]
pub(crate) struct EventDispatcher {
    config: EventsConfig,
    oidc: Option<Arc<Oidc>>,
    http: reqwest::Client,
    clock: Clock,
    lifecycle: Lifecycle,
    /// A queue exists while a task drains it; its first event is being delivered.
    queues: Mutex<BTreeMap<QueueKey, VecDeque<Arc<CloudEvent>>>>,
    dead_letters: Mutex<VecDeque<DeadLetter>>,
}

impl EventDispatcher {
    pub(crate) fn new(
        config: EventsConfig,
        oidc: Option<Arc<Oidc>>,
        clock: Clock,
        lifecycle: Lifecycle,
    ) -> Self {
        let http = service_kit::http_client::short_requests();
        Self {
            config,
            oidc,
            http,
            clock,
            lifecycle,
            queues: Mutex::default(),
            dead_letters: Mutex::default(),
        }
    }

    /// Queues the event for every subscriber, or for none when the queues are full.
    pub(crate) fn publish(self: &Arc<Self>, event: CloudEvent) -> Result<(), QueueFull> {
        let event = Arc::new(event);
        let mut queues = self.queues.lock();
        let waiting: usize = queues.values().map(VecDeque::len).sum();
        if waiting + self.config.subscribers.len() > MAX_QUEUED_EVENTS {
            return Err(QueueFull);
        }
        for name in self.config.subscribers.keys() {
            let key = (name.clone(), event.orderingkey.clone());
            let queue = queues.entry(key.clone()).or_default();
            queue.push_back(Arc::clone(&event));
            if queue.len() == 1 {
                let dispatcher = Arc::clone(self);
                self.lifecycle.spawn_until_stop(async move { dispatcher.drain(key).await });
            }
        }
        Ok(())
    }

    /// The dead letters, oldest first.
    pub(crate) fn dead_letters(&self) -> Vec<DeadLetter> {
        self.dead_letters.lock().iter().cloned().collect()
    }

    /// Delivers the events of a queue until it is empty.
    async fn drain(&self, key: QueueKey) {
        let first = || self.queues.lock().get(&key)?.front().cloned();
        while let Some(event) = first() {
            self.deliver(&key.0, &event).await;
            let mut queues = self.queues.lock();
            if let Entry::Occupied(mut queue) = queues.entry(key.clone()) {
                queue.get_mut().pop_front();
                if queue.get().is_empty() {
                    queue.remove();
                }
            }
        }
    }

    async fn deliver(&self, subscriber: &str, event: &Arc<CloudEvent>) {
        let mut wait = Duration::from_millis(self.config.first_retry_ms);
        let mut refusal = String::new();
        for delivery in 1..=MAX_DELIVERIES {
            if delivery > 1 {
                tokio::time::sleep(wait).await;
                wait *= 2;
            }
            match self.push(subscriber, event, delivery).await {
                Ok(()) => return,
                Err(reason) => refusal = reason,
            }
        }
        self.give_up(subscriber, event, refusal);
    }

    /// Makes one delivery; a 2xx response acknowledges it.
    async fn push(
        &self,
        subscriber: &str,
        event: &CloudEvent,
        delivery: u32,
    ) -> Result<(), String> {
        let target = &self.config.subscribers[subscriber];
        let oidc = self.oidc.as_ref().ok_or("the events account is not configured")?;
        let bearer = format!("Bearer {}", oidc.token(EVENTS_ACCOUNT, &target.audience));
        let data = serde_json::to_vec(event).map_err(|error| error.to_string())?;
        let push = json!({
            "message": {
                "data": STANDARD.encode(data),
                "messageId": event.id,
                "publishTime": wire_time(self.clock.now()),
                "orderingKey": event.orderingkey,
            },
            "subscription": format!("projects/local/subscriptions/{subscriber}"),
            "deliveryAttempt": delivery,
        });
        let request = self.http.post(&target.url).header(AUTHORIZATION, bearer).json(&push);
        let response = request.send().await.map_err(|error| {
            if error.is_timeout() { "no response in time" } else { "the connection failed" }
        })?;
        if response.status().is_success() { Ok(()) } else { Err(response.status().to_string()) }
    }

    fn give_up(&self, subscriber: &str, event: &Arc<CloudEvent>, last_refusal: String) {
        tracing::error!(subscriber, event = %event.id, last_refusal, "Event delivery failed for good. The event is now a dead letter.");
        let mut dead_letters = self.dead_letters.lock();
        if dead_letters.len() == MAX_DEAD_LETTERS {
            dead_letters.pop_front();
        }
        dead_letters.push_back(DeadLetter {
            subscriber: subscriber.to_owned(),
            deliveries: MAX_DELIVERIES,
            last_refusal,
            buried_at: self.clock.now().into(),
            event: CloudEvent::clone(event),
        });
    }
}
