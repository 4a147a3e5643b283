//! `GET /sse/stream`: the desktop's event stream.
//!
//! This file has the events of every stream: hello, heartbeat, the warning before the token
//! expires, `superseded`, and `drain`.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use auth::Principal;
use axum::extract::State;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use contracts::clock::{Entropy, wire};
use contracts::id::EventId;
use contracts::problem::{Problem, code};
use contracts::safeguard;
use futures_util::{Stream, StreamExt, stream};
use http::header::CACHE_CONTROL;
use http::{HeaderName, Method};
use jiff::Timestamp;
use metrics::{counter, gauge};
use serde::{Deserialize, Serialize};
use serde_json::json;
use service_kit::extract::Query;
use service_kit::lifecycle::Lifecycle;
use service_kit::problem::{ApiError, ApiResult};
use tokio::sync::mpsc;
use tokio::time::{Instant, interval_at, sleep_until};
use tokio_stream::wrappers::ReceiverStream;

use crate::edge::{Caller, LiveSession, SignedIn};
use crate::sessions::Session;
use crate::sessions::revocation::Feed;
use crate::sessions::tenant_status::TenantStatuses;
use crate::state::Gateway;
use crate::stream::{Device, NotOpened, Registration};

const HEARTBEAT: Duration = Duration::from_secs(15);
/// How long before the token's expiry the warning is sent.
const EXPIRY_WARNING: Duration = Duration::from_secs(30);
/// Events queued for a slow reader.
const MAX_QUEUED_EVENTS: usize = 64;
const CHANNELS: [&str; 7] =
    ["session", "alerts", "ai", "housekeeping", "inventory", "sync", "dashboard"];

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct StreamQuery {
    /// Names of channels, comma separated; all when left out.
    channels: Option<String>,
}

/// First event of every stream.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Hello {
    pub connection_id: EventId,
    pub session_expires_at: wire::Timestamp,
    pub heartbeat_ms: u64,
    /// How long to wait before reconnecting; differs per client.
    pub retry_ms: u64,
}

/// The stream of events.
///
/// A device has one stream: a newer one ends the older with the event `superseded`, after which a
/// client must not connect again by itself. A device that opens more than ten streams a minute is
/// answered 429 with `Retry-After`.
#[utoipa::path(
    get, path = "/sse/stream", tag = "stream", params(StreamQuery),
    responses((status = 200, content_type = "text/event-stream", body = Hello)),
)]
pub(crate) async fn open_stream(
    method: Method,
    caller: Caller<SignedIn>,
    LiveSession(session): LiveSession,
    Query(query): Query<StreamQuery>,
    State(gateway): State<Gateway>,
) -> ApiResult<Response> {
    check_channels(query.channels.as_deref())?;
    // HEAD opens no stream, so it supersedes none (RFC 9110 section 9.2.1).
    if method == Method::HEAD {
        return Ok(stream_response(stream::empty()));
    }
    let device = Device { tenant: session.tenant, device: session.device };
    let registration = gateway.streams.open(device).await.map_err(not_opened)?;
    let (events, received) = mpsc::channel(MAX_QUEUED_EVENTS);
    let left = caller.principal.expires_at.duration_since(gateway.env.now());
    let connection = Connection {
        id: gateway.env.new_id(),
        expires_at: caller.principal.expires_at,
        ends: Instant::now() + Duration::try_from(left).unwrap_or_default(),
        retry: retry(&gateway.env.entropy),
        principal: caller.principal,
        session,
        revocations: gateway.revocations.clone(),
        tenant_statuses: gateway.tenant_statuses.clone(),
        events,
    };
    let stopping = gateway.lifecycle.clone();
    gateway.lifecycle.spawn(async move { connection.run(stopping, registration).await });
    Ok(stream_response(ReceiverStream::new(received)))
}

fn stream_response(events: impl Stream<Item = Event> + Send + 'static) -> Response {
    let headers =
        [(CACHE_CONTROL, "no-store"), (HeaderName::from_static("x-accel-buffering"), "no")];
    (headers, Sse::new(events.map(Ok::<_, Infallible>))).into_response()
}

fn not_opened(error: NotOpened) -> ApiError {
    match error {
        NotOpened::TooMany { wait } => {
            let seconds = wait.as_millis().div_ceil(1000) as u64;
            let detail = format!(
                "This device opened too many streams. Try again in {seconds} s, and keep one stream open."
            );
            Problem::new(&code::RATE_LIMITED, detail).with_retry_after(seconds).into()
        }
        NotOpened::Store(error) => {
            tracing::warn!(%error, "A stream was not opened: the session store is unavailable.");
            let detail = "Streams cannot be opened now. Try again in a few seconds.";
            ApiError::new(&code::CACHE_UNAVAILABLE, detail)
        }
    }
}

fn check_channels(named: Option<&str>) -> Result<(), ApiError> {
    match named.and_then(|names| names.split(',').find(|name| !CHANNELS.contains(name))) {
        Some(_) => {
            let detail = format!("Channels are {}.", CHANNELS.join(", "));
            Err(Problem::field("query.channels", "UNKNOWN", detail).into())
        }
        None => Ok(()),
    }
}

/// Between one and three seconds, so that 2,000 desktops do not reconnect at once.
fn retry(entropy: &Entropy) -> Duration {
    Duration::from_millis(1000 + (entropy.unit() * 2000.0) as u64)
}

struct Connection {
    id: EventId,
    expires_at: Timestamp,
    ends: Instant,
    retry: Duration,
    principal: Arc<Principal>,
    session: Arc<Session>,
    revocations: Feed,
    tenant_statuses: TenantStatuses,
    events: mpsc::Sender<Event>,
}

/// The client disconnected or reads too slowly.
struct Disconnected;

impl Connection {
    async fn run(self, lifecycle: Lifecycle, registration: Registration) {
        let open = gauge!("bff_backoffice_sse_active_connections");
        open.increment(1);
        let _ = self.serve(&lifecycle, &registration).await;
        open.decrement(1);
        // The stream ends for the client before its registration is removed from the session store.
        drop(self);
        registration.close().await;
    }

    async fn serve(
        &self,
        lifecycle: &Lifecycle,
        registration: &Registration,
    ) -> Result<(), Disconnected> {
        // Subscribes before the first check, so that no change is missed.
        let mut revocations = self.revocations.live().changes();
        let mut tenant_statuses = self.tenant_statuses.changes();
        self.hello()?;
        if let Some(goodbye) = self.force_logout() {
            return goodbye;
        }
        let mut heartbeat = interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
        let warning = sleep_until(self.ends.checked_sub(EXPIRY_WARNING).unwrap_or(self.ends));
        tokio::pin!(warning);
        let mut warned = false;
        loop {
            tokio::select! {
                _ = heartbeat.tick() => {
                    // Not axum's `KeepAlive`: the same tick renews the lease.
                    self.send(Event::default().comment("heartbeat"))?;
                    registration.renew().await;
                }
                () = registration.superseded() => {
                    counter!("bff_backoffice_sse_superseded_total").increment(1);
                    return self.event(4, "superseded", &json!({"reason": "newer_stream"}));
                }
                () = &mut warning, if !warned => {
                    warned = true;
                    self.event(1, "session.expiring", &json!({"sessionExpiresAt": wire::Timestamp(self.expires_at)}))?;
                }
                Ok(()) = revocations.changed() => {
                    if let Some(goodbye) = self.force_logout() {
                        return goodbye;
                    }
                }
                Ok(()) = tenant_statuses.changed() => {
                    if let Some(goodbye) = self.force_logout() {
                        return goodbye;
                    }
                }
                () = sleep_until(self.ends) => return Ok(()),
                () = lifecycle.stopping() => {
                    return self.event(2, "drain", &json!({"retryMs": self.retry.as_millis() as u64}));
                }
                () = self.events.closed() => return Ok(()),
            }
        }
    }

    /// Sends the last event of a stream whose session, device, operator or tenant was revoked, or
    /// whose tenant was suspended. Checks the principal that opened the stream; a refresh does not
    /// change it.
    fn force_logout(&self) -> Option<Result<(), Disconnected>> {
        if !safeguard!(ForcedSignOut) {
            return None;
        }
        let (live, session) = (self.revocations.live(), &self.session);
        let revoked = live
            .against(&self.principal)
            .or_else(|| live.ended(session.tenant, session.id, self.principal.issued_at));
        let suspended = self.tenant_statuses.is_suspended(session.tenant);
        let reason = revoked.or_else(|| suspended.then(|| "tenant_suspended".into()))?;
        counter!("bff_backoffice_force_logout_total").increment(1);
        Some(self.event(3, "session.force_logout", &json!({"reason": &*reason})))
    }

    fn hello(&self) -> Result<(), Disconnected> {
        let hello = Hello {
            connection_id: self.id,
            session_expires_at: self.expires_at.into(),
            heartbeat_ms: HEARTBEAT.as_millis() as u64,
            retry_ms: self.retry.as_millis() as u64,
        };
        self.send(self.write(Event::default().retry(self.retry), 0, "hello", &hello))
    }

    fn event(&self, number: u32, name: &str, data: &impl Serialize) -> Result<(), Disconnected> {
        self.send(self.write(Event::default(), number, name, data))
    }

    fn write(&self, event: Event, number: u32, name: &str, data: &impl Serialize) -> Event {
        let event = event.id(format!("{}.{number}", self.id)).event(name);
        event.json_data(data).expect("events are plain JSON")
    }

    /// Never waits: a reader that does not drain its queue is disconnected.
    fn send(&self, event: Event) -> Result<(), Disconnected> {
        self.events.try_send(event).map_err(|_| Disconnected)
    }
}
