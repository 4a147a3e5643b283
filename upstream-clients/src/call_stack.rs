//! The call stack every upstream call goes through, outermost first:
//!
//! 1. span and metrics: what the call was, how it ended, how long it took. The span is at debug:
//!    `telemetry.log=info,upstream_clients=debug` asks for it;
//! 2. concurrency limit: more calls than the upstream can bear now, or than a tenant's share,
//!    are refused, not queued;
//! 3. breaker: an upstream that keeps failing, for all or for this tenant, is left alone a moment;
//! 4. retry: idempotent calls only, after a jittered wait, within the retry budget, never past
//!    the deadline;
//! 5. attempt timeout: the upstream's cap or what remains, whichever is less; inside it, where
//!    that is switched on, a hedge: a slow read is asked a second time;
//! 6. transport: kept connections, the answer bounded and checked against its contract.
//!
//! Dropping the call cancels it at every step.

use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use contracts::dashboard::Reason;
use contracts::json::{self, ZeroCharacter};
use contracts::problem::{Problem, code};
use contracts::safeguard::{Safeguard, time_limit};
use contracts::upstream::Upstream;
use http::StatusCode;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout, timeout_at};
use tower::retry::budget::{Budget, TpsBudget};
use tracing::Instrument;
use url::Url;

use crate::CallContext;
use crate::admission::Admission;
use crate::breaker::Breaker;
use crate::caller::{Caller, Verdict};
use crate::concurrency::Limit;
use crate::error::CallError;
use crate::limits::Limits;
use crate::meters::Meters;
use crate::outgoing::Ask;
use crate::recent::Recent;
use crate::report::{LastCall, Latency, UpstreamReport};
use crate::retry::{self, Retries};
use crate::transport::{Answer, Connector, Transport};

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
    limit: Limit,
    breaker: Breaker,
    retry_budget: TpsBudget,
    hedge_budget: TpsBudget,
    transport: Transport,
    meters: Meters,
    recent: Recent,
}

impl CallStack {
    pub fn new(upstream: Upstream, base: Url, connector: Connector, limits: Limits) -> Self {
        Self {
            upstream,
            limits,
            limit: Limit::new(limits.concurrency),
            breaker: Breaker::new(),
            retry_budget: retry::budget(),
            // One call in twenty.
            hedge_budget: TpsBudget::new(Duration::from_secs(10), 0, 0.05),
            transport: Transport::new(base, connector),
            meters: Meters::new(upstream.name()),
            recent: Recent::new(),
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
        let span = tracing::debug_span!("upstream", upstream = self.upstream.name());
        let started = Instant::now();
        let outcome = self.admitted(context, ask, retries, started).instrument(span).await;
        let outcome = outcome.and_then(|Answer { status, body, .. }| {
            let value = self.parse(if body.is_empty() { b"null" } else { &body })?;
            Ok(Reply { status: status.as_u16(), body, value })
        });
        self.record(started, outcome.as_ref().err());
        outcome
    }

    async fn admitted(
        &self,
        context: &CallContext,
        ask: &Ask<'_>,
        retries: u32,
        now: Instant,
    ) -> Result<Answer, CallError> {
        let (caller, deadline) = (Caller::of(context.tenant), context.deadline);
        let mut admission = Admission::begin(&self.limit, &self.breaker, caller, deadline, now)?;
        let outcome = self.with_retries(context, ask, retries, &mut admission).await;
        admission.end(outcome.as_ref().err().map_or(Verdict::Answers, CallError::verdict));
        outcome
    }

    async fn with_retries(
        &self,
        context: &CallContext,
        ask: &Ask<'_>,
        retries: u32,
        admission: &mut Admission<'_>,
    ) -> Result<Answer, CallError> {
        self.retry_budget.deposit();
        let mut retries = Retries::new(retries, context.deadline);
        loop {
            let missed = match self.attempt(context, ask).await {
                Ok(answer) => return Ok(answer),
                Err(missed) if missed.error.is_worth_a_retry() => missed,
                Err(missed) => return Err(missed.error),
            };
            let call = (context.request_id, self.upstream, ask.target());
            let now = Instant::now();
            let Some(wait) = retries.next(&self.retry_budget, missed.retry_after, call, now) else {
                return Err(missed.error);
            };
            self.meters.retried();
            tokio::time::sleep(wait).await;
            admission.again(Instant::now());
        }
    }

    async fn attempt(&self, context: &CallContext, ask: &Ask<'_>) -> Result<Answer, Missed> {
        let limit = time_limit(Safeguard::Deadlines, self.limits.attempt);
        let deadline = context.deadline.min(Instant::now() + limit);
        let answer = async {
            match self.limits.hedge {
                Some(after) if ask.is_read() => {
                    Box::pin(self.hedged(context, ask, deadline, after)).await
                }
                _ => self.exchange(context, ask, deadline).await,
            }
        };
        timeout_at(deadline, answer).await.map_err(|_| CallError::Timeout)?
    }

    /// Asks once more when the answer takes long, while the hedge budget and the limit allow.
    /// The first answer wins and the other exchange is dropped; a failure leaves it to the other.
    async fn hedged(
        &self,
        context: &CallContext,
        ask: &Ask<'_>,
        deadline: Instant,
        after: Duration,
    ) -> Result<Answer, Missed> {
        self.hedge_budget.deposit();
        let mut first = pin!(self.exchange(context, ask, deadline));
        if let Ok(outcome) = timeout(after, &mut first).await {
            return outcome;
        }
        let Some(_place) = self.limit.spare(Caller::of(context.tenant)) else {
            return first.await;
        };
        if !self.hedge_budget.withdraw() {
            return first.await;
        }
        self.meters.hedged();
        let mut second = pin!(self.exchange(context, ask, deadline));
        tokio::select! {
            outcome = &mut first => if outcome.is_ok() { outcome } else { second.await },
            outcome = &mut second => if outcome.is_ok() { outcome } else { first.await },
        }
    }

    async fn exchange(
        &self,
        context: &CallContext,
        ask: &Ask<'_>,
        deadline: Instant,
    ) -> Result<Answer, Missed> {
        let limit = self.limits.body;
        // What remains when it is sent: a connection may have had to be made first.
        let left = || deadline.saturating_duration_since(Instant::now());
        let request = || ask.request(self.upstream, context, left());
        let answer = self.transport.exchange(request, ask.is_repeatable(), limit).await;
        let answer = answer.map_err(|failure| CallError::of(failure, limit))?;
        if answer.status.is_success() { Ok(answer) } else { Err(Missed::by(&answer)) }
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
        let path = found.err().map_or_else(|| ".".to_owned(), |error| broken_at(&error));
        self.meters.drifted();
        tracing::error!(upstream = %self.upstream, %path, "An upstream broke its contract.");
        CallError::SchemaDrift { path }
    }

    fn record(&self, started: Instant, error: Option<&CallError>) {
        let now = Instant::now();
        let (reason, took) = (error.map(CallError::reason), now - started);
        self.meters.ended(reason, took);
        self.meters.stands(self.breaker.doors(), self.limit.usage());
        self.recent.note(reason, took, now);
        if let Some(error) = error {
            tracing::debug!(upstream = self.upstream.name(), %error, "An upstream call failed.");
        }
    }

    /// For people who look.
    pub fn report(&self) -> UpstreamReport {
        let now = Instant::now();
        let (usage, doors) = (self.limit.usage(), self.breaker.doors());
        let last_call = self.recent.last().map(|last| LastCall {
            outcome: last.reason.map_or("ok", Reason::name),
            seconds_ago: now.saturating_duration_since(last.at).as_secs(),
        });
        UpstreamReport {
            upstream: self.upstream,
            breaker: doors.position.name(),
            tenants_shut_out: doors.shut_out,
            limit: usage.limit,
            in_flight: usage.in_flight,
            last_call,
            latency: self.recent.percentiles(now).map(Latency::from),
        }
    }
}

/// Where an answer breaks its contract. Of a member that is missing it is where it should be: serde
/// itself tells the object, and the name in words.
fn broken_at(error: &serde_path_to_error::Error<serde_json::Error>) -> String {
    let (path, words) = (error.path().to_string(), error.inner().to_string());
    let missing = words.strip_prefix("missing field `").and_then(|rest| rest.split_once('`'));
    match missing {
        Some((name, _)) if path == "." => name.to_owned(),
        Some((name, _)) => format!("{path}.{name}"),
        None => path,
    }
}

/// An attempt without a usable answer.
struct Missed {
    error: CallError,
    /// When the upstream says that it can be asked again.
    retry_after: Option<Duration>,
}

impl Missed {
    fn by(answer: &Answer) -> Self {
        let problem = json::from_slice(&answer.body, ZeroCharacter::Dropped).ok();
        let problem = with_retry_after(problem, answer).map(Box::new);
        let error = CallError::Status { status: answer.status.as_u16(), problem };
        Self { error, retry_after: answer.retry_after }
    }
}

/// The problem with the `Retry-After` of the answer, where it names none itself. A 429 is one that
/// callers are told about, also when it came without a problem.
fn with_retry_after(problem: Option<Problem>, answer: &Answer) -> Option<Problem> {
    let is_limit = answer.status == StatusCode::TOO_MANY_REQUESTS;
    let bare = || Problem::new(&code::RATE_LIMITED, "Too many requests. Try again later.");
    let mut problem = problem.or_else(|| is_limit.then(bare))?;
    let named = answer.retry_after.map(|wait| wait.as_secs());
    problem.retry_after =
        if is_limit { named.or(problem.retry_after) } else { problem.retry_after };
    Some(problem)
}

impl From<CallError> for Missed {
    fn from(error: CallError) -> Self {
        Self { error, retry_after: None }
    }
}
