//! The main job on real processes: sign in, prove, be shown a dashboard; and what happens when
//! a proof is wrong or a process is killed.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use chaos::events;
use chaos::house::{House, Plan, Seen};
use futures_util::StreamExt;
use launcher::desktop::{Call, DeviceKey};
use launcher::progress::Progress;
use reqwest::header::{ACCEPT, HeaderValue};
use reqwest::{Method, Response};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::{Mutex, MutexGuard};
use tokio::task::JoinSet;
use tokio::time::timeout;

const WIDGETS: [&str; 17] = [
    "aiSuggestions",
    "alerts",
    "arrivals",
    "availability",
    "departures",
    "folioSummary",
    "housekeepingSummary",
    "inHouse",
    "kpis",
    "maintenanceSummary",
    "occupancy",
    "propertyCard",
    "rateSnapshot",
    "roomStatus",
    "staffOnDuty",
    "staffingGaps",
    "syncStatus",
];

/// One house at a time: beside six others none would keep its deadlines.
static TURN: Mutex<()> = Mutex::const_new(());

/// A house of the test's own, for as long as it is its turn.
struct Turn {
    house: House,
    _turn: MutexGuard<'static, ()>,
}

impl Deref for Turn {
    type Target = House;

    fn deref(&self) -> &House {
        &self.house
    }
}

impl DerefMut for Turn {
    fn deref_mut(&mut self) -> &mut House {
        &mut self.house
    }
}

impl Turn {
    async fn take(plan: Plan<'_>) -> Self {
        let turn = TURN.lock().await;
        let house = House::open(plan, &Progress::quiet()).await.unwrap();
        Self { house, _turn: turn }
    }

    async fn close(self) {
        self.house.close().await.unwrap();
    }
}

/// A house at work: the first dashboard of a fresh stack may lack what a busy machine was late with.
async fn open(name: &str) -> Turn {
    let house = Turn::take(Plan::new(House::folder("tests").join(name))).await;
    let is_so = async |house: &House| Ok(house.dashboard().await.is_whole());
    house.until("a whole dashboard", Duration::from_secs(10), is_so).await.unwrap();
    house
}

async fn body(house: &House, call: &Call) -> String {
    let response = house.desktop.send(call).await.unwrap();
    assert_eq!(response.status(), 200);
    response.text().await.unwrap()
}

fn dashboard(house: &House, accept: &'static str) -> Call {
    let mut call = Call::get(format!("/dashboard?propertyId={}", house.property));
    call.headers.insert(ACCEPT, HeaderValue::from_static(accept));
    call
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dashboard_comes_whole_in_every_form() {
    let house = open("forms").await;
    let whole: Value =
        serde_json::from_str(&body(&house, &dashboard(&house, "application/json")).await).unwrap();
    assert_eq!(whole["partial"], false, "{whole}");
    let names: BTreeSet<&str> =
        whole["widgets"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(names, BTreeSet::from(WIDGETS));
    assert_eq!(whole["widgets"]["occupancy"]["data"]["total"], 48);

    let lines = body(&house, &dashboard(&house, "application/x-ndjson")).await;
    let records: Vec<Value> =
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(records[0]["record"], "skeleton");
    assert_eq!(records.len(), WIDGETS.len() + 2);
    assert_eq!(records.last().unwrap()["record"], "done");
    let events = body(&house, &dashboard(&house, "text/event-stream")).await;
    assert_eq!(events.matches("data: ").count(), WIDGETS.len() + 2);
    house.close().await;
}

/// What the gateway answers to this token and this proof.
async fn judged(house: &House, token: &str, proof: &str) -> (u16, String) {
    let response = house.desktop.request(&session(), token, proof).unwrap().send().await.unwrap();
    verdict(response).await
}

async fn verdict(response: Response) -> (u16, String) {
    let status = response.status().as_u16();
    let body: Value = response.json().await.unwrap();
    (status, body["code"].as_str().unwrap_or_default().to_owned())
}

fn session() -> Call {
    Call::get("/session")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_missing_replayed_or_foreign_proof_is_refused() {
    let house = open("proofs").await;
    let token = house.desktop.access_token().await.unwrap();
    let url = house.desktop.url("/session").unwrap();
    let invalid = (401, "MELMASTOON.BFF.DPOP_INVALID".to_owned());
    let fresh = || house.desktop.proof(&Method::GET, &url, &token);

    let good = fresh().sign(house.desktop.key()).unwrap();
    assert_eq!(judged(&house, &token, &good).await.0, 200);
    assert_eq!(judged(&house, &token, &good).await, invalid, "replayed");
    let wrong = fresh().claim("htm", "POST").sign(house.desktop.key()).unwrap();
    assert_eq!(judged(&house, &token, &wrong).await, invalid, "wrong method");
    let foreign = fresh().sign(&DeviceKey::generate().unwrap()).unwrap();
    assert_eq!(judged(&house, &token, &foreign).await, invalid, "another device's key");
    let missing =
        house.desktop.http().get(url.clone()).header("authorization", format!("DPoP {token}"));
    assert_eq!(verdict(missing.send().await.unwrap()).await, invalid, "missing");
    let nobody = house.desktop.http().get(url.clone()).send().await.unwrap();
    assert_eq!(verdict(nobody).await, (401, "MELMASTOON.BFF.SESSION_REQUIRED".to_owned()));
    let blocked = house.metric("bff_backoffice_dpop_replay_blocked_total", &[]).await.unwrap();
    assert!((blocked - 1.0).abs() < f64::EPSILON, "{blocked} replays counted");
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_housekeeping_costs_its_widgets_and_nothing_else() {
    let mut house = open("killed").await;
    let pause = Duration::from_millis(20);
    assert!(house.dashboard().await.is_whole());
    events::outdate(&house, "housekeeping").await.unwrap();
    house.stack.process("housekeeping").unwrap().kill().await.unwrap();
    let during = house.watch(Duration::from_secs(2), pause).await;
    house.stack.restart("housekeeping").await.unwrap();
    let back = async |house: &House| Ok(house.dashboard().await.is_whole());
    house.until("a whole dashboard", Duration::from_secs(10), back).await.unwrap();

    assert!(during.iter().all(|seen| seen.status == Some(200)), "a dashboard was not 200");
    let slowest = during.iter().map(|seen| seen.took).max().unwrap();
    assert!(slowest < Duration::from_millis(700), "one took {slowest:?}");
    let missed: BTreeSet<_> = during.iter().map(Seen::missed).collect();
    let its = ["housekeepingSummary", "roomStatus"].map(str::to_owned);
    assert_eq!(missed, BTreeSet::from([BTreeSet::from(its)]), "what each dashboard missed");
    house.close().await;
}

/// How often each route of an upstream was asked.
async fn asked(house: &House) -> BTreeMap<String, u64> {
    let url = format!("{}/control/requests", house.stack.info().stand_ins.url);
    let list: Value = house.http().get(url).send().await.unwrap().json().await.unwrap();
    let counted = list["items"].as_array().unwrap().iter().map(|it| {
        let route =
            format!("{} {}", it["upstream"].as_str().unwrap(), it["route"].as_str().unwrap());
        (route, it["count"].as_u64().unwrap())
    });
    counted.collect()
}

/// What two hundred dashboards at once missed, and how often each question was asked for them.
async fn crowd(house: &House) -> (BTreeSet<String>, BTreeMap<String, u64>) {
    let before = asked(house).await;
    let all = futures_util::future::join_all((0..200).map(|_| house.dashboard())).await;
    let after = asked(house).await;
    let missed = |it: &Seen| match it.status {
        Some(200) => it.missed(),
        other => BTreeSet::from([format!("{other:?} instead of 200")]),
    };
    let more = |(route, count): (String, u64)| {
        let known = before.get(&route).copied().unwrap_or(0);
        let is_ours = !route.starts_with("tenant ") && !route.starts_with("iam ");
        (is_ours && count > known).then(|| (route, count - known))
    };
    (all.iter().flat_map(missed).collect(), after.into_iter().filter_map(more).collect())
}

/// Those of the dashboard's upstreams whose answers are kept.
const KEPT: [&str; 11] = [
    "ai",
    "analytics",
    "billing",
    "housekeeping",
    "inventory",
    "maintenance",
    "notification",
    "pricing",
    "property",
    "reservation",
    "staff",
];

/// A machine that is busy otherwise may be late with one of two hundred, which is then asked for
/// again: what counts is the first crowd that was served whole.
#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_cold_dashboards_at_once_ask_each_upstream_once_per_question() {
    let plan = Plan::new(House::folder("tests").join("together"));
    let plan = Plan { faults_on_services: true, ..plan };
    let house = Turn::take(plan).await;
    let signed_in = house.desktop.send(&session()).await.unwrap();
    assert_eq!(signed_in.status(), 200);
    let (mut missed, mut questions) = crowd(&house).await;
    for _ in 0..2 {
        if missed.is_empty() {
            break;
        }
        for upstream in KEPT {
            events::outdate(&house, upstream).await.unwrap();
        }
        (missed, questions) = crowd(&house).await;
    }

    assert_eq!(missed, BTreeSet::new(), "three crowds missed something");
    // Occupancy and availability are one question; syncStatus asks no upstream.
    assert_eq!(questions.len(), WIDGETS.len() - 2, "{questions:?}");
    assert!(questions.values().all(|count| *count == 1), "{questions:?}");
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_says_hello_and_takes_its_leave_when_the_gateway_drains() {
    let house = open("stream").await;
    let mut call = Call::get("/sse/stream");
    call.within = None;
    let mut stream = house.desktop.send(&call).await.unwrap().bytes_stream();
    let reading = async {
        let mut text = String::new();
        while let Some(Ok(chunk)) = stream.next().await {
            text.push_str(&String::from_utf8_lossy(&chunk));
        }
        text
    };
    let stopping = async {
        let open = async |house: &House| {
            Ok(house.metric("bff_backoffice_sse_active_connections", &[]).await? > 0.5)
        };
        house.until("the stream", Duration::from_secs(5), open).await.unwrap();
        house.stack.process("bff").unwrap().stop().await;
    };
    let (text, ()) = tokio::join!(reading, stopping);
    assert!(text.contains("event: hello\n"), "{text}");
    assert!(text.contains("\"heartbeatMs\":15000"), "{text}");
    assert!(text.contains("event: drain\n"), "{text}");
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_child_that_is_killed_can_be_started_again_at_once() {
    let mut house = open("restarts").await;
    let names: Vec<String> = house.stack.all().map(|process| process.name().to_owned()).collect();
    for name in names {
        house.stack.process(&name).unwrap().kill().await.unwrap();
        house.stack.restart(&name).await.unwrap();
    }
    let back = async |house: &House| Ok(house.dashboard().await.is_whole());
    house.until("a whole dashboard", Duration::from_secs(20), back).await.unwrap();
    house.close().await;
}

/// Takes what is exported and answers 200; says whether this trace was in it, for each service.
async fn collect(listener: TcpListener, trace_id: [u8; 16], mut wanted: BTreeSet<&'static str>) {
    while !wanted.is_empty() {
        let (mut connection, _) = listener.accept().await.unwrap();
        let mut received = Vec::new();
        let mut piece = vec![0; 64 * 1024];
        // The exporter keeps the connection: a pause ends one export.
        while let Ok(Ok(length @ 1..)) =
            timeout(Duration::from_millis(200), connection.read(&mut piece)).await
        {
            received.extend_from_slice(&piece[..length]);
        }
        connection
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            .await
            .unwrap();
        let has = |part: &[u8]| received.windows(part.len()).any(|window| window == part);
        wanted.retain(|service| !(has(&trace_id) && has(service.as_bytes())));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_trace_leads_through_the_gateway_and_the_services_behind_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let collector = Some(format!("http://{}", listener.local_addr().unwrap()));
    let plan = Plan { collector, ..Plan::new(House::folder("tests").join("traces")) };
    let trace_id = 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736_u128;
    let mut tasks = JoinSet::new();
    let services = BTreeSet::from(["bff-backoffice", "inventory", "housekeeping", "staff"]);
    tasks.spawn(collect(listener, trace_id.to_be_bytes(), services));
    let house = Turn::take(plan).await;
    let mut call = dashboard(&house, "application/json");
    let parent = format!("00-{trace_id:032x}-00f067aa0ba902b7-01");
    call.headers.insert("traceparent", parent.parse().unwrap());
    body(&house, &call).await;
    let collected = timeout(Duration::from_secs(30), tasks.join_next()).await;
    collected.expect("a service exported no span of the trace").unwrap().unwrap();
    house.close().await;
}
