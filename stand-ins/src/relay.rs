//! Carries the platform's events to those who consume them, in the Pub/Sub push form with an
//! identity token of the `events` account: at most ten deliveries with exponential backoff, in
//! order per subscriber and ordering key, then the list of dead letters.
//!
//! What waits is held in this process and lost with it; the platform's own relay reads durable streams.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use contracts::clock::{Clock, wire_time};
use contracts::event::CloudEvent;
use http::header::AUTHORIZATION;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;
use service_kit::lifecycle::Lifecycle;

use crate::config::{EVENTS_ACCOUNT, EventsConfig};
use crate::iam::Oidc;
use crate::ledger::lock;

/// Deliveries of one event (decisions, event transport).
const MOST_DELIVERIES: u32 = 10;
/// Events under way at once; more are refused.
const MOST_WAITING: usize = 10_000;
const MOST_DEAD: usize = 1_000;

/// An event that nobody took.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeadLetter {
    pub(crate) subscriber: String,
    pub(crate) deliveries: u32,
    /// What the last delivery met.
    pub(crate) last_refusal: String,
    #[serde(with = "contracts::clock::wire")]
    pub(crate) buried_at: Timestamp,
    pub(crate) event: CloudEvent,
}

#[derive(Debug, thiserror::Error)]
#[error("too many events are waiting")]
pub(crate) struct Full;

/// Subscriber and ordering key: what must arrive in order.
type Line = (String, String);

#[derive(Debug)]
pub(crate) struct Relay {
    config: EventsConfig,
    oidc: Option<Arc<Oidc>>,
    http: reqwest::Client,
    clock: Clock,
    lifecycle: Lifecycle,
    /// A line is here as long as a task works on it; its first event is under way.
    lines: Mutex<BTreeMap<Line, VecDeque<Arc<CloudEvent>>>>,
    dead: Mutex<VecDeque<DeadLetter>>,
}

impl Relay {
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
            lines: Mutex::default(),
            dead: Mutex::default(),
        }
    }

    /// Takes the event for every subscriber, or for none.
    pub(crate) fn publish(self: &Arc<Self>, event: CloudEvent) -> Result<(), Full> {
        let event = Arc::new(event);
        let mut lines = lock(&self.lines);
        let waiting: usize = lines.values().map(VecDeque::len).sum();
        if waiting + self.config.subscribers.len() > MOST_WAITING {
            return Err(Full);
        }
        for name in self.config.subscribers.keys() {
            let line = (name.clone(), event.orderingkey.clone());
            let queue = lines.entry(line.clone()).or_default();
            queue.push_back(Arc::clone(&event));
            if queue.len() == 1 {
                let relay = Arc::clone(self);
                self.lifecycle.spawn_until_stop(async move { relay.work(line).await });
            }
        }
        Ok(())
    }

    /// Oldest first.
    pub(crate) fn dead_letters(&self) -> Vec<DeadLetter> {
        lock(&self.dead).iter().cloned().collect()
    }

    /// Until the line is empty.
    async fn work(&self, line: Line) {
        while let Some(event) = self.first(&line) {
            self.carry(&line.0, &event).await;
            self.done(&line);
        }
    }

    fn first(&self, line: &Line) -> Option<Arc<CloudEvent>> {
        lock(&self.lines).get(line)?.front().cloned()
    }

    fn done(&self, line: &Line) {
        let mut lines = lock(&self.lines);
        if let Some(queue) = lines.get_mut(line) {
            queue.pop_front();
            if queue.is_empty() {
                lines.remove(line);
            }
        }
    }

    async fn carry(&self, subscriber: &str, event: &Arc<CloudEvent>) {
        let mut wait = Duration::from_millis(self.config.first_retry_ms);
        let mut refusal = String::new();
        for delivery in 1..=MOST_DELIVERIES {
            if delivery > 1 {
                tokio::time::sleep(wait).await;
                wait *= 2;
            }
            match self.push(subscriber, event, delivery).await {
                Ok(()) => return,
                Err(told) => refusal = told,
            }
        }
        self.bury(subscriber, event, refusal);
    }

    /// An answer of 2xx acknowledges.
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
        let answer = request.send().await.map_err(|error| {
            if error.is_timeout() { "no answer in time" } else { "the connection failed" }
        })?;
        if answer.status().is_success() { Ok(()) } else { Err(answer.status().to_string()) }
    }

    fn bury(&self, subscriber: &str, event: &Arc<CloudEvent>, last_refusal: String) {
        tracing::error!(subscriber, event = %event.id, last_refusal, "An event is a dead letter.");
        let mut dead = lock(&self.dead);
        if dead.len() == MOST_DEAD {
            dead.pop_front();
        }
        dead.push_back(DeadLetter {
            subscriber: subscriber.to_owned(),
            deliveries: MOST_DELIVERIES,
            last_refusal,
            buried_at: self.clock.now(),
            event: CloudEvent::clone(event),
        });
    }
}
