//! The whole stack, built and started for real, used through the faithful desktop.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use contracts::clock::Clock;
use contracts::dashboard::{Dashboard, WidgetStatus};
use launcher::builder::Build;
use launcher::desktop::{Call, Desktop, DeviceKey};
use launcher::supervisor::Notice;
use launcher::{Progress, Stack, StackInfo, StackOptions};
use reqwest::Method;
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(20);

fn folder() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("stack")
}

fn runs(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}

async fn start() -> Stack {
    let options = StackOptions {
        folder: folder(),
        gateway_port: None,
        build: Build::Dev,
        ..StackOptions::default()
    };
    Stack::start(options, &Progress::quiet()).await.unwrap()
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

/// What the gateway says to a request with this token and proof.
async fn refusal(desktop: &Desktop, token: &str, proof: &str) -> String {
    let call = Call::get("/session");
    let response = desktop.request(&call, token, proof).unwrap().send().await.unwrap();
    assert_eq!(response.status(), 401);
    let problem: serde_json::Value = response.json().await.unwrap();
    problem["code"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_day_at_the_desk() {
    let mut stack = start().await;
    let file = folder().join("stack.json");
    assert_eq!(&StackInfo::read(&file).unwrap(), stack.info());
    let desktop = desktop(stack.info());
    // A cold stack of debug programs may miss a widget's deadline once.
    let warm = async { while dashboard(&desktop).await.partial {} };
    timeout(SOON, warm).await.unwrap();

    wrong_proofs_are_refused(&desktop).await;
    a_dead_service_costs_its_own_widgets_only(&mut stack, &desktop).await;
    assert_eq!(&StackInfo::read(&file).unwrap(), stack.info());

    let pids: Vec<u32> = stack.all().filter_map(launcher::supervisor::Process::pid).collect();
    assert_eq!(pids.len(), 8);
    stack.stop().await.unwrap();
    assert!(!file.exists());
    assert!(!pids.into_iter().any(runs));
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
    let notice = timeout(SOON, stack.next_notice()).await.unwrap().unwrap().unwrap();
    assert!(matches!(notice, Notice::Ended { .. }), "{notice:?}");

    let without = dashboard(desktop).await;
    assert!(without.partial);
    for (name, widget) in &without.widgets {
        let theirs = widget.source == "housekeeping";
        assert_eq!(widget.status != WidgetStatus::Ok, theirs, "{name}: {widget:?}");
    }

    let new = stack.restart("housekeeping").await.unwrap();
    assert_ne!(new, old);
    assert_eq!(stack.info().services["housekeeping"].pid, new);
    let back = async { while dashboard(desktop).await.partial {} };
    timeout(SOON, back).await.unwrap();
}
