//! What every read outside the dashboard does with a snapshot: who may see it, how the caller is
//! told where it came from (`X-Cache`, `Age`, `Server-Timing`), and 304 for what it holds already.
//!
//! A handler names the policy (`composer::read_policies`), the key, and the call:
//!
//! ```ignore
//! let key = reads.key_in(&read_policies::MAINTENANCE_BOARD, in_property.property);
//! reads.answer(&read_policies::MAINTENANCE_BOARD, key, |upstreams, context| async move {
//!     let it = upstreams.maintenance_board(&context, property).await?;
//!     Ok(Fetched::new(it.property_id, it.as_of, &it))
//! }).await
//! ```

use std::future::Future;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use auth::Principal;
use auth::request_token::RequestTokens;
use axum::body::Body;
use axum::extract::{FromRef, FromRequestParts};
use axum::response::{IntoResponse, Response};
use composer::Composer;
use composer::fetch::property_card;
use composer::read_policies::{PROPERTY_CARD, ReadPolicy};
use composer::result::WidgetOrigin;
use composer::snapshots::{Fetched, Key, Reading, Source};
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
use crate::problems::upstream::of_read;

/// Counted from the request's first byte, like the dashboard's own.
const READ_WITHIN: Duration = Duration::from_millis(550);

pub const X_CACHE: HeaderName = HeaderName::from_static("x-cache");
pub const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// Reads for one request.
#[derive(Debug)]
pub struct Reads {
    composer: Composer,
    calls: CallerContext,
    principal: Arc<Principal>,
    /// Its `If-None-Match` alone, mostly none.
    held: HeaderMap,
}

impl<S> FromRequestParts<S> for Reads
where
    S: Send + Sync,
    Composer: FromRef<S>,
    Arc<RequestTokens>: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let principal = Caller::<SignedIn>::from_request_parts(parts, state).await?.principal;
        let calls = CallerContext::from_request_parts(parts, state).await?;
        let composer = Composer::from_ref(state);
        let held = parts.headers.get_all(IF_NONE_MATCH).iter();
        let held = held.map(|value| (IF_NONE_MATCH, value.clone())).collect();
        Ok(Self { composer, calls, principal, held })
    }
}

impl Reads {
    /// Of a property the caller was found to have in scope.
    pub fn key_in(&self, policy: &ReadPolicy, property: PropertyId) -> Key {
        Key::of_property(policy, self.principal.tenant, property)
    }

    /// Of one thing; whose it is, the answer says.
    pub fn key_of(&self, policy: &ReadPolicy, id: impl std::fmt::Display) -> Key {
        Key::of_id(policy, self.principal.tenant, id)
    }

    /// How long upstreams may take for this request.
    pub fn within(&self, policy: &ReadPolicy) -> CallContext {
        self.context().with_deadline(self.calls.received() + policy.deadline)
    }

    /// For what names the deadlines of its parts itself.
    pub fn context(&self) -> CallContext {
        self.calls.with_deadline(self.calls.received() + READ_WITHIN)
    }

    pub fn composer(&self) -> &Composer {
        &self.composer
    }

    /// A day at a property the caller was found to have in scope; today when it is absent.
    pub fn day(&self, property: PropertyId, day: Option<Date>) -> ViewRequest {
        let Principal { tenant, roles, .. } = *self.principal;
        ViewRequest { tenant, roles, property, day, admitted: self.calls.received() }
    }

    /// The time zone of a property the caller was found to have in scope: from what is known, else
    /// from its card. Nothing when the card cannot be had now.
    pub async fn zone(&self, property: PropertyId) -> Option<TimeZone> {
        let (snapshots, tenant) = (self.composer.snapshots(), self.principal.tenant);
        if let Some(zone) = snapshots.zone(tenant, property) {
            return Some(zone);
        }
        let key = self.key_in(&PROPERTY_CARD, property);
        let card = self.read(&PROPERTY_CARD, key, move |upstreams, context| async move {
            Ok(property_card(&upstreams.property(&context, property).await?))
        });
        if let Err(ApiError(problem)) = card.await {
            tracing::warn!(%property, detail = %problem.detail, "A property's time zone is not known now.");
        }
        snapshots.zone(tenant, property)
    }

    /// The snapshot, which is not of a property outside the caller's scope.
    pub async fn read<F, A>(
        &self,
        policy: &'static ReadPolicy,
        key: Key,
        ask: F,
    ) -> ApiResult<Reading>
    where
        F: Fn(Arc<Upstreams>, CallContext) -> A + Send + Sync + 'static,
        A: Future<Output = Result<Fetched, CallError>> + Send + 'static,
    {
        let upstreams = Arc::clone(self.composer.upstreams());
        let fetch = move |context| ask(Arc::clone(&upstreams), context);
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
            "It belongs to a property that is not in your scope. Ask for access to it.",
        ))
    }

    /// The whole answer of the read.
    pub async fn answer<F, A>(
        &self,
        policy: &'static ReadPolicy,
        key: Key,
        ask: F,
    ) -> ApiResult<Response>
    where
        F: Fn(Arc<Upstreams>, CallContext) -> A + Send + Sync + 'static,
        A: Future<Output = Result<Fetched, CallError>> + Send + 'static,
    {
        let reading = self.read(policy, key, ask).await?;
        let body = reading.snapshot.part(0).map_or("null", |part| part.get()).to_owned();
        let told = Provenance::of(policy, &reading);
        Ok(self.with_provenance(&told, reading.snapshot.tag, || Body::from(body)))
    }

    /// The snapshot, and its content for a handler that shows a part of it.
    pub async fn content<F, A, T>(
        &self,
        policy: &'static ReadPolicy,
        key: Key,
        ask: F,
    ) -> ApiResult<(Reading, T)>
    where
        F: Fn(Arc<Upstreams>, CallContext) -> A + Send + Sync + 'static,
        A: Future<Output = Result<Fetched, CallError>> + Send + 'static,
        T: DeserializeOwned,
    {
        let reading = self.read(policy, key, ask).await?;
        let content = reading.snapshot.content().map_err(|error| failed(policy, &error))?;
        Ok((reading, content))
    }

    /// The part of a snapshot that a request asks for: the same while the whole is.
    pub fn shown(&self, policy: &ReadPolicy, reading: &Reading, body: &impl Serialize) -> Response {
        self.with_provenance(&Provenance::of(policy, reading), reading.snapshot.tag, || json(body))
    }

    /// What was composed of several parts. It is the same while they are, whenever it was composed.
    pub fn composed(&self, parts: &[WidgetOrigin], body: &impl Serialize) -> Response {
        let (mut told, mut hasher) = (Provenance::default(), DefaultHasher::new());
        for part in parts {
            (part.name, part.status as u8, part.tag).hash(&mut hasher);
            if part.status != WidgetStatus::Forbidden {
                told.add(part.upstream, part.source, part.took);
            }
        }
        self.with_provenance(&told, hasher.finish(), || json(body))
    }

    /// `body`, or 304 when the caller holds what has this tag.
    pub fn with_provenance(
        &self,
        told: &Provenance,
        tag: u64,
        body: impl FnOnce() -> Body,
    ) -> Response {
        let tag = format!("W/\"{tag:016x}\"");
        let held = etag::holds(&self.held, &tag);
        let mut response = if held {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            ([(CONTENT_TYPE, "application/json")], body()).into_response()
        };
        let headers = response.headers_mut();
        headers.insert(ETAG, HeaderValue::from_str(&tag).expect("a tag is ASCII"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
        told.write(headers);
        response
    }
}

fn json(body: &impl Serialize) -> Body {
    serde_json::to_vec(body).expect("contract types are plain JSON").into()
}

fn failed(policy: &ReadPolicy, error: &CallError) -> ApiError {
    match policy.upstream {
        Some(upstream) => of_read(upstream, error),
        None => ApiError::internal(error),
    }
}

/// Where an answer's parts came from.
#[derive(Debug, Default)]
pub struct Provenance {
    hits: usize,
    misses: usize,
    stale: usize,
    bypassed: usize,
    age: Duration,
    /// The longest wait for each upstream.
    waits: Vec<(Upstream, Duration)>,
}

impl Provenance {
    pub fn of(policy: &ReadPolicy, reading: &Reading) -> Self {
        let mut told = Self::default();
        told.add(policy.upstream, Some(reading.source), reading.took);
        told
    }

    /// One more part.
    pub fn add(&mut self, upstream: Option<Upstream>, source: Option<Source>, took: Duration) {
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

    /// The worst of the parts.
    fn cache(&self) -> &'static str {
        match self {
            Self { stale: 1.., .. } => "STALE",
            Self { misses: 1.., .. } => "MISS",
            Self { hits: 1.., .. } => "HIT",
            _ => "BYPASS",
        }
    }

    pub fn write(&self, headers: &mut HeaderMap) {
        headers.insert(X_CACHE, HeaderValue::from_static(self.cache()));
        if self.hits + self.stale > 0 {
            headers.insert(AGE, HeaderValue::from(self.age.as_secs()));
        }
        let waits: Vec<String> = self.waits.iter().map(timing).collect();
        if let Ok(value) = HeaderValue::from_str(&waits.join(", ")) {
            headers.insert(SERVER_TIMING, value);
        }
    }
}

/// Milliseconds, one decimal.
fn timing((upstream, took): &(Upstream, Duration)) -> String {
    format!("{upstream};dur={:.1}", took.as_secs_f64() * 1e3)
}
