//! Postgres behind a path that fails, on real processes: open connections go silent while new ones
//! work, everything goes silent, sessions turn read-only. Nothing hangs, revocations take effect,
//! and every program heals without a restart.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::time::Duration;

use chaos::desk::{self, Answer};
use chaos::house::{House, Plan};
use chaos::proxy::Proxy;
use contracts::clock::Clock;
use contracts::headers::MFA_ATTESTATION;
use launcher::desktop::{Call, Desktop};
use launcher::internal::Caller;
use launcher::progress::Progress;
use reqwest::{Method, Url};
use serde_json::json;
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::{Instant, sleep};

/// Any answer that needs Postgres.
const ANSWERED_WITHIN: Duration = Duration::from_millis(1500);
/// A revocation on every instance, and work after the path is back.
const IN_FORCE_WITHIN: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(50);
const SETTING: &str = "MELMASTOON_POSTGRES__URL";
/// Each program that has a database, and the database's name.
const PROGRAMS: [(&str, &str); 5] = [
    ("bff", "bff"),
    ("bff-2", "bff"),
    ("inventory", "inventory"),
    ("housekeeping", "housekeeping"),
    ("staff", "staff"),
];
const SIGN_OUT: &str = "sign-out";
const UNAVAILABLE: &str = "MELMASTOON.BFF.STORE_UNAVAILABLE";

/// One stack at a time: beside another neither would keep its deadlines.
static TURN: Mutex<()> = Mutex::const_new(());

struct Stage {
    house: House,
    proxy: Proxy,
    _turn: MutexGuard<'static, ()>,
}

impl Stage {
    /// Two gateways that keep no answers, and all programs behind one proxy to Postgres.
    async fn open(name: &str) -> Self {
        let turn = TURN.lock().await;
        let plan = Plan::new(House::folder("tests").join(name));
        let plan = Plan { second_gateway: true, cold: true, ..plan };
        let mut house = House::open(plan, &Progress::quiet()).await.unwrap();
        let urls = house.stack.info().postgres.urls.clone();
        let port = Url::parse(&urls["bff"]).unwrap().port().unwrap();
        let proxy = Proxy::start(([127, 0, 0, 1], port).into()).await.unwrap();
        for (program, database) in PROGRAMS {
            let mut url = Url::parse(&urls[database]).unwrap();
            url.set_host(Some("127.0.0.1")).unwrap();
            url.set_port(Some(proxy.address.port())).unwrap();
            let process = house.stack.process(program).unwrap();
            process.set_env(SETTING, url.as_str()).await.unwrap();
            house.stack.restart(program).await.unwrap();
        }
        house.reconnect().unwrap();
        let stage = Self { house, proxy, _turn: turn };
        stage.until("everything works", Duration::from_secs(20), works).await;
        stage
    }

    async fn until(&self, what: &str, within: Duration, is_so: impl AsyncFn(&House) -> bool) {
        let begun = Instant::now();
        while begun.elapsed() < within {
            if is_so(&self.house).await {
                eprintln!("{what}: after {:?}", begun.elapsed());
                return;
            }
            sleep(LOOK_EVERY).await;
        }
        panic!("not within {within:?}: {what}");
    }

    async fn close(self) {
        self.house.close().await.unwrap();
    }
}

/// Reads that come from each service, and one from the gateway's own database.
fn reads(house: &House) -> Vec<Call> {
    let property = &house.property;
    [
        format!("/locks/audit?propertyId={property}"),
        "/sync/cursor".to_owned(),
        format!("/housekeeping/board?propertyId={property}"),
        format!("/inventory/calendar?propertyId={property}&from=2026-01-01&to=2026-01-03"),
        format!("/staff/on-duty?propertyId={property}"),
    ]
    .map(Call::get)
    .into()
}

/// Whether each program reads from its database, and the gateway is ready.
async fn works(house: &House) -> bool {
    for call in reads(house) {
        let answer = desk::send(&house.desktop, &call).await.unwrap();
        if answer.status != 200 {
            eprintln!("{}: {answer}", call.path);
            return false;
        }
    }
    is_ready(house, 200).await && is_writable(house).await
}

/// Whether all programs answer this to the question whether they are ready.
async fn is_ready(house: &House, status: u16) -> bool {
    let mut urls: Vec<String> =
        house.gateways().into_iter().map(|gateway| gateway.internal_url).collect();
    urls.extend(["inventory", "housekeeping", "staff"].map(|it| house.service_url(it).unwrap()));
    for url in urls {
        let answer = house.http().get(format!("{url}/health/ready")).send().await.unwrap();
        if answer.status() != status {
            return false;
        }
    }
    true
}

/// Whether the gateway claims an idempotency key, which is a write.
async fn is_writable(house: &House) -> bool {
    let answer = desk::send(&house.desktop, &mutations(house)[0].1).await.unwrap();
    answer.code() != UNAVAILABLE
}

/// Changes whose first work is a statement. What they are about does not exist, but for the
/// session that the last one ends.
fn mutations(_house: &House) -> Vec<(&'static str, Call)> {
    let (id, key) = ("01K0000000000000000000000A", desk::new_key);
    let with_factor = |path: String, body| {
        let mut call = desk::change(path, &key(), body).unwrap();
        desk::set(&mut call, MFA_ATTESTATION, &format!("mfa_{id}")).unwrap();
        call
    };
    let post = |path: &str, body| Call { json: Some(body), ..Call::new(Method::POST, path) };
    let check_in = desk::check_in(&format!("rsv_{id}"), &format!("rom_{id}"), &key()).unwrap();
    let money = json!({"amountMicro": "1000000", "currency": "USD"});
    let refund = json!({"amount": money, "reason": "a test"});
    let factor = json!({"method": "totp", "code": "000000", "scope": "folio.refund"});
    vec![
        ("check-in", check_in),
        ("refund", with_factor(format!("/folios/fol_{id}/refunds"), refund)),
        ("step-up", post("/auth/mfa/step-up", factor)),
        ("cursor", post("/sync/cursor", json!({"version": 1}))),
        (SIGN_OUT, post("/auth/sign-out", json!({}))),
    ]
}

/// Sends a call and checks that its answer came in time.
async fn timely(house: &House, name: &str, call: &Call) -> Answer {
    let begun = Instant::now();
    let answer = desk::send(&house.desktop, call).await.unwrap();
    let took = begun.elapsed();
    eprintln!("{name}: {answer} after {took:?}");
    assert!(took < ANSWERED_WITHIN, "{name} took {took:?}");
    answer
}

async fn refused(house: &House, name: &str, call: &Call) {
    let answer = timely(house, name, call).await;
    assert_eq!((answer.status, answer.code()), (503, UNAVAILABLE), "{name}: {}", answer.body);
    assert!(answer.retry_after, "{name}: no Retry-After");
}

fn revocation(house: &House) -> serde_json::Value {
    let operator = house.desktop.operator();
    json!({"tenantId": operator.tenant_id, "kind": "device", "id": operator.device_id, "reason": "stolen"})
}

/// The status of a request with this token and a fresh proof.
async fn with_token(desktop: &Desktop, token: &str) -> u16 {
    let session = Call::get("/session");
    let url = desktop.url(&session.path).unwrap();
    let proof = desktop.proof(&session.method, &url, token).sign(desktop.key()).unwrap();
    let request = desktop.request(&session, token, &proof).unwrap();
    request.send().await.unwrap().status().as_u16()
}

/// Orders it as an account of the platform, once; answers the status.
async fn revoke(house: &House, caller: &Caller) -> u16 {
    let (path, body, begun) = ("/internal/sessions/revoke", revocation(house), Instant::now());
    let sent = caller.call("operator-a", Method::POST, path, Some(&body)).await.unwrap();
    let took = begun.elapsed();
    eprintln!("revoke: {} after {took:?}", sent.status());
    assert!(took < ANSWERED_WITHIN, "revoke took {took:?}");
    sent.status().as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_connections_cost_one_request_a_second_and_hide_no_revocation() {
    let stage = Stage::open("silent").await;
    let (house, proxy) = (&stage.house, &stage.proxy);
    for (name, call) in mutations(house) {
        proxy.silence_open();
        refused(house, name, &call).await;
        if name != SIGN_OUT {
            let next = timely(house, name, &call).await;
            assert_ne!(next.code(), UNAVAILABLE, "{name}: the next one failed, too");
        }
    }
    for call in reads(house) {
        proxy.silence_open();
        timely(house, &call.path, &call).await;
        let is_back =
            async |house: &House| desk::send(&house.desktop, &call).await.unwrap().status == 200;
        stage.until(&format!("{} is back", call.path), ANSWERED_WITHIN, is_back).await;
    }
    stage.until("everything works", IN_FORCE_WITHIN, works).await;

    let caller = Caller::new(house.stack.info(), Clock::system()).unwrap();
    caller.token("operator-a").await.unwrap();
    let mut info = house.stack.info().clone();
    info.gateway = info.second_gateway.clone().unwrap();
    let username = &house.desktop.operator().username;
    let folder = house.folder.join("desktop-2");
    let other = Desktop::open(&info, username, &folder, Clock::system()).unwrap();
    let session = Call::get("/session");
    assert_eq!(desk::send(&other, &session).await.unwrap().status, 200);
    // A desktop whose token is refused signs in again: these are what the thief has.
    let tokens = [house.desktop.access_token().await.unwrap(), other.access_token().await.unwrap()];
    proxy.silence_open();
    assert_eq!(revoke(house, &caller).await, 503);
    assert_eq!(revoke(house, &caller).await, 200);
    proxy.silence_open();
    let is_out = async |house: &House| {
        let statuses =
            tokio::join!(with_token(&house.desktop, &tokens[0]), with_token(&other, &tokens[1]));
        statuses == (401, 401)
    };
    stage.until("the device is let in by no instance", IN_FORCE_WITHIN, is_out).await;
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_says_nothing_at_all_is_unavailable_until_the_path_returns() {
    let stage = Stage::open("mute").await;
    let (house, proxy) = (&stage.house, &stage.proxy);
    proxy.silence_all();
    for (name, call) in mutations(house) {
        refused(house, name, &call).await;
    }
    stage.until("nobody is ready", IN_FORCE_WITHIN, async |house| is_ready(house, 503).await).await;
    proxy.cut();
    proxy.heal();
    stage.until("everything works", IN_FORCE_WITHIN, works).await;

    proxy.hold_open();
    for call in reads(house) {
        timely(house, &call.path, &call).await;
    }
    proxy.heal();
    stage.until("everything works", IN_FORCE_WITHIN, works).await;
    proxy.cut();
    stage.until("everything works", IN_FORCE_WITHIN, works).await;
    stage.close().await;
}

/// Makes all sessions of the server read-only, open ones included, or writable again.
async fn set_read_only(house: &House, change: &str) {
    let alter = format!("ALTER SYSTEM {change}");
    house.run_sql("postgres", &alter).await.unwrap();
    house.run_sql("postgres", "SELECT pg_reload_conf()").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_demoted_primary_is_unavailable_until_it_is_writable_again() {
    let stage = Stage::open("demoted").await;
    let house = &stage.house;
    set_read_only(house, "SET default_transaction_read_only = on").await;
    stage.until("nobody is ready", IN_FORCE_WITHIN, async |house| is_ready(house, 503).await).await;
    for _ in 0..2 {
        for (name, call) in mutations(house) {
            refused(house, name, &call).await;
        }
    }
    set_read_only(house, "RESET default_transaction_read_only").await;
    stage.until("everything works", IN_FORCE_WITHIN, works).await;
    stage.close().await;
}
