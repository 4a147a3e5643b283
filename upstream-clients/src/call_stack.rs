//! The call stack every upstream call goes through, outermost first:
//!
//! 1. metrics: what the call was, how it ended, how long it took;
//! 2. concurrency limit: more calls than the upstream can serve are refused, not queued;
//! 3. breaker: an upstream that keeps failing is left alone for a moment;
//! 4. retry: idempotent calls only, within the retry budget, never past the deadline;
//! 5. attempt timeout: the upstream's cap or what remains, whichever is less;
//! 6. transport: one pooled HTTP client, the answer bounded and checked against its contract.
//!
//! Dropping the call cancels it at every step.

use std::time::Duration;

use bytes::Bytes;
use contracts::problem::Problem;
use contracts::upstream::Upstream;
use contracts::{deadline, headers};
use futures_util::StreamExt;
use http::header::CONTENT_TYPE;
use metrics::{counter, gauge, histogram};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};
use tower::retry::budget::{Budget, TpsBudget};
use url::Url;

use crate::CallContext;
use crate::breaker::Breaker;
use crate::error::CallError;

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

struct Raw {
    status: u16,
    body: Vec<u8>,
}

/// The way to one upstream.
#[derive(Debug)]
pub struct CallStack {
    upstream: Upstream,
    base: Url,
    client: reqwest::Client,
    limits: Limits,
    permits: Semaphore,
    breaker: Breaker,
    retry_budget: TpsBudget,
}

impl CallStack {
    pub fn new(upstream: Upstream, base: Url, client: reqwest::Client, limits: Limits) -> Self {
        Self {
            upstream,
            base,
            client,
            limits,
            permits: Semaphore::new(limits.concurrency),
            breaker: Breaker::new(),
            // One retry for ten calls over ten seconds, and one a second for a quiet upstream.
            retry_budget: TpsBudget::new(Duration::from_secs(10), 1, 0.1),
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
        let mut url = self.base.clone();
        url.set_path(path);
        let request = self.client.get(url).query(query).build()?;
        let reply = self.call(context, &request, self.limits.retries).await?;
        Ok(reply.value)
    }

    /// `POST path`, its answer read as `T`; an empty one is read as `null`.
    pub async fn post<T: DeserializeOwned>(
        &self,
        context: &CallContext,
        call: &Call<'_>,
    ) -> Result<Reply<T>, CallError> {
        let mut url = self.base.clone();
        url.set_path(call.path);
        let request = self.client.post(url).header(CONTENT_TYPE, "application/json");
        let request = request.body(call.body.clone());
        let request = match call.idempotency_key {
            Some(key) => request.header(headers::IDEMPOTENCY_KEY, key),
            None => request,
        };
        let retries = if call.idempotency_key.is_some() { self.limits.retries } else { 0 };
        self.call(context, &request.build()?, retries).await
    }

    async fn call<T: DeserializeOwned>(
        &self,
        context: &CallContext,
        request: &reqwest::Request,
        retries: u32,
    ) -> Result<Reply<T>, CallError> {
        let started = Instant::now();
        let outcome = self.limited(context, request, retries).await.and_then(|raw| {
            let value = self.parse(if raw.body.is_empty() { b"null" } else { &raw.body })?;
            Ok(Reply { status: raw.status, body: raw.body.into(), value })
        });
        self.record(started, outcome.as_ref().err());
        outcome
    }

    async fn limited(
        &self,
        context: &CallContext,
        request: &reqwest::Request,
        retries: u32,
    ) -> Result<Raw, CallError> {
        let _permit = self.permits.try_acquire().map_err(|_| CallError::ConcurrencyLimit)?;
        if !self.breaker.admit() {
            return Err(CallError::BreakerOpen);
        }
        let outcome = self.with_retries(context, request, retries).await;
        match &outcome {
            Err(error) if error.counts_against() => self.breaker.failed(),
            _ => self.breaker.succeeded(),
        }
        outcome
    }

    async fn with_retries(
        &self,
        context: &CallContext,
        request: &reqwest::Request,
        retries: u32,
    ) -> Result<Raw, CallError> {
        self.retry_budget.deposit();
        let mut left = retries;
        loop {
            let outcome = self.attempt(context, request).await;
            let Err(error) = &outcome else { return outcome };
            let in_time =
                context.deadline.saturating_duration_since(Instant::now()) > SHORTEST_RETRY;
            if left == 0 || !in_time || !error.is_worth_a_retry() || !self.retry_budget.withdraw() {
                return outcome;
            }
            left -= 1;
            counter!("bff_backoffice_upstream_retry_total", "upstream" => self.upstream.name())
                .increment(1);
        }
    }

    async fn attempt(
        &self,
        context: &CallContext,
        request: &reqwest::Request,
    ) -> Result<Raw, CallError> {
        let now = Instant::now();
        let deadline = context.deadline.min(now + self.limits.attempt);
        let mut request =
            request.try_clone().expect("a request whose body is in memory can be repeated");
        set_headers(&mut request, self.upstream, context, deadline.saturating_duration_since(now));
        timeout_at(deadline, self.transport(request)).await.map_err(|_| CallError::Timeout)?
    }

    async fn transport(&self, request: reqwest::Request) -> Result<Raw, CallError> {
        let answer = self.client.execute(request).await?;
        let status = answer.status();
        let body = self.read(answer).await?;
        if status.is_success() {
            return Ok(Raw { status: status.as_u16(), body });
        }
        let problem = serde_json::from_slice::<Problem>(&body).ok().map(Box::new);
        Err(CallError::Status { status: status.as_u16(), problem })
    }

    async fn read(&self, answer: reqwest::Response) -> Result<Vec<u8>, CallError> {
        let limit = self.limits.body;
        let promised = answer.content_length().unwrap_or_default();
        if promised > limit as u64 {
            return Err(CallError::TooLarge { limit });
        }
        let mut body = Vec::with_capacity(promised as usize);
        let mut chunks = answer.bytes_stream();
        while let Some(chunk) = chunks.next().await {
            body.extend_from_slice(&chunk?);
            if body.len() > limit {
                return Err(CallError::TooLarge { limit });
            }
        }
        Ok(body)
    }

    /// The path to what is wrong is looked for only when something is: that costs a second reading.
    fn parse<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, CallError> {
        serde_json::from_slice(body).map_err(|_| self.drift::<T>(body))
    }

    fn drift<T: DeserializeOwned>(&self, body: &[u8]) -> CallError {
        let mut json = serde_json::Deserializer::from_slice(body);
        let found = serde_path_to_error::deserialize::<_, T>(&mut json);
        let path = found.err().map_or_else(|| ".".to_owned(), |error| error.path().to_string());
        counter!("bff_backoffice_upstream_schema_drift_total", "upstream" => self.upstream.name())
            .increment(1);
        tracing::error!(upstream = %self.upstream, %path, "An upstream broke its contract.");
        CallError::SchemaDrift { path }
    }

    fn record(&self, started: Instant, error: Option<&CallError>) {
        let upstream = self.upstream.name();
        let outcome = error.map_or("ok", |error| error.reason().name());
        counter!("bff_backoffice_upstream_request_total", "upstream" => upstream, "outcome" => outcome).increment(1);
        histogram!("bff_backoffice_upstream_request_duration_seconds", "upstream" => upstream, "outcome" => outcome)
            .record(started.elapsed().as_secs_f64());
        gauge!("bff_backoffice_circuit_breaker_state", "upstream" => upstream)
            .set(self.breaker.level());
        if let Some(error) = error {
            tracing::debug!(upstream, %error, "An upstream call failed.");
        }
    }
}

fn set_headers(
    request: &mut reqwest::Request,
    upstream: Upstream,
    context: &CallContext,
    left: Duration,
) {
    let bearer = format!("Bearer {}", context.credentials.bearer(upstream));
    let values = [
        ("authorization", bearer),
        (headers::REQUEST_ID, context.request_id.to_string()),
        (headers::TRACEPARENT, context.traceparent.clone()),
        (headers::DEADLINE_MS, deadline::format(left)),
    ];
    let tenant = context.tenant.map(|tenant| (headers::TENANT_ID, tenant.to_string()));
    for (name, value) in values.into_iter().chain(tenant) {
        let value = value.parse().expect("tokens, ids and numbers are ASCII");
        request.headers_mut().insert(name, value);
    }
}
