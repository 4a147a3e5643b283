//! The call stack every upstream call goes through, outermost first:
//!
//! 1. metrics: what the call was, how it ended, how long it took;
//! 2. concurrency limit: more calls than the upstream can serve are refused, not queued;
//! 3. breaker: an upstream that keeps failing is left alone for a moment;
//! 4. retry: idempotent calls only, within the retry budget, never past the deadline;
//! 5. attempt timeout: the upstream's cap or what remains, whichever is less;
//! 6. transport: kept connections, the answer bounded and checked against its contract.
//!
//! Dropping the call cancels it at every step.

use std::time::Duration;

use bytes::Bytes;
use contracts::problem::Problem;
use contracts::upstream::Upstream;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};
use tower::retry::budget::{Budget, TpsBudget};
use url::Url;

use crate::CallContext;
use crate::breaker::Breaker;
use crate::error::CallError;
use crate::meters::Meters;
use crate::outgoing::Ask;
use crate::transport::{Answer, Connector, Transport};

/// A retry is not started when less than this remains.
const SHORTEST_RETRY: Duration = Duration::from_millis(20);

/// What one upstream is granted (timeouts and retries of the platform facts).
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Longest single attempt.
    pub attempt: Duration,
    pub retries: u32,
    /// Calls under way at once.
    pub concurrency: usize,
    /// Bytes of an answer.
    pub body: usize,
}

impl Limits {
    pub fn of(upstream: Upstream) -> Self {
        let (attempt_ms, retries) = match upstream {
            Upstream::Iam => (600, 0),
            Upstream::Tenant => (500, 1),
            Upstream::Reservation => (800, 1),
            Upstream::Housekeeping | Upstream::Maintenance => (700, 1),
            Upstream::Lock => (1200, 0),
            _ => (600, 1),
        };
        Self {
            attempt: Duration::from_millis(attempt_ms),
            retries,
            concurrency: 256,
            body: 1024 * 1024,
        }
    }
}

/// A call with a body: it may change something.
#[derive(Debug, Clone)]
pub struct Call<'a> {
    pub path: &'a str,
    /// JSON.
    pub body: Bytes,
    /// With one, the upstream does the thing once however often it is asked, so a retry is allowed.
    pub idempotency_key: Option<&'a str>,
}

/// An answer as it came, and as its contract reads it.
#[derive(Debug)]
pub struct Reply<T> {
    pub status: u16,
    pub body: Bytes,
    pub value: T,
}

/// The way to one upstream.
#[derive(Debug)]
pub struct CallStack {
    upstream: Upstream,
    limits: Limits,
    permits: Semaphore,
    breaker: Breaker,
    retry_budget: TpsBudget,
    transport: Transport,
    meters: Meters,
}

impl CallStack {
    pub fn new(upstream: Upstream, base: Url, connector: Connector, limits: Limits) -> Self {
        Self {
            upstream,
            limits,
            permits: Semaphore::new(limits.concurrency),
            breaker: Breaker::new(),
            // One retry for ten calls over ten seconds, and one a second for a quiet upstream.
            retry_budget: TpsBudget::new(Duration::from_secs(10), 1, 0.1),
            transport: Transport::new(base, connector),
            meters: Meters::new(upstream.name()),
        }
    }

    /// `GET path?query`, its answer read as `T`.
    pub async fn get<T, Q>(
        &self,
        context: &CallContext,
        path: &str,
        query: &Q,
    ) -> Result<T, CallError>
    where
        T: DeserializeOwned,
        Q: Serialize + ?Sized,
    {
        let ask = Ask::get(&self.transport, path, query);
        Ok(self.call(context, &ask, self.limits.retries).await?.value)
    }

    /// `POST path`, its answer read as `T`; an empty one is read as `null`.
    pub async fn post<T: DeserializeOwned>(
        &self,
        context: &CallContext,
        call: &Call<'_>,
    ) -> Result<Reply<T>, CallError> {
        let retries = if call.idempotency_key.is_some() { self.limits.retries } else { 0 };
        let ask = Ask::post(&self.transport, call, retries > 0);
        self.call(context, &ask, retries).await
    }

    async fn call<T: DeserializeOwned>(
        &self,
        context: &CallContext,
        ask: &Ask<'_>,
        retries: u32,
    ) -> Result<Reply<T>, CallError> {
        let started = Instant::now();
        let outcome =
            self.limited(context, ask, retries).await.and_then(|Answer { status, body }| {
                let value = self.parse(if body.is_empty() { b"null" } else { &body })?;
                Ok(Reply { status: status.as_u16(), body, value })
            });
        self.record(started, outcome.as_ref().err());
        outcome
    }

    async fn limited(
        &self,
        context: &CallContext,
        ask: &Ask<'_>,
        retries: u32,
    ) -> Result<Answer, CallError> {
        let _permit = self.permits.try_acquire().map_err(|_| CallError::ConcurrencyLimit)?;
        if !self.breaker.admit() {
            return Err(CallError::BreakerOpen);
        }
        let outcome = self.with_retries(context, ask, retries).await;
        match &outcome {
            Err(error) if error.counts_against() => self.breaker.failed(),
            _ => self.breaker.succeeded(),
        }
        outcome
    }

    async fn with_retries(
        &self,
        context: &CallContext,
        ask: &Ask<'_>,
        retries: u32,
    ) -> Result<Answer, CallError> {
        self.retry_budget.deposit();
        let mut left = retries;
        loop {
            let outcome = self.attempt(context, ask).await;
            let Err(error) = &outcome else { return outcome };
            let in_time =
                context.deadline.saturating_duration_since(Instant::now()) > SHORTEST_RETRY;
            if left == 0 || !in_time || !error.is_worth_a_retry() || !self.retry_budget.withdraw() {
                return outcome;
            }
            left -= 1;
            self.meters.retried();
        }
    }

    async fn attempt(&self, context: &CallContext, ask: &Ask<'_>) -> Result<Answer, CallError> {
        let now = Instant::now();
        let deadline = context.deadline.min(now + self.limits.attempt);
        let left = deadline.saturating_duration_since(now);
        timeout_at(deadline, self.transport(context, ask, left))
            .await
            .map_err(|_| CallError::Timeout)?
    }

    async fn transport(
        &self,
        context: &CallContext,
        ask: &Ask<'_>,
        left: Duration,
    ) -> Result<Answer, CallError> {
        let limit = self.limits.body;
        let request = || ask.request(self.upstream, context, left);
        let answer = self.transport.exchange(request, ask.is_repeatable(), limit).await;
        let answer = answer.map_err(|failure| CallError::of(failure, limit))?;
        if answer.status.is_success() {
            return Ok(answer);
        }
        let problem = serde_json::from_slice::<Problem>(&answer.body).ok().map(Box::new);
        Err(CallError::Status { status: answer.status.as_u16(), problem })
    }

    /// UTF-8 is checked once for the whole, not for each string. The path to what is wrong is
    /// looked for only when something is: that costs a second reading.
    fn parse<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, CallError> {
        let value = std::str::from_utf8(body).ok().and_then(|text| serde_json::from_str(text).ok());
        value.ok_or_else(|| self.drift::<T>(body))
    }

    fn drift<T: DeserializeOwned>(&self, body: &[u8]) -> CallError {
        let mut json = serde_json::Deserializer::from_slice(body);
        let found = serde_path_to_error::deserialize::<_, T>(&mut json);
        let path = found.err().map_or_else(|| ".".to_owned(), |error| error.path().to_string());
        self.meters.drifted();
        tracing::error!(upstream = %self.upstream, %path, "An upstream broke its contract.");
        CallError::SchemaDrift { path }
    }

    fn record(&self, started: Instant, error: Option<&CallError>) {
        self.meters.ended(error.map(CallError::reason), started.elapsed(), self.breaker.level());
        if let Some(error) = error {
            tracing::debug!(upstream = self.upstream.name(), %error, "An upstream call failed.");
        }
    }
}
