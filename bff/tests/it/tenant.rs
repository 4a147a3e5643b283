//! tenant-service, played on a socket: it answers as a test wants.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use contracts::clock::{Clock, wire_time};
use contracts::problem::{CONTENT_TYPE, Problem, code};
use contracts::upstream::Upstream;
use http::StatusCode;
use jiff::SignedDuration;
use serde_json::{Value, json};
use service_kit::lifecycle::Lifecycle;
use service_kit::serve::{Plain, bind, serve};
use tokio::sync::Notify;
use upstream_clients::BaseUrls;

use crate::house::{House, Plan};

/// What it does when it is asked.
#[derive(Clone)]
pub(crate) enum Mood {
    /// A good profile, with these members instead.
    Says(Value),
    /// It has no such operator.
    KnowsNobody,
    /// Without a body.
    Refuses(u16),
    /// Until it is in another mood.
    Hangs,
}

#[derive(Clone)]
pub(crate) struct Tenant {
    mood: Arc<Mutex<Mood>>,
    asked: Arc<AtomicUsize>,
    changed: Arc<Notify>,
    clock: Clock,
}

impl Tenant {
    /// A house whose tenant-service this is.
    pub(crate) async fn with_house(mood: Mood) -> (Self, House) {
        Self::with_plan(mood, Plan::usual()).await
    }

    pub(crate) async fn with_plan(mood: Mood, plan: Plan) -> (Self, House) {
        let mood = Arc::new(Mutex::new(mood));
        let tenant = Self {
            mood,
            asked: Arc::default(),
            changed: Arc::default(),
            clock: plan.clock.clone(),
        };
        let app = Router::new().route("/api/v1/tenants/{tenant}/operators/{operator}", get(answer));
        let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        serve(listener, Plain, app.with_state(tenant.clone()), &Lifecycle::new());
        let upstreams = BaseUrls::from([(Upstream::Tenant, url.parse().unwrap())]);
        let house = House::build(Plan { upstreams, ..plan }).await;
        tenant.grants(&house);
        (tenant, house)
    }

    /// Adds the house's property to what it says, unless the test says which.
    fn grants(&self, house: &House) {
        let mut mood = self.mood.lock().unwrap();
        if let Mood::Says(said) = &mut *mood
            && said.get("propertyIds").is_none()
        {
            said["propertyIds"] = json!([house.property]);
        }
    }

    pub(crate) fn is(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
        self.changed.notify_waiters();
    }

    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

async fn answer(
    State(played): State<Tenant>,
    Path((tenant, operator)): Path<(String, String)>,
) -> Response {
    played.asked.fetch_add(1, Ordering::Relaxed);
    let mut mood = played.mood.lock().unwrap().clone();
    while matches!(mood, Mood::Hangs) {
        played.changed.notified().await;
        mood = played.mood.lock().unwrap().clone();
    }
    match mood {
        Mood::KnowsNobody => not_found(),
        Mood::Refuses(status) => StatusCode::from_u16(status).unwrap().into_response(),
        Mood::Hangs => unreachable!("it waited for another mood"),
        Mood::Says(said) => {
            let mut profile = json!({
                "tenantId": tenant, "operatorId": operator, "tenantStatus": "active",
                "displayName": "Mina", "locale": "fa-AF", "roles": ["front_desk"],
                "asOf": wire_time(played.clock.now()),
            });
            let said = said.as_object().unwrap().clone();
            profile.as_object_mut().unwrap().extend(said);
            axum::Json(profile).into_response()
        }
    }
}

/// As the services answer it.
pub(crate) fn not_found() -> Response {
    let problem = Problem::new(&code::RESOURCE_NOT_FOUND, "There is no such thing.");
    (StatusCode::NOT_FOUND, [("content-type", CONTENT_TYPE)], axum::Json(problem)).into_response()
}

/// A clock that a test moves.
#[derive(Clone)]
pub(crate) struct Hands(Arc<Mutex<SignedDuration>>);

impl Hands {
    pub(crate) fn new() -> (Self, Clock) {
        let hands = Self(Arc::default());
        let (ahead, system) = (hands.clone(), Clock::system());
        let clock = Clock::from_fn(move || system.now() + *ahead.0.lock().unwrap());
        (hands, clock)
    }

    pub(crate) fn forward(&self, minutes: i64) {
        *self.0.lock().unwrap() += SignedDuration::from_mins(minutes);
    }
}
