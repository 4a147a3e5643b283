//! Sync handshakes: the gateway caches sync-service's cursor and issues a token; divergence is
//! detected, shown, and corrected by the next handshake.

use std::sync::Arc;
use std::time::Duration;

use auth::jwks::KeySet;
use auth::sync_token;
use auth::token::TokenRules;
use contracts::id::DeviceId;
use contracts::sync::SyncCursor;
use jiff::SignedDuration;
use serde::Serialize;
use serde_json::{Value, json};

use crate::sync::cursors::{CursorReport, reset};
use crate::tests::attestations::principal;
use crate::tests::call::TestCall;
use crate::tests::issuer::{EVENTS, FIRST, SCHEDULER};
use crate::tests::sync_service::{Behavior, SyncService};
use crate::tests::test_gateway::{TestGateway, TestResponse, fresh};

const HANDSHAKE: &str = "/api/bff/backoffice/v1/sync/handshake";
const CURSOR: &str = "/api/bff/backoffice/v1/sync/cursor";
const RECONCILE: &str = "/internal/jobs/reconcile-cursors";
const AWAY: &str = "MELMASTOON.BFF.UPSTREAM_UNAVAILABLE";
const LONG_AGO: SignedDuration = SignedDuration::from_mins(10);

fn shake<'a>(gateway: &'a TestGateway, body: &Value) -> TestCall<'a> {
    gateway.post(HANDSHAKE).json(body)
}

async fn shaken(gateway: &TestGateway, body: &Value) -> Value {
    shake(gateway, body).await.ok()
}

async fn cached(gateway: &TestGateway) -> Value {
    gateway.get(CURSOR).await.ok()
}

fn report(gateway: &TestGateway, version: impl Serialize) -> TestCall<'_> {
    gateway.post(CURSOR).json(&json!({"version": version}))
}

/// Version and mark, as they stand in the table.
async fn stored(gateway: &TestGateway) -> Vec<String> {
    let sql = "SELECT concat_ws(' ', device_id, property_id, cursor_version,
                                CASE WHEN cursor_diverged_at IS NOT NULL THEN 'diverged' END)
               FROM bff.device_sync_status ORDER BY device_id";
    gateway.database.rows(sql).await
}

fn row(gateway: &TestGateway, rest: &str) -> Vec<String> {
    vec![format!("{} {} {rest}", gateway.device, gateway.property)]
}

#[tokio::test]
async fn a_handshake_brings_sync_services_cursor_a_token_for_this_device_and_caches_it() {
    let (gateway, service) = SyncService::with_gateway().await;
    assert_eq!(cached(&gateway).await["cursor"], Value::Null);
    let response = shake(&gateway, &json!({"cursorVersion": 5})).await;
    assert_eq!(response.headers["cache-control"], "no-store");
    let session = response.body;
    assert_eq!((&session["cursor"]["version"], &session["fullResync"]), (&json!(7), &json!(false)));
    assert_eq!(session["pullUrl"], "https://sync.test/sync/v1/pull");
    assert_eq!(session["pushUrl"], "https://sync.test/sync/v1/push");
    assert_eq!(service.requests()[0].1, json!({"cursorVersion": 5}));
    let now = cached(&gateway).await;
    assert_eq!((&now["cursor"], &now["stale"]), (&session["cursor"], &json!(false)));
    assert_eq!(now["deviceId"], gateway.device.as_str());
    assert_eq!(stored(&gateway).await, row(&gateway, "7"));

    let keys = serde_json::to_vec(&gateway.state.request_tokens.key_set()).unwrap();
    let rules = TokenRules { issuer: "bff-backoffice".into(), audience: "sync".into() };
    let token = session["syncSessionToken"].as_str().unwrap();
    let now = gateway.clock.now();
    let keys = KeySet::parse(&keys).unwrap();
    let principal = sync_token::verify(token, &keys, &rules, now).unwrap();
    assert_eq!((principal.device, principal.operator), (gateway.device, gateway.operator));
    assert_eq!(principal.tenant, gateway.tenant);
    assert_eq!(principal.thumbprint.as_deref(), Some(&*gateway.device_key.thumbprint()));
    let ends: jiff::Timestamp = session["expiresAt"].as_str().unwrap().parse().unwrap();
    assert_eq!(ends, principal.expires_at);
    assert!((840..=900).contains(&ends.duration_since(now).as_secs()));
}

#[tokio::test]
async fn a_desktop_without_a_cursor_or_offline_too_long_pulls_everything() {
    let (gateway, service) = SyncService::with_gateway().await;
    assert_eq!(shaken(&gateway, &json!({})).await["fullResync"], true);
    service.set_behavior(Behavior::Refuses(410, "MELMASTOON.SYNC.CURSOR_EXPIRED"));
    let response = shake(&gateway, &json!({"cursorVersion": 1}))
        .await
        .problem(410, "MELMASTOON.BFF.SYNC_CURSOR_EXPIRED");
    assert_eq!(response.body["retriable"], false);
    assert!(!response.headers.contains_key("retry-after"));
    service.set_behavior(Behavior::Refuses(403, "MELMASTOON.SYNC.DEVICE_BARRED"));
    shake(&gateway, &json!({})).await.problem(403, "MELMASTOON.SYNC.DEVICE_BARRED");
}

#[track_caller]
fn comes_again(response: TestResponse, status: u16, code: &str) -> TestResponse {
    let response = response.problem(status, code);
    assert_eq!(response.headers["retry-after"], "30", "{}", response.body);
    assert_eq!(
        (&response.body["retriable"], &response.body["retryAfter"]),
        (&json!(true), &json!(30))
    );
    response
}

#[tokio::test]
async fn without_sync_service_a_handshake_can_be_retried_after_30_seconds() {
    let (gateway, service) = SyncService::with_gateway().await;
    service.set_behavior(Behavior::Fails(500));
    let response = comes_again(shake(&gateway, &json!({})).await, 502, AWAY);
    assert_eq!(response.body["runbook"], "bff-backoffice/sync-handshake-down");
    // A 410 of somebody else on the way is no word of sync-service.
    service.set_behavior(Behavior::Fails(410));
    comes_again(shake(&gateway, &json!({})).await, 502, AWAY);
    service.set_behavior(Behavior::Hangs);
    let began = tokio::time::Instant::now();
    comes_again(shake(&gateway, &json!({})).await, 504, "MELMASTOON.BFF.UPSTREAM_TIMEOUT");
    assert!(began.elapsed() < Duration::from_secs(10), "it waited for a response");
    let without_sync = TestGateway::open().await;
    comes_again(shake(&without_sync, &json!({})).await, 502, AWAY);
    assert!(stored(&gateway).await.is_empty(), "nothing was heard of it");
}

#[tokio::test]
async fn an_answer_about_another_desktop_or_none_at_all_is_a_broken_contract() {
    let (gateway, service) = SyncService::with_gateway().await;
    let good = json!({"propertyId": gateway.property, "fullResync": false,
        "pullUrl": "https://sync.test/a", "pushUrl": "https://sync.test/b",
        "cursor": {"deviceId": fresh::<DeviceId>(), "version": 1,
                   "lastPullAt": "2026-11-21T12:00:00.000Z"}});
    let mut far = good.clone();
    far["cursor"]["deviceId"] = json!(gateway.device);
    far["cursor"]["version"] = json!(1_u64 << 53);
    for said in [good, far, json!({"cursor": 7})] {
        service.set_behavior(Behavior::Says(said));
        let response = shake(&gateway, &json!({})).await;
        let response = comes_again(response, 502, "MELMASTOON.BFF.SCHEMA_DRIFT");
        assert_eq!(response.body["runbook"], "bff-backoffice/schema-drift");
    }
    assert!(stored(&gateway).await.is_empty());
}

#[tokio::test]
async fn each_handshake_has_a_key_of_its_own_and_one_that_was_refused_at_once_is_repeated_with_it()
{
    let (gateway, service) = SyncService::with_gateway().await;
    service.set_behavior(Behavior::Fails(503));
    shake(&gateway, &json!({})).await;
    let first = service.requests();
    assert_eq!(first.len(), 2);
    assert_eq!(first[0], first[1]);
    shake(&gateway, &json!({})).await;
    assert_ne!(service.requests()[2].0, first[0].0);
}

#[tokio::test]
async fn a_desktop_comes_online_without_the_durable_store_and_is_cached_when_that_is_back() {
    let (gateway, service) = SyncService::with_gateway().await;
    shaken(&gateway, &json!({})).await;
    gateway.database.go_away().await;
    service.knows(gateway.device, 4, LONG_AGO);
    assert_eq!(shaken(&gateway, &json!({})).await["cursor"]["version"], 4);
    gateway.get(CURSOR).await.problem(503, "MELMASTOON.BFF.STORE_UNAVAILABLE");
    report(&gateway, 8).await.problem(503, "MELMASTOON.BFF.STORE_UNAVAILABLE");
    gateway.database.come_back().await;
    let begun = tokio::time::Instant::now();
    while stored(&gateway).await != row(&gateway, "4") {
        assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", stored(&gateway).await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_later_report_survives_the_late_write_of_an_earlier_handshake() {
    let (gateway, _service) = SyncService::with_gateway().await;
    let caller = Arc::new(principal(&gateway));
    let (database, clock) = (&gateway.state.database, &gateway.clock);
    let heard = |version, seconds| {
        let at = clock.now() + SignedDuration::from_secs(seconds);
        CursorReport {
            principal: Arc::clone(&caller),
            cursor: SyncCursor { version, at: at.into() },
            at,
            property: Some(gateway.property),
        }
    };
    let by = &gateway.state.env;
    reset(database, &heard(9, 0), by).await.unwrap();
    reset(database, &heard(3, -5), by).await.unwrap();
    assert_eq!(stored(&gateway).await, row(&gateway, "9"));
    reset(database, &heard(2, 5), by).await.unwrap();
    assert_eq!(stored(&gateway).await, row(&gateway, "2"));
}

#[tokio::test]
async fn a_report_only_advances_the_cursor_of_the_callers_device() {
    let (gateway, _service) = SyncService::with_gateway().await;
    let reported = async |version: u64| {
        report(&gateway, version).await.ok::<Value>()["cursor"]["version"].clone()
    };
    for (version, stands) in [(3, 3), (5, 5), (4, 5), (5, 5)] {
        assert_eq!(reported(version).await, stands);
    }
    shaken(&gateway, &json!({"cursorVersion": 5})).await;
    assert_eq!(reported(8).await, 8);
    assert_eq!(stored(&gateway).await, row(&gateway, "8"), "and its property stays known");
    for wrong in [
        json!({"version": 1_u64 << 53}),
        json!({"version": -1}),
        json!({}),
        json!({"version": 9, "deviceId": fresh::<DeviceId>()}),
    ] {
        let response = gateway.post(CURSOR).json(&wrong).await;
        response.problem(400, "MELMASTOON.GENERAL.VALIDATION_FAILED");
    }
    shake(&gateway, &json!({"cursorVersion": 1_u64 << 53})).await.invalid("body.cursorVersion");
    assert_eq!(stored(&gateway).await, row(&gateway, "8"));
}

/// Compares the cached cursors with sync-service's.
async fn reconcile(gateway: &TestGateway) -> Value {
    gateway.account(SCHEDULER).post(RECONCILE).await.ok()
}

fn ran(properties: u32, unasked: u32, diverged: u32, healed: u32) -> Value {
    json!({"ran": true, "properties": properties, "unasked": unasked, "diverged": diverged,
           "healed": healed})
}

/// State of a device at sync-service.
type Change = fn(&SyncService, DeviceId);

/// Number of stale desktops on the dashboard.
async fn stale(gateway: &TestGateway) -> Value {
    let path = format!(
        "/api/bff/backoffice/v1/dashboard?propertyId={}&widgets=syncStatus",
        gateway.property
    );
    let response = gateway.get(&path).await;
    let widget = &response.body["widgets"]["syncStatus"];
    assert_eq!(widget["status"], "ok", "{}", response.body);
    widget["data"]["stale"].clone()
}

#[tokio::test]
async fn a_diverged_cursor_is_marked_shown_and_corrected_by_the_next_handshake() {
    let (gateway, service) = SyncService::with_gateway().await;
    assert_eq!(reconcile(&gateway).await, ran(0, 0, 0, 0), "nothing is cached");
    shaken(&gateway, &json!({})).await;
    assert_eq!(reconcile(&gateway).await, ran(1, 0, 0, 0));
    assert_eq!(stale(&gateway).await, 0);
    // sync-service was restored from a backup; it pulled without telling; it is unknown there.
    let changes: [Change; 3] = [
        |service, device| service.knows(device, 3, LONG_AGO),
        |service, device| service.knows(device, 9, LONG_AGO),
        |service, device| service.forgets(device),
    ];
    for change in changes {
        change(&service, gateway.device);
        assert_eq!(reconcile(&gateway).await, ran(1, 0, 1, 0));
        assert_eq!(reconcile(&gateway).await, ran(1, 0, 0, 0), "it is known");
        assert_eq!(stale(&gateway).await, 1);
        let now = cached(&gateway).await;
        assert_eq!(now["stale"], true);
        // Nothing but the authority's word ends it.
        let reported = report(&gateway, &now["cursor"]["version"]).await;
        assert_eq!(reported.body["stale"], true);
        service.knows(gateway.device, 20, LONG_AGO);
        shaken(&gateway, &json!({})).await;
        assert_eq!(stored(&gateway).await, row(&gateway, "20"));
        assert_eq!(
            (stale(&gateway).await, &cached(&gateway).await["stale"]),
            (json!(0), &json!(false))
        );
        assert_eq!(reconcile(&gateway).await, ran(1, 0, 0, 0));
    }
}

#[tokio::test]
async fn a_desktop_that_just_pulled_is_not_marked_and_one_that_agrees_again_is_cleared() {
    let (gateway, service) = SyncService::with_gateway().await;
    shaken(&gateway, &json!({})).await;
    service.knows(gateway.device, 8, SignedDuration::ZERO);
    assert_eq!(reconcile(&gateway).await, ran(1, 0, 0, 0));
    service.knows(gateway.device, 8, LONG_AGO);
    assert_eq!(reconcile(&gateway).await, ran(1, 0, 1, 0));
    let response = report(&gateway, 8).await;
    assert_eq!(response.body["stale"], true, "{}", response.body);
    assert_eq!(reconcile(&gateway).await, ran(1, 0, 0, 1));
    assert_eq!(stored(&gateway).await, row(&gateway, "8"));
}

#[tokio::test]
async fn nothing_is_marked_while_sync_service_cannot_be_asked() {
    let (gateway, service) = SyncService::with_gateway().await;
    shaken(&gateway, &json!({})).await;
    service.knows(gateway.device, 1, LONG_AGO);
    let elsewhere = json!({"propertyId": fresh::<contracts::id::PropertyId>(), "items": [],
                           "asOf": "2026-11-21T12:00:00.000Z"});
    for behavior in [
        Behavior::Fails(503),
        Behavior::Fails(404),
        Behavior::Says(json!({"items": 7})),
        Behavior::Says(elsewhere),
    ] {
        service.set_behavior(behavior);
        assert_eq!(reconcile(&gateway).await, ran(0, 1, 0, 0));
        assert_eq!(stored(&gateway).await, row(&gateway, "7"));
    }
    service.set_behavior(Behavior::Well);
    assert_eq!(reconcile(&gateway).await, ran(1, 0, 1, 0));
}

#[tokio::test]
async fn one_instance_compares_at_a_time_and_only_the_scheduler_may_start_it() {
    let (gateway, _service) = SyncService::with_gateway().await;
    for account in [EVENTS, FIRST] {
        gateway.account(account).post(RECONCILE).await.problem(403, "MELMASTOON.GENERAL.FORBIDDEN");
    }
    let lease = "INSERT INTO bff.job_leases (tenant_id, job, holder, expires_at)
                 VALUES ('tnt_00000000000000000000000000', 'reconcile-cursors', 'another', now() + interval '40 s')";
    gateway.database.run(lease).await;
    assert_eq!(reconcile(&gateway).await, json!({"ran": false}));
    gateway.database.run("UPDATE bff.job_leases SET expires_at = now()").await;
    assert_eq!(reconcile(&gateway).await, ran(0, 0, 0, 0), "the other's lease ended by itself");
    gateway.database.go_away().await;
    let away = gateway.account(SCHEDULER).post(RECONCILE).await;
    away.problem(503, "MELMASTOON.BFF.STORE_UNAVAILABLE");
    gateway.database.come_back().await;
    assert_eq!(reconcile(&gateway).await, ran(0, 0, 0, 0));
}

#[tokio::test]
async fn tenants_with_the_same_device_have_cursors_of_their_own() {
    let (gateway, _service) = SyncService::with_gateway().await;
    let mut other = gateway.another();
    other.tenant = fresh();
    report(&gateway, 3).await;
    assert_eq!(cached(&other).await["cursor"], Value::Null);
    report(&other, 9).await;
    assert_eq!(cached(&gateway).await["cursor"]["version"], 3);
    assert_eq!(stored(&gateway).await.len(), 2);
}

#[tokio::test]
async fn a_version_that_is_none_is_refused_in_words_of_json() {
    let (gateway, _service) = SyncService::with_gateway().await;
    for version in [json!(-1), json!("5"), json!(5.0), json!(5.5), Value::Null, json!([5])] {
        let response = report(&gateway, version).await.invalid("body.version");
        let text = response.body.to_string();
        assert!(text.contains("expected a whole number that is not negative"), "{text}");
    }
}
