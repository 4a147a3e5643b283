//! A desktop comes back online: sync-service says from where it goes on, the gateway caches that and
//! signs a token for the way there; where the two differ it is found out, shown, and mended by the
//! next handshake.

use std::sync::Arc;
use std::time::Duration;

use auth::jwks::KeySet;
use auth::request_token::RequestTokenRules;
use auth::sync_token;
use bff::sync::cursors::{Noted, reset};
use contracts::id::DeviceId;
use contracts::sync::SyncCursor;
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::attestations::principal;
use crate::house::{Answer, House, fresh};
use crate::internal;
use crate::issuer::{EVENTS, FIRST, Issuer, SCHEDULER};
use crate::sync_service::{Mood, SyncService};

const HANDSHAKE: &str = "/api/bff/backoffice/v1/sync/handshake";
const CURSOR: &str = "/api/bff/backoffice/v1/sync/cursor";
const RECONCILE: &str = "/internal/jobs/reconcile-cursors";
const AWAY: &str = "MELMASTOON.BFF.UPSTREAM_UNAVAILABLE";
const LONG_AGO: SignedDuration = SignedDuration::from_mins(10);

async fn shake(house: &House, body: &Value) -> Answer {
    house.post(HANDSHAKE, body).await
}

async fn shaken(house: &House, body: &Value) -> Value {
    let answer = shake(house, body).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.body
}

async fn cached(house: &House) -> Value {
    let answer = house.send(house.request(CURSOR)).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.body
}

/// Version and mark, as they stand in the table.
async fn stored(house: &House) -> Vec<String> {
    let sql = "SELECT concat_ws(' ', device_id, property_id, cursor_version,
                                CASE WHEN cursor_diverged_at IS NOT NULL THEN 'diverged' END)
               FROM bff.device_sync_status ORDER BY device_id";
    house.rows(sql).await
}

fn row(house: &House, rest: &str) -> Vec<String> {
    vec![format!("{} {} {rest}", house.device, house.property)]
}

#[tokio::test]
async fn a_handshake_brings_sync_services_cursor_a_token_for_this_device_and_caches_it() {
    let (house, service) = SyncService::with_house().await;
    assert_eq!(cached(&house).await["cursor"], Value::Null);
    let answer = shake(&house, &json!({"cursorVersion": 5})).await;
    assert_eq!(answer.headers["cache-control"], "no-store");
    let session = answer.body;
    assert_eq!((&session["cursor"]["version"], &session["fullResync"]), (&json!(7), &json!(false)));
    assert_eq!(session["pullUrl"], "https://sync.test/sync/v1/pull");
    assert_eq!(session["pushUrl"], "https://sync.test/sync/v1/push");
    assert_eq!(service.asked()[0].1, json!({"cursorVersion": 5}));
    let now = cached(&house).await;
    assert_eq!((&now["cursor"], &now["stale"]), (&session["cursor"], &json!(false)));
    assert_eq!(now["deviceId"], house.device.as_str());
    assert_eq!(stored(&house).await, row(&house, "7"));

    let keys = serde_json::to_vec(&house.gateway.request_tokens.key_set()).unwrap();
    let rules = RequestTokenRules { issuer: "bff-backoffice".into(), audience: "sync".into() };
    let token = session["syncSessionToken"].as_str().unwrap();
    let now = house.clock.now();
    let keys = KeySet::parse(&keys).unwrap();
    let principal = sync_token::verify(token, &keys, &rules, now).unwrap();
    assert_eq!((principal.device, principal.operator), (house.device, house.operator));
    assert_eq!(principal.tenant, house.tenant);
    assert_eq!(principal.thumbprint.as_deref(), Some(&*house.device_key.thumbprint()));
    let ends: jiff::Timestamp = session["expiresAt"].as_str().unwrap().parse().unwrap();
    assert_eq!(ends, principal.expires_at);
    assert!((840..=900).contains(&ends.duration_since(now).as_secs()));
}

#[tokio::test]
async fn a_desktop_that_has_nothing_pulls_everything_and_one_that_was_away_too_long_is_told_to() {
    let (house, service) = SyncService::with_house().await;
    assert_eq!(shaken(&house, &json!({})).await["fullResync"], true);
    service.is(Mood::Refuses(410, "MELMASTOON.SYNC.CURSOR_EXPIRED"));
    let answer = shake(&house, &json!({"cursorVersion": 1})).await;
    answer.is_problem(410, "MELMASTOON.BFF.SYNC_CURSOR_EXPIRED");
    assert_eq!(answer.body["retriable"], false);
    assert!(!answer.headers.contains_key("retry-after"));
    service.is(Mood::Refuses(403, "MELMASTOON.SYNC.DEVICE_BARRED"));
    shake(&house, &json!({})).await.is_problem(403, "MELMASTOON.SYNC.DEVICE_BARRED");
}

#[track_caller]
fn comes_again(answer: &Answer, status: u16, code: &str) {
    answer.is_problem(status, code);
    assert_eq!(answer.headers["retry-after"], "30", "{}", answer.body);
    assert_eq!((&answer.body["retriable"], &answer.body["retryAfter"]), (&json!(true), &json!(30)));
}

#[tokio::test]
async fn without_sync_service_the_desktop_is_told_to_come_again_in_half_a_minute() {
    let (house, service) = SyncService::with_house().await;
    service.is(Mood::Fails(500));
    let answer = shake(&house, &json!({})).await;
    comes_again(&answer, 502, AWAY);
    assert_eq!(answer.body["runbook"], "bff-backoffice/sync-handshake-down");
    // A 410 of somebody else on the way is no word of sync-service.
    service.is(Mood::Fails(410));
    comes_again(&shake(&house, &json!({})).await, 502, AWAY);
    service.is(Mood::Hangs);
    let began = tokio::time::Instant::now();
    let answer = shake(&house, &json!({})).await;
    comes_again(&answer, 504, "MELMASTOON.BFF.UPSTREAM_TIMEOUT");
    assert!(began.elapsed() < Duration::from_secs(10), "it waited for an answer");
    let nobody = House::open().await;
    comes_again(&shake(&nobody, &json!({})).await, 502, AWAY);
    assert!(stored(&house).await.is_empty(), "nothing was heard of it");
}

#[tokio::test]
async fn an_answer_about_another_desktop_or_none_at_all_is_a_broken_contract() {
    let (house, service) = SyncService::with_house().await;
    let good = json!({"propertyId": house.property, "fullResync": false,
        "pullUrl": "https://sync.test/a", "pushUrl": "https://sync.test/b",
        "cursor": {"deviceId": fresh::<DeviceId>(), "version": 1,
                   "lastPullAt": "2026-11-21T12:00:00.000Z"}});
    let mut far = good.clone();
    far["cursor"]["deviceId"] = json!(house.device);
    far["cursor"]["version"] = json!(1_u64 << 53);
    for said in [good, far, json!({"cursor": 7})] {
        service.is(Mood::Says(said));
        let answer = shake(&house, &json!({})).await;
        comes_again(&answer, 502, "MELMASTOON.BFF.SCHEMA_DRIFT");
        assert_eq!(answer.body["runbook"], "bff/schema-drift");
    }
    assert!(stored(&house).await.is_empty());
}

#[tokio::test]
async fn each_handshake_has_a_key_of_its_own_and_one_that_was_refused_at_once_is_repeated_with_it()
{
    let (house, service) = SyncService::with_house().await;
    service.is(Mood::Fails(503));
    shake(&house, &json!({})).await;
    let first = service.asked();
    assert_eq!(first.len(), 2);
    assert_eq!(first[0], first[1]);
    shake(&house, &json!({})).await;
    assert_ne!(service.asked()[2].0, first[0].0);
}

#[tokio::test]
async fn a_desktop_comes_online_without_the_durable_store_and_is_cached_when_that_is_back() {
    let (house, service) = SyncService::with_house().await;
    shaken(&house, &json!({})).await;
    house.database.go_away().await;
    service.knows(house.device, 4, LONG_AGO);
    assert_eq!(shaken(&house, &json!({})).await["cursor"]["version"], 4);
    let unread = house.send(house.request(CURSOR)).await;
    unread.is_problem(503, "MELMASTOON.BFF.STORE_UNAVAILABLE");
    let unwritten = house.post(CURSOR, &json!({"version": 8})).await;
    unwritten.is_problem(503, "MELMASTOON.BFF.STORE_UNAVAILABLE");
    house.database.come_back().await;
    let begun = tokio::time::Instant::now();
    while stored(&house).await != row(&house, "4") {
        assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", stored(&house).await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn what_was_heard_later_stands_when_an_earlier_handshake_is_noted_late() {
    let (house, _service) = SyncService::with_house().await;
    let caller = Arc::new(principal(&house));
    let (database, clock) = (&house.gateway.database, &house.clock);
    let heard = |version, seconds| {
        let at = clock.now() + SignedDuration::from_secs(seconds);
        Noted {
            principal: Arc::clone(&caller),
            cursor: SyncCursor { version, at },
            at,
            property: Some(house.property),
        }
    };
    let by = &house.gateway.env;
    reset(database, &heard(9, 0), by).await.unwrap();
    reset(database, &heard(3, -5), by).await.unwrap();
    assert_eq!(stored(&house).await, row(&house, "9"));
    reset(database, &heard(2, 5), by).await.unwrap();
    assert_eq!(stored(&house).await, row(&house, "2"));
}

#[tokio::test]
async fn a_report_moves_the_cursor_on_and_never_back_and_is_of_the_caller_s_device_alone() {
    let (house, _service) = SyncService::with_house().await;
    let reported = async |version: u64| {
        let answer = house.post(CURSOR, &json!({"version": version})).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body["cursor"]["version"].clone()
    };
    for (version, stands) in [(3, 3), (5, 5), (4, 5), (5, 5)] {
        assert_eq!(reported(version).await, stands);
    }
    shaken(&house, &json!({"cursorVersion": 5})).await;
    assert_eq!(reported(8).await, 8);
    assert_eq!(stored(&house).await, row(&house, "8"), "and its property stays known");
    for wrong in [
        json!({"version": 1_u64 << 53}),
        json!({"version": -1}),
        json!({}),
        json!({"version": 9, "deviceId": fresh::<DeviceId>()}),
    ] {
        let answer = house.post(CURSOR, &wrong).await;
        answer.is_problem(400, "MELMASTOON.GENERAL.VALIDATION_FAILED");
    }
    let far = shake(&house, &json!({"cursorVersion": 1_u64 << 53})).await;
    far.is_problem(400, "MELMASTOON.GENERAL.VALIDATION_FAILED");
    assert_eq!(far.body["errors"][0]["field"], "body.cursorVersion");
    assert_eq!(stored(&house).await, row(&house, "8"));
}

/// The platform's jobs.
struct Jobs {
    issuer: Issuer,
    app: axum::Router,
}

impl Jobs {
    async fn of(house: &House) -> Self {
        let issuer = Issuer::open().await;
        let identity = issuer.identity(house.clock.clone());
        let app = internal::app(house, Some(identity));
        Self { issuer, app }
    }

    async fn post(&self, house: &House, account: &str) -> Answer {
        let token = self.issuer.token_of(account, &house.clock);
        let request = internal::request("POST", RECONCILE, Some(&token), &json!({}));
        crate::house::send_to(&self.app, request).await
    }

    async fn run(&self, house: &House) -> Value {
        let answer = self.post(house, SCHEDULER).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body
    }
}

fn ran(properties: u32, unasked: u32, diverged: u32, healed: u32) -> Value {
    json!({"ran": true, "properties": properties, "unasked": unasked, "diverged": diverged,
           "healed": healed})
}

/// What becomes of a device at sync-service.
type Change = fn(&SyncService, DeviceId);

/// Desktops the dashboard calls stale.
async fn stale(house: &House) -> Value {
    let path = format!(
        "/api/bff/backoffice/v1/dashboard?propertyId={}&widgets=syncStatus",
        house.property
    );
    let answer = house.send(house.request(&path)).await;
    let widget = &answer.body["widgets"]["syncStatus"];
    assert_eq!(widget["status"], "ok", "{}", answer.body);
    widget["data"]["stale"].clone()
}

#[tokio::test]
async fn a_cached_cursor_that_is_not_sync_services_is_marked_shown_and_mended_by_the_next_handshake()
 {
    let (house, service) = SyncService::with_house().await;
    let jobs = Jobs::of(&house).await;
    assert_eq!(jobs.run(&house).await, ran(0, 0, 0, 0), "nothing is cached");
    shaken(&house, &json!({})).await;
    assert_eq!(jobs.run(&house).await, ran(1, 0, 0, 0));
    assert_eq!(stale(&house).await, 0);
    // sync-service was restored from a backup; it pulled without telling; it is unknown there.
    let changes: [Change; 3] = [
        |service, device| service.knows(device, 3, LONG_AGO),
        |service, device| service.knows(device, 9, LONG_AGO),
        |service, device| service.forgets(device),
    ];
    for change in changes {
        change(&service, house.device);
        assert_eq!(jobs.run(&house).await, ran(1, 0, 1, 0));
        assert_eq!(jobs.run(&house).await, ran(1, 0, 0, 0), "it is known");
        assert_eq!(stale(&house).await, 1);
        let now = cached(&house).await;
        assert_eq!(now["stale"], true);
        // Nothing but the authority's word ends it.
        let reported = house.post(CURSOR, &json!({"version": now["cursor"]["version"]})).await;
        assert_eq!(reported.body["stale"], true);
        service.knows(house.device, 20, LONG_AGO);
        shaken(&house, &json!({})).await;
        assert_eq!(stored(&house).await, row(&house, "20"));
        assert_eq!(
            (stale(&house).await, &cached(&house).await["stale"]),
            (json!(0), &json!(false))
        );
        assert_eq!(jobs.run(&house).await, ran(1, 0, 0, 0));
    }
}

#[tokio::test]
async fn a_desktop_that_just_pulled_may_still_tell_and_one_that_agrees_again_is_no_longer_marked() {
    let (house, service) = SyncService::with_house().await;
    let jobs = Jobs::of(&house).await;
    shaken(&house, &json!({})).await;
    service.knows(house.device, 8, SignedDuration::ZERO);
    assert_eq!(jobs.run(&house).await, ran(1, 0, 0, 0));
    service.knows(house.device, 8, LONG_AGO);
    assert_eq!(jobs.run(&house).await, ran(1, 0, 1, 0));
    let answer = house.post(CURSOR, &json!({"version": 8})).await;
    assert_eq!(answer.body["stale"], true, "{}", answer.body);
    assert_eq!(jobs.run(&house).await, ran(1, 0, 0, 1));
    assert_eq!(stored(&house).await, row(&house, "8"));
}

#[tokio::test]
async fn nothing_is_marked_while_sync_service_cannot_be_asked() {
    let (house, service) = SyncService::with_house().await;
    let jobs = Jobs::of(&house).await;
    shaken(&house, &json!({})).await;
    service.knows(house.device, 1, LONG_AGO);
    let elsewhere = json!({"propertyId": fresh::<contracts::id::PropertyId>(), "items": [],
                           "asOf": "2026-11-21T12:00:00.000Z"});
    for mood in
        [Mood::Fails(503), Mood::Fails(404), Mood::Says(json!({"items": 7})), Mood::Says(elsewhere)]
    {
        service.is(mood);
        assert_eq!(jobs.run(&house).await, ran(0, 1, 0, 0));
        assert_eq!(stored(&house).await, row(&house, "7"));
    }
    service.is(Mood::Well);
    assert_eq!(jobs.run(&house).await, ran(1, 0, 1, 0));
}

#[tokio::test]
async fn one_instance_compares_at_a_time_and_only_the_scheduler_may_ask() {
    let (house, _service) = SyncService::with_house().await;
    let jobs = Jobs::of(&house).await;
    for account in [EVENTS, FIRST] {
        let answer = jobs.post(&house, account).await;
        answer.is_problem(403, "MELMASTOON.GENERAL.FORBIDDEN");
    }
    let lease = "INSERT INTO bff.job_leases (tenant_id, job, holder, expires_at)
                 VALUES ('tnt_00000000000000000000000000', 'reconcile-cursors', 'another', now() + interval '40 s')";
    house.database.run(lease).await;
    assert_eq!(jobs.run(&house).await, json!({"ran": false}));
    house.database.run("UPDATE bff.job_leases SET expires_at = now()").await;
    assert_eq!(jobs.run(&house).await, ran(0, 0, 0, 0), "the other's lease ended by itself");
    house.database.go_away().await;
    let away = jobs.post(&house, SCHEDULER).await;
    away.is_problem(503, "MELMASTOON.BFF.STORE_UNAVAILABLE");
    house.database.come_back().await;
    assert_eq!(jobs.run(&house).await, ran(0, 0, 0, 0));
}

#[tokio::test]
async fn tenants_with_the_same_device_have_cursors_of_their_own() {
    let (house, _service) = SyncService::with_house().await;
    let mut other = house.another();
    other.tenant = fresh();
    house.post(CURSOR, &json!({"version": 3})).await;
    assert_eq!(cached(&other).await["cursor"], Value::Null);
    other.post(CURSOR, &json!({"version": 9})).await;
    assert_eq!(cached(&house).await["cursor"]["version"], 3);
    assert_eq!(stored(&house).await.len(), 2);
}
