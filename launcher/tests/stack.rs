//! The whole stack, built and started, used through the desktop client.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use contracts::clock::{Clock, Entropy, wire_time};
use contracts::dashboard::{Dashboard, WidgetStatus};
use contracts::id::{EventId, Id};
use launcher::builder::Build;
use launcher::desktop::{Call, Desktop, DeviceKey};
use launcher::internal::InternalClient;
use launcher::supervisor::Notice;
use launcher::{Progress, Stack, StackInfo, StackOptions};
use reqwest::Method;
use tokio::time::timeout;

const TEST_TIMEOUT: Duration = Duration::from_secs(20);

fn folder() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("stack")
}

fn is_running(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}

async fn start() -> Stack {
    let options = StackOptions {
        folder: folder(),
        gateway_port: None,
        build: Build::Dev,
        // Cached responses would briefly hide that a service is down.
        environment: BTreeMap::from([("bff".to_owned(), without_cache())]),
        ..StackOptions::default()
    };
    Stack::start(options, &Progress::quiet()).await.unwrap()
}

fn without_cache() -> BTreeMap<String, String> {
    BTreeMap::from([("MELMASTOON_DASHBOARD__KEEP".to_owned(), "false".to_owned())])
}

fn desktop(info: &StackInfo) -> Desktop {
    let folder = folder().join("desktop");
    Desktop::open(info, &info.operators[0].username, &folder, Clock::system()).unwrap()
}

async fn dashboard(desktop: &Desktop) -> Dashboard {
    let property = &desktop.operator().property_ids[0];
    let call = Call::get(format!("/dashboard?propertyId={property}"));
    let response = desktop.send(&call).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.version(), reqwest::Version::HTTP_2);
    serde_json::from_slice(&response.bytes().await.unwrap()).unwrap()
}

/// Sends a request with this token and proof, which must be refused, and returns the problem code.
async fn refusal(desktop: &Desktop, token: &str, proof: &str) -> String {
    let call = Call::get("/session");
    let response = desktop.request(&call, token, proof).unwrap().send().await.unwrap();
    assert_eq!(response.status(), 401);
    let problem: serde_json::Value = response.json().await.unwrap();
    problem["code"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_whole_stack_works() {
    let mut stack = start().await;
    let file = folder().join("stack.json");
    assert_eq!(&StackInfo::read(&file).unwrap(), stack.info());
    let desktop = desktop(stack.info());
    // A cold stack of debug builds may miss a widget's deadline once.
    let warm = async { while dashboard(&desktop).await.partial {} };
    timeout(TEST_TIMEOUT, warm).await.unwrap();

    wrong_proofs_are_refused(&desktop).await;
    a_dead_service_costs_its_own_widgets_only(&mut stack, &desktop).await;
    an_event_of_iam_ends_a_session(stack.info(), &desktop).await;
    a_person_of_the_platform_ends_all_of_a_device(stack.info(), &desktop).await;
    assert_eq!(&StackInfo::read(&file).unwrap(), stack.info());

    let pids: Vec<u32> = stack.processes().filter_map(launcher::supervisor::Process::pid).collect();
    assert_eq!(pids.len(), 8);
    stack.stop().await.unwrap();
    assert!(!file.exists());
    assert!(!pids.into_iter().any(is_running));
}

async fn wrong_proofs_are_refused(desktop: &Desktop) {
    let invalid = "MELMASTOON.BFF.DPOP_INVALID";
    let token = desktop.access_token().await.unwrap();
    let url = desktop.url("/session").unwrap();
    let fresh = || desktop.proof(&Method::GET, &url, &token);

    let proof = fresh().sign(desktop.key()).unwrap();
    let call = Call::get("/session");
    let first = desktop.request(&call, &token, &proof).unwrap().send().await.unwrap();
    assert_eq!(first.status(), 200);
    assert_eq!(refusal(desktop, &token, &proof).await, invalid, "replayed");

    let foreign = fresh().sign(&DeviceKey::generate().unwrap()).unwrap();
    assert_eq!(refusal(desktop, &token, &foreign).await, invalid, "another device's");
    let other = fresh().claim("htm", "POST").sign(desktop.key()).unwrap();
    assert_eq!(refusal(desktop, &token, &other).await, invalid, "of another method");
    let unbound = fresh().without("ath").sign(desktop.key()).unwrap();
    assert_eq!(refusal(desktop, &token, &unbound).await, invalid, "of no token");
    assert_eq!(refusal(desktop, &token, "").await, invalid, "empty");
}

async fn a_dead_service_costs_its_own_widgets_only(stack: &mut Stack, desktop: &Desktop) {
    let housekeeping = stack.process("housekeeping").unwrap().clone();
    let old = housekeeping.pid().unwrap();
    housekeeping.keep_alive(false).await.unwrap();
    housekeeping.kill().await.unwrap();
    let notice = timeout(TEST_TIMEOUT, stack.next_notice()).await.unwrap().unwrap().unwrap();
    assert!(matches!(notice, Notice::Ended { .. }), "{notice:?}");

    let without = dashboard(desktop).await;
    assert!(without.partial);
    for (name, widget) in &without.widgets {
        let theirs = widget.source == "housekeeping";
        // The gateway's own store has a deadline of 100 ms, which a busy machine may miss.
        if name == "syncStatus" {
            continue;
        }
        assert_eq!(widget.status != WidgetStatus::Ok, theirs, "{name}: {widget:?}");
    }

    let new = stack.restart("housekeeping").await.unwrap();
    assert_ne!(new, old);
    assert_eq!(stack.info().services["housekeeping"].pid, new);
    let back = async { while dashboard(desktop).await.partial {} };
    timeout(TEST_TIMEOUT, back).await.unwrap();
}

/// Waits until the gateway refuses this token because its session ended.
async fn wait_until_ended(desktop: &Desktop, token: &str) {
    let url = desktop.url("/session").unwrap();
    let call = Call::get("/session");
    let refused = async {
        loop {
            let proof = desktop.proof(&Method::GET, &url, token).sign(desktop.key()).unwrap();
            let answer = desktop.request(&call, token, &proof).unwrap().send().await.unwrap();
            if answer.status() != 200 {
                break answer.json::<serde_json::Value>().await.unwrap();
            }
        }
    };
    let problem = timeout(TEST_TIMEOUT, refused).await.unwrap();
    assert_eq!(problem["code"], "MELMASTOON.BFF.SESSION_EXPIRED");
}

/// The token's claims, unverified.
fn claims(token: &str) -> serde_json::Value {
    let payload = token.split('.').nth(1).unwrap();
    let engine = base64::engine::general_purpose::URL_SAFE_NO_PAD;
    serde_json::from_slice(&base64::Engine::decode(&engine, payload).unwrap()).unwrap()
}

async fn an_event_of_iam_ends_a_session(info: &StackInfo, desktop: &Desktop) {
    let token = desktop.access_token().await.unwrap();
    let session = claims(&token)["sid"].as_str().unwrap().to_owned();
    let tenant = &desktop.operator().tenant_id;
    let id = EventId::generate(&Clock::system(), &Entropy::system());
    let event = serde_json::json!({
        "specversion": "1.0", "id": id,
        "source": "/services/iam-service", "type": "melmastoon.iam.session.revoked.v1",
        "subject": session, "time": wire_time(Clock::system().now()),
        "datacontenttype": "application/json", "tenantid": tenant,
        "orderingkey": format!("{tenant}:{session}"), "correlationid": "a-test",
        "actortype": "system", "actorid": "sys", "retentionclass": "audit",
        "data": {"kind": "session", "id": session, "reason": "The token was stolen."},
    });
    let http = launcher::http_client::plain().unwrap();
    let url = format!("{}/control/events", info.stand_ins.url);
    assert_eq!(http.post(url).json(&event).send().await.unwrap().status(), 202);
    wait_until_ended(desktop, &token).await;
    let again = desktop.send(&Call::get("/session")).await.unwrap();
    assert_eq!(again.status(), 200, "a new session was refused");
}

async fn a_person_of_the_platform_ends_all_of_a_device(info: &StackInfo, desktop: &Desktop) {
    let token = desktop.access_token().await.unwrap();
    let operator = desktop.operator();
    let order = serde_json::json!({
        "tenantId": operator.tenant_id, "kind": "device", "id": operator.device_id,
        "reason": "The computer was sold.",
    });
    let caller = InternalClient::new(info, Clock::system()).unwrap();
    let revoke = async |account: &str| {
        let path = "/internal/sessions/revoke";
        caller.call(account, Method::POST, path, Some(&order)).await.unwrap().status()
    };
    assert_eq!(revoke("scheduler").await, 403);
    assert_eq!(revoke("operator-a").await, 200);
    wait_until_ended(desktop, &token).await;
    let unknown = caller.call("nobody", Method::GET, "/metrics", None).await.unwrap_err();
    assert!(unknown.to_string().contains("operator-b"), "{unknown}");
}
