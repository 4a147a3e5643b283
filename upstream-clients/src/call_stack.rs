//! The layers that every upstream call passes, outermost first:
//!
//! 1. span and metrics: upstream, outcome, duration. The span is at debug level; enable it with
//!    `telemetry.log=info,upstream_clients=debug`;
//! 2. concurrency limit: calls above what the upstream can bear now, or above the tenant's share,
//!    are refused, not queued;
//! 3. circuit breaker: calls to an upstream that keeps failing, for everyone or for this tenant,
//!    are refused for a moment;
//! 4. retry: idempotent calls only, after a jittered wait, within the retry budget, never past the
//!    deadline;
//! 5. attempt timeout: the upstream's limit or the remaining time, whichever is less;
//! 6. transport: pooled connections; the response is bounded and checked against its contract.
//!
//! Dropping the call cancels it in every layer.

use std::time::Duration;

use bytes::Bytes;
use contracts::json::{self, ZeroCharacter};
use contracts::problem::{Problem, code};
use contracts::safeguard::{Safeguard, time_limit};
use contracts::upstream::Upstream;
use http::StatusCode;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout_at};
use tower::retry::budget::{Budget, TpsBudget};
use tracing::Instrument;
use url::Url;

use crate::breaker::Breaker;
use crate::call_health::CallHealth;
use crate::call_permit::CallPermit;
use crate::concurrency::ConcurrencyLimit;
use crate::context::CallContext;
use crate::error::CallError;
use crate::latency_window::LatencyWindow;
use crate::limits::Limits;
use crate::meters::Meters;
use crate::report::{LastCall, UpstreamReport};
use crate::request::{Call, OutgoingRequest};
use crate::retry::{self, Retries};
use crate::tenant_key::TenantKey;
use crate::transport::{Connector, RawResponse, Transport};

/// A response: raw and parsed.
#[derive(Debug)]
pub struct Reply<T> {
    pub status: u16,
    pub body: Bytes,
    pub value: T,
}

/// All layers in front of one upstream.
#[derive(Debug)]
pub struct CallStack {
    upstream: Upstream,
    limits: Limits,
    concurrency: ConcurrencyLimit,
    breaker: Breaker,
    retry_budget: TpsBudget,
    transport: Transport,
    meters: Meters,
    latencies: LatencyWindow,
}

impl CallStack {
    pub fn new(upstream: Upstream, base: Url, connector: Connector, limits: Limits) -> Self {
        Self {
            upstream,
            limits,
            concurrency: ConcurrencyLimit::new(limits.concurrency),
            breaker: Breaker::new(),
            retry_budget: retry::budget(),
            transport: Transport::new(base, connector),
            meters: Meters::new(upstream.name()),
            latencies: LatencyWindow::new(),
        }
    }

    /// Sends `GET path?query` and parses the response as `T`.
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
        let request = OutgoingRequest::get(&self.transport, path, query);
        Ok(self.call(context, &request, self.limits.retries).await?.value)
    }

    /// Sends `POST path` and parses the response as `T`; an empty body is parsed as `null`.
    pub async fn post<T: DeserializeOwned>(
        &self,
        context: &CallContext,
        call: &Call<'_>,
    ) -> Result<Reply<T>, CallError> {
        let retries = if call.idempotency_key.is_some() { self.limits.retries } else { 0 };
        let request = OutgoingRequest::post(&self.transport, call, retries > 0);
        self.call(context, &request, retries).await
    }

    async fn call<T: DeserializeOwned>(
        &self,
        context: &CallContext,
        request: &OutgoingRequest<'_>,
        retries: u32,
    ) -> Result<Reply<T>, CallError> {
        let span = tracing::debug_span!("upstream", upstream = self.upstream.name());
        let started = Instant::now();
        let outcome = self.with_permit(context, request, retries, started).instrument(span).await;
        let outcome = outcome.and_then(|RawResponse { status, body, .. }| {
            let value = self.parse(if body.is_empty() { b"null" } else { &body })?;
            Ok(Reply { status: status.as_u16(), body, value })
        });
        self.record(started, outcome.as_ref().err());
        outcome
    }

    async fn with_permit(
        &self,
        context: &CallContext,
        request: &OutgoingRequest<'_>,
        retries: u32,
        now: Instant,
    ) -> Result<RawResponse, CallError> {
        let (tenant, deadline) = (TenantKey::of(context.tenant), context.deadline);
        let mut permit =
            CallPermit::begin(&self.concurrency, &self.breaker, tenant, deadline, now)?;
        let outcome = self.with_retries(context, request, retries, &mut permit).await;
        permit.end(outcome.as_ref().err().map_or(CallHealth::Responsive, CallError::health));
        outcome
    }

    async fn with_retries(
        &self,
        context: &CallContext,
        request: &OutgoingRequest<'_>,
        retries: u32,
        permit: &mut CallPermit<'_>,
    ) -> Result<RawResponse, CallError> {
        self.retry_budget.deposit();
        let mut retries = Retries::new(retries, context.deadline);
        loop {
            let failed = match self.attempt(context, request).await {
                Ok(response) => return Ok(response),
                Err(failed) if failed.error.is_worth_a_retry() => failed,
                Err(failed) => return Err(failed.error),
            };
            let call = (context.request_id, self.upstream, request.target());
            let now = Instant::now();
            let Some(wait) = retries.next(&self.retry_budget, failed.retry_after, call, now) else {
                return Err(failed.error);
            };
            self.meters.retried();
            tokio::time::sleep(wait).await;
            permit.restart_timing(Instant::now());
        }
    }

    async fn attempt(
        &self,
        context: &CallContext,
        request: &OutgoingRequest<'_>,
    ) -> Result<RawResponse, FailedAttempt> {
        let limit = time_limit(Safeguard::Deadlines, self.limits.attempt);
        let deadline = context.deadline.min(Instant::now() + limit);
        timeout_at(deadline, self.exchange(context, request, deadline))
            .await
            .map_err(|_| CallError::Timeout)?
    }

    async fn exchange(
        &self,
        context: &CallContext,
        request: &OutgoingRequest<'_>,
        deadline: Instant,
    ) -> Result<RawResponse, FailedAttempt> {
        let limit = self.limits.body;
        // Computed when it is sent: opening a connection may have taken time.
        let left = || deadline.saturating_duration_since(Instant::now());
        let build = || request.to_http(self.upstream, context, left());
        let response = self.transport.exchange(build, request.is_repeatable(), limit).await;
        let response = response.map_err(|error| CallError::from_exchange(error, limit))?;
        if response.status.is_success() { Ok(response) } else { Err(FailedAttempt::by(&response)) }
    }

    /// Checks UTF-8 once for the whole body, not per string. Only a failure pays for a second
    /// parse, which finds the path of the error.
    fn parse<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, CallError> {
        let value = std::str::from_utf8(body).ok().and_then(|text| serde_json::from_str(text).ok());
        value.ok_or_else(|| self.drift::<T>(body))
    }

    fn drift<T: DeserializeOwned>(&self, body: &[u8]) -> CallError {
        let mut json = serde_json::Deserializer::from_slice(body);
        let found = serde_path_to_error::deserialize::<_, T>(&mut json);
        let path = found.err().map_or_else(|| ".".to_owned(), |error| drift_path(&error));
        self.meters.drifted();
        tracing::error!(upstream = %self.upstream, %path, "An upstream response does not match its contract.");
        CallError::SchemaDrift { path }
    }

    fn record(&self, started: Instant, error: Option<&CallError>) {
        let now = Instant::now();
        let (reason, took) = (error.map(CallError::reason), now - started);
        self.meters.ended(reason, took);
        self.meters.update_gauges(self.breaker.summary(), self.concurrency.usage());
        self.latencies.record(reason, took, now);
        if let Some(error) = error {
            tracing::debug!(upstream = self.upstream.name(), %error, "An upstream call failed.");
        }
    }

    /// The upstream's state, for diagnostics.
    pub fn report(&self) -> UpstreamReport {
        let now = Instant::now();
        let (usage, breaker) = (self.concurrency.usage(), self.breaker.summary());
        let last_call = self.latencies.last().map(|last| LastCall {
            outcome: last.reason.map_or("ok", |reason| reason.into_str()),
            seconds_ago: now.saturating_duration_since(last.at).as_secs(),
        });
        UpstreamReport {
            upstream: self.upstream,
            breaker: breaker.position.into_str(),
            tenants_shut_out: breaker.open_tenants,
            limit: usage.limit,
            in_flight: usage.in_flight,
            last_call,
            latency: self.latencies.percentiles(now),
        }
    }
}

/// The path at which a response breaks its contract. For a missing member, serde reports the
/// object; the name is taken from the message.
fn drift_path(error: &serde_path_to_error::Error<serde_json::Error>) -> String {
    let (path, words) = (error.path().to_string(), error.inner().to_string());
    let missing = words.strip_prefix("missing field `").and_then(|rest| rest.split_once('`'));
    match missing {
        Some((name, _)) if path == "." => name.to_owned(),
        Some((name, _)) => format!("{path}.{name}"),
        None => path,
    }
}

/// An attempt without a usable response.
struct FailedAttempt {
    error: CallError,
    /// The upstream's `Retry-After`.
    retry_after: Option<Duration>,
}

impl FailedAttempt {
    fn by(response: &RawResponse) -> Self {
        let problem = json::from_slice(&response.body, ZeroCharacter::Dropped).ok();
        let problem = with_retry_after(problem, response).map(Box::new);
        let error = CallError::Status { status: response.status.as_u16(), problem };
        Self { error, retry_after: response.retry_after }
    }
}

/// Copies the response's `Retry-After` into the problem of a 429. A 429 always has a problem, so
/// that callers learn about it.
fn with_retry_after(problem: Option<Problem>, response: &RawResponse) -> Option<Problem> {
    let is_limit = response.status == StatusCode::TOO_MANY_REQUESTS;
    let bare = || Problem::new(&code::RATE_LIMITED, "Too many requests. Try again later.");
    let mut problem = problem.or_else(|| is_limit.then(bare))?;
    let named = response.retry_after.map(|wait| wait.as_secs());
    problem.retry_after =
        if is_limit { named.or(problem.retry_after) } else { problem.retry_after };
    Some(problem)
}

impl From<CallError> for FailedAttempt {
    fn from(error: CallError) -> Self {
        Self { error, retry_after: None }
    }
}
