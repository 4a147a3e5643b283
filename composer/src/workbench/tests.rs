use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use contracts::clock::Clock;
use contracts::dashboard::{Reason, WidgetStatus};
use contracts::id::{RequestId, WorkbenchViewId};
use contracts::role::Role;
use contracts::upstream::Upstream;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::{advance, sleep};
use tokio_util::task::TaskTracker;
use upstream_clients::{CallError, Credentials};

use super::*;
use crate::snapshots::Fetched;

const AS_OF: &str = "2026-11-21T08:00:00.000Z";
const ROOM: &str = "rom_01K0000000000000000000000A";
const STAY: &str = "rsv_01K0000000000000000000000A";

#[derive(Debug)]
struct NoCredentials;

impl Credentials for NoCredentials {
    fn bearer(&self, _: Upstream) -> Arc<str> {
        "".into()
    }
}

/// What an upstream does instead of answering after 20 ms.
#[derive(Debug, Clone, Copy)]
enum Behavior {
    Fails,
    Hangs,
}

/// The name and day of a read.
type NamedRead = (&'static str, Option<Date>);

/// Upstreams that a test commands, and the fetches they received.
#[derive(Clone)]
struct TestUpstreams {
    snapshots: Snapshots,
    behaviors: Arc<Mutex<HashMap<Upstream, Behavior>>>,
    fetches: Arc<Mutex<Vec<NamedRead>>>,
}

fn property() -> PropertyId {
    "ppt_01K0000000000000000000000A".parse().unwrap()
}

fn tenant() -> TenantId {
    "tnt_01K0000000000000000000000A".parse().unwrap()
}

impl TestUpstreams {
    fn new() -> Self {
        let (start, began) = (AS_OF.parse::<Timestamp>().unwrap(), Instant::now());
        let clock = Clock::from_fn(move || start + began.elapsed());
        Self {
            snapshots: Snapshots::new(clock, TaskTracker::new(), None),
            behaviors: Arc::default(),
            fetches: Arc::default(),
        }
    }

    fn set(&self, upstream: Upstream, behavior: Behavior) {
        self.behaviors.lock().unwrap().insert(upstream, behavior);
    }

    fn has_fetched(&self, read: &'static str, day: Option<Date>) -> bool {
        self.fetches.lock().unwrap().contains(&(read, day))
    }

    async fn answer(self, read: &'static str, day: Option<Date>) -> Result<Fetched, CallError> {
        self.fetches.lock().unwrap().push((read, day));
        let (upstream, body) = canned_answer(read);
        let behavior = self.behaviors.lock().unwrap().get(&upstream).copied();
        sleep(Duration::from_millis(20)).await;
        match behavior {
            None => Ok(Fetched::new(property(), AS_OF.parse().unwrap(), &body)),
            Some(Behavior::Fails) => Err(CallError::Status { status: 503, problem: None }),
            Some(Behavior::Hangs) => std::future::pending().await,
        }
    }

    async fn parts(&self, request: &ViewRequest, lists: &[List]) -> Result<ViewParts, ReadError> {
        let fetch = |read: &PropertyRead, _, at: PropertyDay| {
            self.clone().answer(read.policy.name, at.day).boxed()
        };
        let context = CallContext {
            tenant: Some(tenant()),
            request_id: "req_01K0000000000000000000000A".parse::<RequestId>().unwrap(),
            traceparent: "".into(),
            credentials: Arc::new(NoCredentials),
            deadline: request.admitted + Duration::from_millis(550),
        };
        ViewBuilder { snapshots: &self.snapshots, request, context: &context, fetch }
            .load(lists)
            .await
    }

    /// The arrivals as they are shown, and how long they took.
    async fn arrivals(&self, request: &ViewRequest) -> (Value, Duration) {
        let began = Instant::now();
        let composed = self.parts(request, &[List::Arrivals]).await.unwrap().stays_view(id());
        (shown(&composed.view), began.elapsed())
    }
}

fn id() -> WorkbenchViewId {
    "wbv_01K0000000000000000000000A".parse().unwrap()
}

fn shown(view: &impl Serialize) -> Value {
    serde_json::to_value(view).unwrap()
}

fn request(role: Role) -> ViewRequest {
    let roles = RoleSet::of(&[role]);
    ViewRequest {
        tenant: tenant(),
        roles,
        property: property(),
        day: None,
        admitted: Instant::now(),
    }
}

fn canned_answer(read: &str) -> (Upstream, Value) {
    let head = json!({"propertyId": property(), "asOf": AS_OF});
    let with = |upstream, more: Value| {
        let mut body = head.clone();
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        (upstream, body)
    };
    let stay = |state: &str| {
        json!({"date": "2026-11-21", "expected": 1, "items": [{
            "reservationId": STAY, "code": "GM-1", "guestName": "A", "roomId": ROOM,
            "roomNumber": "101", "checkIn": "2026-11-21", "checkOut": "2026-11-22", "adults": 2,
            "state": state,
        }]})
    };
    match read {
        "arrivals" => with(Upstream::Reservation, stay("confirmed")),
        "departures" => with(Upstream::Reservation, stay("checked_out")),
        "inHouse" => with(Upstream::Reservation, stay("in_house")),
        "roomStatus" => with(
            Upstream::Housekeeping,
            json!({"counts": {}, "rooms": [
                {"roomId": ROOM, "number": "101", "floor": 1, "status": "ready", "since": AS_OF}]}),
        ),
        "balances" => with(
            Upstream::Billing,
            json!({"items": [{"folioId": "fol_01K0000000000000000000000A", "reservationId": STAY,
                              "balance": {"amountMicro": "5000000", "currency": "AFN"}}]}),
        ),
        "lockKeys" => with(
            Upstream::Lock,
            json!({"items": [{"keyCredentialId": "key_01K0000000000000000000000A",
                "lockId": "lck_01K0000000000000000000000A", "reservationId": STAY, "roomIds": [ROOM],
                "kind": "pin_code", "validFrom": AS_OF, "validUntil": AS_OF}]}),
        ),
        other => panic!("the workbench does not fetch {other}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_stay_is_shown_with_the_data_of_each_column() {
    let (view, took) = TestUpstreams::new().arrivals(&request(Role::FrontDesk)).await;
    assert_eq!(took, Duration::from_millis(20), "all parts at once");
    assert_eq!((&view["partial"], &view["stays"]["status"]), (&json!(false), &json!("ok")));
    let row = &view["items"][0];
    assert_eq!((&row["reservationId"], &row["guestName"]), (&json!(STAY), &json!("A")));
    assert_eq!((&row["roomStatus"], &row["balance"]["currency"]), (&json!("ready"), &json!("AFN")));
    assert_eq!(row["keys"][0]["kind"], "pin_code");
}

#[tokio::test(start_paused = true)]
async fn a_column_that_fails_is_left_out_and_the_others_stay() {
    for (upstream, column, member) in [
        (Upstream::Housekeeping, "roomStatus", "roomStatus"),
        (Upstream::Billing, "balance", "balance"),
        (Upstream::Lock, "keys", "keys"),
    ] {
        let upstreams = TestUpstreams::new();
        upstreams.set(upstream, Behavior::Fails);
        let (view, _) = upstreams.arrivals(&request(Role::FrontDesk)).await;
        let lost = &view["columns"][column];
        assert_eq!(
            (&lost["status"], &lost["reason"]),
            (&json!("unavailable"), &json!("UPSTREAM_ERROR"))
        );
        let lost: Vec<_> = ["roomStatus", "balance", "keys"]
            .into_iter()
            .filter(|member| view["items"][0].get(member).is_none())
            .collect();
        assert_eq!((lost, &view["partial"]), (vec![member], &json!(true)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_hanging_column_delays_the_list_by_300_ms_unless_a_stale_snapshot_exists() {
    let upstreams = TestUpstreams::new();
    upstreams.set(Upstream::Billing, Behavior::Hangs);
    let (view, took) = upstreams.arrivals(&request(Role::FrontDesk)).await;
    assert_eq!(view["columns"]["balance"]["reason"], "UPSTREAM_TIMEOUT");
    let at_most = COLUMN_TIMEOUT + Duration::from_millis(11);
    assert!(took <= at_most && took >= COLUMN_TIMEOUT, "{took:?}");

    let upstreams = TestUpstreams::new();
    upstreams.arrivals(&request(Role::FrontDesk)).await;
    upstreams.set(Upstream::Billing, Behavior::Hangs);
    advance(VIEW_FRESHNESS).await;
    let (view, took) = upstreams.arrivals(&request(Role::FrontDesk)).await;
    let balance = &view["columns"]["balance"];
    assert_eq!((&balance["status"], &view["partial"]), (&json!("stale"), &json!(true)));
    assert!(balance["ageMs"].as_u64().unwrap() >= 15_000, "{balance}");
    assert_eq!(view["items"][0]["balance"]["amountMicro"], "5000000");
    assert!(took < COLUMN_TIMEOUT, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn without_the_stays_there_is_no_view_and_no_wait_for_columns() {
    let upstreams = TestUpstreams::new();
    upstreams.set(Upstream::Reservation, Behavior::Fails);
    upstreams.set(Upstream::Housekeeping, Behavior::Hangs);
    let (request, began) = (request(Role::FrontDesk), Instant::now());
    let error = upstreams.parts(&request, &[List::Arrivals]).await.unwrap_err();
    assert_eq!(error.reason(), Reason::UpstreamError);
    assert_eq!(began.elapsed(), Duration::from_millis(20));
}

#[tokio::test(start_paused = true)]
async fn stale_stays_are_shown_with_their_age() {
    let upstreams = TestUpstreams::new();
    upstreams.arrivals(&request(Role::FrontDesk)).await;
    upstreams.set(Upstream::Reservation, Behavior::Fails);
    advance(VIEW_FRESHNESS).await;
    let (view, _) = upstreams.arrivals(&request(Role::FrontDesk)).await;
    assert_eq!((&view["stays"]["status"], &view["partial"]), (&json!("stale"), &json!(true)));
    assert_eq!(view["items"][0]["code"], "GM-1");
}

#[tokio::test(start_paused = true)]
async fn a_view_is_one_snapshot_of_fifteen_seconds() {
    let upstreams = TestUpstreams::new();
    upstreams.arrivals(&request(Role::FrontDesk)).await;
    for (seconds, fetched) in [(0, 4), (11, 4), (4, 8)] {
        advance(Duration::from_secs(seconds)).await;
        let (_, took) = upstreams.arrivals(&request(Role::FrontDesk)).await;
        assert_eq!(upstreams.fetches.lock().unwrap().len(), fetched);
        assert_eq!(took.is_zero(), fetched == 4, "what is known is shown at once");
    }
}

#[tokio::test(start_paused = true)]
async fn a_column_the_role_may_not_see_is_never_fetched() {
    let upstreams = TestUpstreams::new();
    let (view, _) = upstreams.arrivals(&request(Role::Housekeeping)).await;
    for column in ["balance", "keys"] {
        assert_eq!(view["columns"][column]["status"], "forbidden");
        assert!(view["items"][0].get(column).is_none());
    }
    assert_eq!(
        (&view["partial"], &view["items"][0]["roomStatus"]),
        (&json!(false), &json!("ready"))
    );
    assert!(!upstreams.has_fetched("balances", None) && !upstreams.has_fetched("lockKeys", None));
}

#[tokio::test(start_paused = true)]
async fn today_counts_the_stays_of_all_lists() {
    let upstreams = TestUpstreams::new();
    let parts = upstreams.parts(&request(Role::FrontDesk), &List::ALL).await.unwrap();
    let composed = parts.today_view(id());
    let (counts, origins) = (composed.view.counts, composed.origins);
    assert_eq!((counts.arrivals, counts.arrived), (1, 0));
    assert_eq!((counts.departures, counts.departed, counts.in_house), (1, 1, 1));
    let names: Vec<_> = origins.iter().map(|part| part.name).collect();
    assert_eq!(names, ["arrivals", "departures", "inHouse", "roomStatus", "balance", "keys"]);
    assert!(origins.iter().all(|part| part.status == WidgetStatus::Ok));
}

#[tokio::test(start_paused = true)]
async fn another_day_is_another_snapshot() {
    let upstreams = TestUpstreams::new();
    let today = request(Role::FrontDesk);
    upstreams.arrivals(&today).await;
    let day = Some("2026-11-25".parse().unwrap());
    upstreams.arrivals(&ViewRequest { day, ..today }).await;
    assert!(upstreams.has_fetched("arrivals", None) && upstreams.has_fetched("arrivals", day));
}
