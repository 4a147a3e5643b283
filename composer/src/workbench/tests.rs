use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use contracts::clock::Clock;
use contracts::dashboard::{Reason, WidgetStatus};
use contracts::id::RequestId;
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
struct Nobody;

impl Credentials for Nobody {
    fn bearer(&self, _: Upstream) -> Arc<str> {
        "".into()
    }
}

/// What an upstream does instead of answering after 20 ms.
#[derive(Debug, Clone, Copy)]
enum Mood {
    Fails,
    Hangs,
}

/// Upstreams that a test commands, and what they were asked.
#[derive(Clone)]
struct World {
    snapshots: Snapshots,
    moods: Arc<Mutex<HashMap<Upstream, Mood>>>,
    asked: Arc<Mutex<Vec<Question>>>,
}

fn property() -> PropertyId {
    "ppt_01K0000000000000000000000A".parse().unwrap()
}

fn tenant() -> TenantId {
    "tnt_01K0000000000000000000000A".parse().unwrap()
}

impl World {
    fn new() -> Self {
        let (start, began) = (AS_OF.parse::<Timestamp>().unwrap(), Instant::now());
        let clock = Clock::from_fn(move || start + began.elapsed());
        Self {
            snapshots: Snapshots::new(clock, TaskTracker::new(), None),
            moods: Arc::default(),
            asked: Arc::default(),
        }
    }

    fn is(&self, upstream: Upstream, mood: Mood) {
        self.moods.lock().unwrap().insert(upstream, mood);
    }

    fn asked(&self, question: Question) -> bool {
        self.asked.lock().unwrap().contains(&question)
    }

    async fn answer(self, question: Question) -> Answer {
        self.asked.lock().unwrap().push(question);
        let (upstream, body) = said(question);
        let mood = self.moods.lock().unwrap().get(&upstream).copied();
        sleep(Duration::from_millis(20)).await;
        match mood {
            None => Ok(Fetched::new(property(), AS_OF.parse().unwrap(), &body)),
            Some(Mood::Fails) => Err(CallError::Status { status: 503, problem: None }),
            Some(Mood::Hangs) => std::future::pending().await,
        }
    }

    async fn parts(&self, asked: &Asked, lists: &[List]) -> Result<Parts, ReadError> {
        let world = self.clone();
        let ask = move |question, _| world.clone().answer(question).boxed();
        let context = CallContext {
            tenant: Some(tenant()),
            request_id: "req_01K0000000000000000000000A".parse::<RequestId>().unwrap(),
            traceparent: "".into(),
            credentials: Arc::new(Nobody),
            deadline: asked.admitted + Duration::from_millis(550),
        };
        Bench { snapshots: &self.snapshots, asked, context: &context, ask }.parts(lists).await
    }

    /// The arrivals as they are shown, and how long they took.
    async fn arrivals(&self, asked: &Asked) -> (Value, Duration) {
        let began = Instant::now();
        let viewed = self.parts(asked, &[List::Arrivals]).await.unwrap().stays_view(id());
        (shown(&viewed.view), began.elapsed())
    }
}

fn id() -> WorkbenchViewId {
    "wbv_01K0000000000000000000000A".parse().unwrap()
}

fn shown(view: &impl Serialize) -> Value {
    serde_json::to_value(view).unwrap()
}

fn asked(role: Role) -> Asked {
    let roles = RoleSet::of(&[role]);
    Asked { tenant: tenant(), roles, property: property(), day: None, admitted: Instant::now() }
}

fn said(question: Question) -> (Upstream, Value) {
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
    match question {
        Question::Arrivals(_) => with(Upstream::Reservation, stay("confirmed")),
        Question::Departures(_) => with(Upstream::Reservation, stay("checked_out")),
        Question::InHouse(_) => with(Upstream::Reservation, stay("in_house")),
        Question::RoomStatus => with(
            Upstream::Housekeeping,
            json!({"counts": {}, "rooms": [
                {"roomId": ROOM, "number": "101", "floor": 1, "status": "ready", "since": AS_OF}]}),
        ),
        Question::Balances => with(
            Upstream::Billing,
            json!({"items": [{"folioId": "fol_01K0000000000000000000000A", "reservationId": STAY,
                              "balance": {"amountMicro": "5000000", "currency": "AFN"}}]}),
        ),
        Question::LockKeys => with(
            Upstream::Lock,
            json!({"items": [{"keyCredentialId": "key_01K0000000000000000000000A",
                "lockId": "lck_01K0000000000000000000000A", "reservationId": STAY, "roomIds": [ROOM],
                "kind": "pin_code", "validFrom": AS_OF, "validUntil": AS_OF}]}),
        ),
        other => panic!("the workbench does not ask for {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_stay_is_shown_with_what_each_column_knows_of_it() {
    let (view, took) = World::new().arrivals(&asked(Role::FrontDesk)).await;
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
        let world = World::new();
        world.is(upstream, Mood::Fails);
        let (view, _) = world.arrivals(&asked(Role::FrontDesk)).await;
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
async fn a_column_that_hangs_costs_the_list_300_ms_and_what_was_known_is_shown_sooner() {
    let world = World::new();
    world.is(Upstream::Billing, Mood::Hangs);
    let (view, took) = world.arrivals(&asked(Role::FrontDesk)).await;
    assert_eq!(view["columns"]["balance"]["reason"], "UPSTREAM_TIMEOUT");
    let at_most = COLUMN_WITHIN + Duration::from_millis(11);
    assert!(took <= at_most && took >= COLUMN_WITHIN, "{took:?}");

    let world = World::new();
    world.arrivals(&asked(Role::FrontDesk)).await;
    world.is(Upstream::Billing, Mood::Hangs);
    advance(FRESH).await;
    let (view, took) = world.arrivals(&asked(Role::FrontDesk)).await;
    let balance = &view["columns"]["balance"];
    assert_eq!((&balance["status"], &view["partial"]), (&json!("stale"), &json!(true)));
    assert!(balance["ageMs"].as_u64().unwrap() >= 15_000, "{balance}");
    assert_eq!(view["items"][0]["balance"]["amountMicro"], "5000000");
    assert!(took < COLUMN_WITHIN, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn without_the_stays_there_is_no_view_and_no_wait_for_columns() {
    let world = World::new();
    world.is(Upstream::Reservation, Mood::Fails);
    world.is(Upstream::Housekeeping, Mood::Hangs);
    let (asked, began) = (asked(Role::FrontDesk), Instant::now());
    let error = world.parts(&asked, &[List::Arrivals]).await.unwrap_err();
    assert_eq!(error.reason(), Reason::UpstreamError);
    assert_eq!(began.elapsed(), Duration::from_millis(20));
}

#[tokio::test(start_paused = true)]
async fn stays_that_were_known_are_shown_with_their_age() {
    let world = World::new();
    world.arrivals(&asked(Role::FrontDesk)).await;
    world.is(Upstream::Reservation, Mood::Fails);
    advance(FRESH).await;
    let (view, _) = world.arrivals(&asked(Role::FrontDesk)).await;
    assert_eq!((&view["stays"]["status"], &view["partial"]), (&json!("stale"), &json!(true)));
    assert_eq!(view["items"][0]["code"], "GM-1");
}

#[tokio::test(start_paused = true)]
async fn a_view_is_one_snapshot_of_fifteen_seconds() {
    let world = World::new();
    world.arrivals(&asked(Role::FrontDesk)).await;
    for (seconds, parts_asked) in [(0, 4), (11, 4), (4, 8)] {
        advance(Duration::from_secs(seconds)).await;
        let (_, took) = world.arrivals(&asked(Role::FrontDesk)).await;
        assert_eq!(world.asked.lock().unwrap().len(), parts_asked);
        assert_eq!(took.is_zero(), parts_asked == 4, "what is known is shown at once");
    }
}

#[tokio::test(start_paused = true)]
async fn a_column_the_role_may_not_see_is_never_asked_for() {
    let world = World::new();
    let (view, _) = world.arrivals(&asked(Role::Housekeeping)).await;
    for column in ["balance", "keys"] {
        assert_eq!(view["columns"][column]["status"], "forbidden");
        assert!(view["items"][0].get(column).is_none());
    }
    assert_eq!(
        (&view["partial"], &view["items"][0]["roomStatus"]),
        (&json!(false), &json!("ready"))
    );
    assert!(!world.asked(Question::Balances) && !world.asked(Question::LockKeys));
}

#[tokio::test(start_paused = true)]
async fn today_counts_the_stays_of_all_lists() {
    let world = World::new();
    let parts = world.parts(&asked(Role::FrontDesk), &List::ALL).await.unwrap();
    let viewed = parts.today_view(id());
    let (counts, told) = (viewed.view.counts, viewed.told);
    assert_eq!((counts.arrivals, counts.arrived), (1, 0));
    assert_eq!((counts.departures, counts.departed, counts.in_house), (1, 1, 1));
    let names: Vec<_> = told.iter().map(|part| part.name).collect();
    assert_eq!(names, ["arrivals", "departures", "inHouse", "roomStatus", "balance", "keys"]);
    assert!(told.iter().all(|part| part.status == WidgetStatus::Ok));
}

#[tokio::test(start_paused = true)]
async fn another_day_is_another_snapshot() {
    let world = World::new();
    let today = asked(Role::FrontDesk);
    world.arrivals(&today).await;
    let day = Some("2026-11-25".parse().unwrap());
    world.arrivals(&Asked { day, ..today }).await;
    assert!(world.asked(Question::Arrivals(None)) && world.asked(Question::Arrivals(day)));
}
