//! Cached reads outside the dashboard: property scope, provenance headers (`X-Cache`, `Age`,
//! `Server-Timing`) and conditional requests (304).
//!
//! A handler passes a read of a property, a widget's or its own:
//!
//! ```ignore
//! reads.serve(&STAFF_ON_DUTY.read, in_property.property).await
//! ```
//!
//! For a read with other parameters it passes the policy, the key and the call:
//! [`Reads::serve_keyed`].

use std::future::Future;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use auth::Principal;
use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use composer::Composer;
use composer::property_read::{PropertyDay, PropertyRead, fetch};
use composer::read_policy::ReadPolicy;
use composer::result::WidgetOrigin;
use composer::snapshots::{FetchFuture, Fetched, Key, Reading, Source};
use composer::widgets::PROPERTY_CARD;
use composer::workbench::ViewRequest;
use contracts::dashboard::WidgetStatus;
use contracts::id::PropertyId;
use contracts::problem::code;
use contracts::upstream::Upstream;
use http::header::{AGE, CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Serialize;
use serde::de::DeserializeOwned;
use service_kit::etag;
use service_kit::problem::{ApiError, ApiResult};
use upstream_clients::{CallContext, CallError, Upstreams};

use crate::edge::{Caller, CallerContext, SignedIn};
use crate::problems::upstream::read_problem;
use crate::state::Gateway;

/// Counted from the request's first byte, like the dashboard's.
const READ_TIMEOUT: Duration = Duration::from_millis(550);

pub(crate) const X_CACHE: HeaderName = HeaderName::from_static("x-cache");
pub(crate) const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// Reads for one request.
#[derive(Debug)]
pub(crate) struct Reads {
    composer: Composer,
    calls: CallerContext,
    principal: Arc<Principal>,
    /// `If-None-Match` only, usually absent.
    if_none_match: HeaderMap,
}

impl FromRequestParts<Gateway> for Reads {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &Gateway) -> Result<Self, ApiError> {
        let principal = Caller::<SignedIn>::from_request_parts(parts, state).await?.principal;
        let calls = CallerContext::from_request_parts(parts, state).await?;
        let composer = state.composer.clone();
        let if_none_match = parts.headers.get_all(IF_NONE_MATCH).iter();
        let if_none_match = if_none_match.map(|value| (IF_NONE_MATCH, value.clone())).collect();
        Ok(Self { composer, calls, principal, if_none_match })
    }
}

impl Reads {
    /// Key of a read for a property in the caller's scope.
    pub(crate) fn key_in(&self, policy: &ReadPolicy, property: PropertyId) -> Key {
        Key::of_property(policy, self.principal.tenant, property)
    }

    /// Key of a read by id; the response names the property.
    pub(crate) fn key_of(&self, policy: &ReadPolicy, id: impl std::fmt::Display) -> Key {
        Key::of_id(policy, self.principal.tenant, id)
    }

    /// Returns the context of a call, with the policy's deadline.
    fn within(&self, policy: &ReadPolicy) -> CallContext {
        self.context().with_deadline(self.calls.received() + policy.deadline)
    }

    /// Returns a context for operations that set their own deadlines.
    pub(crate) fn context(&self) -> CallContext {
        self.calls.with_deadline(self.calls.received() + READ_TIMEOUT)
    }

    pub(crate) fn composer(&self) -> &Composer {
        &self.composer
    }

    /// A day at a property in the caller's scope; today when it is absent.
    pub(crate) fn day(&self, property: PropertyId, day: Option<Date>) -> ViewRequest {
        let Principal { tenant, roles, .. } = *self.principal;
        ViewRequest { tenant, roles, property, day, admitted: self.calls.received() }
    }

    /// Returns the time zone of a property in the caller's scope: cached, else from its card.
    /// `None` while the card is unavailable.
    pub(crate) async fn zone(&self, property: PropertyId) -> Option<TimeZone> {
        let (snapshots, tenant) = (self.composer.snapshots(), self.principal.tenant);
        if let Some(zone) = snapshots.zone(tenant, property) {
            return Some(zone);
        }
        if let Err(ApiError(problem)) = self.read(&PROPERTY_CARD.read, property).await {
            tracing::warn!(%property, detail = %problem.detail, "Failed to read a property's time zone.");
        }
        snapshots.zone(tenant, property)
    }

    /// Reads a snapshot of a property in the caller's scope.
    async fn read(
        &self,
        read: &'static PropertyRead,
        at: impl Into<PropertyDay>,
    ) -> ApiResult<Reading> {
        let at = at.into();
        let key = read.key(self.principal.tenant, at);
        self.read_keyed(&read.policy, key, self.composer.fetch(read, at)).await
    }

    /// Reads a snapshot, and refuses one of a property outside the caller's scope.
    async fn read_keyed(
        &self,
        policy: &'static ReadPolicy,
        key: Key,
        fetch: impl Fn(CallContext) -> FetchFuture + Send + Sync,
    ) -> ApiResult<Reading> {
        let read = [(policy, key)];
        let snapshots = self.composer.snapshots();
        snapshots.prefetch(&read).await;
        let found = snapshots.read(policy, &read[0].1, &self.within(policy), fetch).await;
        let reading = found.map_err(|error| failed(policy, &error))?;
        if self.principal.covers(reading.snapshot.property) {
            return Ok(reading);
        }
        Err(ApiError::new(
            &code::PROPERTY_OUT_OF_SCOPE,
            "You do not have access to the property it belongs to. Ask a manager for access.",
        ))
    }

    /// Responds with the whole snapshot.
    pub(crate) async fn serve(
        &self,
        read: &'static PropertyRead,
        at: impl Into<PropertyDay>,
    ) -> ApiResult<Response> {
        let reading = self.read(read, at).await?;
        Ok(self.respond_whole(&read.policy, &reading))
    }

    /// Responds with the whole snapshot under this key.
    pub(crate) async fn serve_keyed<F, A, T>(
        &self,
        policy: &'static ReadPolicy,
        key: Key,
        call: F,
    ) -> ApiResult<Response>
    where
        F: Fn(Arc<Upstreams>, CallContext) -> A + Send + Sync,
        A: Future<Output = Result<T, CallError>> + Send + 'static,
        T: Into<Fetched> + 'static,
    {
        let upstreams = self.composer.upstreams();
        let call = |context| fetch(call(Arc::clone(upstreams), context));
        Ok(self.respond_whole(policy, &self.read_keyed(policy, key, call).await?))
    }

    /// Returns the snapshot and its parsed content, for a handler that responds with a part of it.
    pub(crate) async fn content<T: DeserializeOwned>(
        &self,
        read: &'static PropertyRead,
        at: impl Into<PropertyDay>,
    ) -> ApiResult<(Reading, T)> {
        let reading = self.read(read, at).await?;
        let content = reading.snapshot.content().map_err(|error| failed(&read.policy, &error))?;
        Ok((reading, content))
    }

    fn respond_whole(&self, policy: &ReadPolicy, reading: &Reading) -> Response {
        let body = reading.snapshot.part(0).map_or("null", |part| part.get()).to_owned();
        let provenance = Provenance::of(policy, reading);
        self.with_provenance(&provenance, reading.snapshot.tag, || Body::from(body))
    }

    /// Responds with a part of a snapshot, under the tag of the whole.
    pub(crate) fn respond(
        &self,
        read: &PropertyRead,
        reading: &Reading,
        body: &impl Serialize,
    ) -> Response {
        let provenance = Provenance::of(&read.policy, reading);
        self.with_provenance(&provenance, reading.snapshot.tag, || json(body))
    }

    /// Responds with a composition of several parts. Its tag depends only on theirs.
    pub(crate) fn respond_composed(
        &self,
        parts: &[WidgetOrigin],
        body: &impl Serialize,
    ) -> Response {
        let (mut provenance, mut hasher) = (Provenance::default(), DefaultHasher::new());
        for part in parts {
            (part.name, part.status as u8, part.tag).hash(&mut hasher);
            if part.status != WidgetStatus::Forbidden {
                provenance.add(part.upstream, part.source, part.took);
            }
        }
        self.with_provenance(&provenance, hasher.finish(), || json(body))
    }

    /// Responds with `body`, or 304 if the caller has this tag.
    pub(crate) fn with_provenance(
        &self,
        provenance: &Provenance,
        tag: u64,
        body: impl FnOnce() -> Body,
    ) -> Response {
        let tag = format!("W/\"{tag:016x}\"");
        let if_none_match = etag::holds(&self.if_none_match, &tag);
        let mut response = if if_none_match {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            ([(CONTENT_TYPE, "application/json")], body()).into_response()
        };
        let headers = response.headers_mut();
        headers.insert(ETAG, HeaderValue::from_str(&tag).expect("a tag is ASCII"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
        provenance.write(headers);
        response
    }
}

fn json(body: &impl Serialize) -> Body {
    serde_json::to_vec(body).expect("contract types are plain JSON").into()
}

fn failed(policy: &ReadPolicy, error: &CallError) -> ApiError {
    match policy.upstream {
        Some(upstream) => read_problem(upstream, error),
        None => ApiError::internal(error),
    }
}

/// Cache provenance of a response's parts.
#[derive(Debug, Default)]
pub(crate) struct Provenance {
    hits: usize,
    misses: usize,
    stale: usize,
    bypassed: usize,
    age: Duration,
    /// The longest wait for each upstream.
    waits: Vec<(Upstream, Duration)>,
}

impl Provenance {
    pub(crate) fn of(policy: &ReadPolicy, reading: &Reading) -> Self {
        let mut provenance = Self::default();
        provenance.add(policy.upstream, Some(reading.source), reading.took);
        provenance
    }

    /// Adds a part.
    pub(crate) fn add(
        &mut self,
        upstream: Option<Upstream>,
        source: Option<Source>,
        took: Duration,
    ) {
        let age = match source {
            Some(Source::Hit { age }) => {
                self.hits += 1;
                age
            }
            Some(Source::Stale { age, .. }) => {
                self.stale += 1;
                age
            }
            Some(Source::Bypass) => {
                self.bypassed += 1;
                Duration::ZERO
            }
            Some(Source::Miss) | None => {
                self.misses += 1;
                Duration::ZERO
            }
        };
        self.age = self.age.max(age);
        let Some(upstream) = upstream else { return };
        match self.waits.iter_mut().find(|(known, _)| *known == upstream) {
            Some((_, longest)) => *longest = took.max(*longest),
            None => self.waits.push((upstream, took)),
        }
    }

    /// Returns the worst cache status of the parts.
    fn cache(&self) -> &'static str {
        match self {
            Self { stale: 1.., .. } => "STALE",
            Self { misses: 1.., .. } => "MISS",
            Self { hits: 1.., .. } => "HIT",
            _ => "BYPASS",
        }
    }

    pub(crate) fn write(&self, headers: &mut HeaderMap) {
        headers.insert(X_CACHE, HeaderValue::from_static(self.cache()));
        if self.hits + self.stale > 0 {
            headers.insert(AGE, HeaderValue::from(self.age.as_secs()));
        }
        let waits: Vec<String> =
            self.waits.iter().map(|(upstream, took)| server_timing(*upstream, *took)).collect();
        if let Ok(value) = HeaderValue::from_str(&waits.join(", ")) {
            headers.insert(SERVER_TIMING, value);
        }
    }
}

/// Milliseconds, one decimal.
fn server_timing(upstream: Upstream, took: Duration) -> String {
    format!("{upstream};dur={:.1}", took.as_secs_f64() * 1e3)
}
