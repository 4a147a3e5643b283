use auth::Principal;
use contracts::role::{Role, RoleSet};
use serde_json::{Value, json};
use service_kit::testing::fixtures::{OTHER_TENANT, PROPERTY, TENANT, UNKNOWN_PROPERTY, operator};
use service_kit::testing::malformed::{Fault, malformed};
use service_kit::testing::{Harness, TestResponse};

use super::*;
use crate::tests::Fixture;

const STATUS_PATH: &str = "/api/v1/housekeeping/rooms/rom_01K0000000000000000000000A/status";
const UNKNOWN_ROOM_PATH: &str = "/api/v1/housekeeping/rooms/rom_01K0000000000000000000000Z/status";

fn having(roles: &[Role]) -> Principal {
    let token_digest = [roles.len() as u8 + 1; 32];
    Principal { roles: RoleSet::of(roles), token_digest, ..operator(TENANT, &[PROPERTY]) }
}

fn supervisor() -> Principal {
    having(&[Role::HousekeepingManager])
}

fn request(status: &str) -> Value {
    json!({"status": status, "reason": "seen by the supervisor"})
}

async fn flip(harness: &Harness, status: &str) -> TestResponse {
    harness.post(STATUS_PATH, &request(status)).by(&supervisor()).send().await
}

/// Rows as the owner of the tables sees them.
async fn stored(fixture: &Fixture, sql: &str) -> Vec<Value> {
    fixture.database.rows(sql).await.iter().map(|row| serde_json::from_str(row).unwrap()).collect()
}

#[tokio::test]
async fn a_flip_is_stored_with_its_audit_row_and_its_event() {
    let fixture = Fixture::with_room().await;
    let response = flip(&fixture.harness, "cleaning").await;
    assert_eq!(response.header("etag"), "\"v=1\"");
    let body = response.ok();
    assert_eq!(
        body,
        json!({"roomId": "rom_01K0000000000000000000000A", "propertyId": PROPERTY,
               "status": "cleaning", "since": "2026-11-21T20:00:00.000Z", "version": 1})
    );
    assert_eq!(flip(&fixture.harness, "clean").await.ok()["version"], 2);
    let read = fixture.harness.get(STATUS_PATH).by(&operator(TENANT, &[PROPERTY])).send().await;
    assert_eq!((read.header("etag"), &read.body["status"]), ("\"v=2\"", &json!("clean")));

    let audit = "SELECT row_to_json(a)::text FROM (
        SELECT from_status, to_status, reason, actor_type, actor_id
        FROM housekeeping.room_status_audit ORDER BY sequence) a";
    let actor = supervisor().operator.to_string();
    let row = |from: Value, to| {
        json!({"from_status": from, "to_status": to, "reason": "seen by the supervisor",
               "actor_type": "user", "actor_id": actor})
    };
    assert_eq!(
        stored(&fixture, audit).await,
        [row(Value::Null, "cleaning"), row(json!("cleaning"), "clean")]
    );
    let events = stored(&fixture, "SELECT event::text FROM housekeeping.outbox ORDER BY sequence");
    let events = events.await;
    assert_eq!(events.len(), 2);
    assert_eq!(events[1]["type"], ROOM_STATUS_CHANGED);
    assert_eq!(events[1]["data"]["from"], "cleaning");
    assert_eq!(events[1]["tenantid"], TENANT);
}

#[tokio::test]
async fn an_invalid_body_is_refused_with_its_field_and_changes_nothing() {
    let fixture = Fixture::with_room().await;
    for wrong in malformed(&request("cleaning")) {
        let request = fixture.harness.post_text(STATUS_PATH, &wrong.text).by(&supervisor());
        let response = request.send().await;
        response.assert_problem(400, "GENERAL.VALIDATION_FAILED");
        let field = response.body["errors"][0]["field"].as_str().unwrap();
        let expected = format!("body.{}", wrong.field);
        let expected = expected.trim_end_matches('.');
        let is_named = field.starts_with(expected) || wrong.fault == Fault::Nested;
        assert!(is_named, "{expected} {field}");
    }
    for table in ["room_status", "room_status_audit", "outbox"] {
        let rows = format!("SELECT '1' FROM housekeeping.{table}");
        assert!(stored(&fixture, &rows).await.is_empty(), "{table}");
    }
}

#[tokio::test]
async fn an_illegal_flip_names_both_states_and_changes_nothing() {
    let fixture = Fixture::with_room().await;
    let response = flip(&fixture.harness, "ready").await;
    response.assert_problem(422, "HOUSEKEEPING.ROOM_STATE_CONFLICT");
    let detail = response.body["detail"].as_str().unwrap();
    assert!(detail.contains("dirty") && detail.contains("ready"), "{detail}");
    for table in ["room_status", "room_status_audit", "outbox"] {
        let rows = format!("SELECT '1' FROM housekeeping.{table}");
        assert!(stored(&fixture, &rows).await.is_empty(), "{table}");
    }
}

#[tokio::test]
async fn only_a_supervisor_may_flip() {
    let Fixture { harness, database: _database } = Fixture::with_room().await;
    for role in [Role::Housekeeping, Role::FrontDesk, Role::FrontDeskManager, Role::Maintenance] {
        let response =
            harness.post(STATUS_PATH, &request("cleaning")).by(&having(&[role])).send().await;
        response.assert_problem(403, "HOUSEKEEPING.SUPERVISOR_REQUIRED");
    }
    let response = harness.post(STATUS_PATH, &request("cleaning")).send().await;
    response.assert_problem(401, "GENERAL.UNAUTHENTICATED");
    for role in [Role::TenantAdmin, Role::PropertyGm] {
        let both = having(&[role, Role::Housekeeping]);
        let response = harness.post(STATUS_PATH, &request("out_of_order")).by(&both).send().await;
        assert!(response.status != 403, "{}", response.body);
    }
}

#[tokio::test]
async fn rooms_of_others_do_not_exist_and_those_out_of_scope_are_closed() {
    let Fixture { harness, database: _database } = Fixture::with_room().await;
    let other = Principal { roles: RoleSet::ANY, ..operator(OTHER_TENANT, &[PROPERTY]) };
    for (path, caller) in [(STATUS_PATH, &other), (UNKNOWN_ROOM_PATH, &supervisor())] {
        let response = harness.post(path, &request("cleaning")).by(caller).send().await;
        response.assert_problem(404, "GENERAL.RESOURCE_NOT_FOUND");
    }
    let elsewhere = operator(TENANT, &[UNKNOWN_PROPERTY]);
    let response = harness.post(STATUS_PATH, &request("cleaning")).by(&elsewhere).send().await;
    response.assert_problem(403, "BFF.PROPERTY_OUT_OF_SCOPE");
}

#[tokio::test]
async fn a_flip_of_another_version_is_refused() {
    let Fixture { harness, database: _database } = Fixture::with_room().await;
    let send = |tag: &'static str, status: &'static str| {
        let request = harness.post(STATUS_PATH, &request(status)).by(&supervisor());
        request.header("if-match", tag).send()
    };
    assert_eq!(send("\"v=0\"", "cleaning").await.ok()["version"], 1);
    send("\"v=0\"", "clean").await.assert_problem(409, "GENERAL.OCC_CONFLICT");
    assert_eq!(send("\"v=7\", \"v=1\"", "clean").await.ok()["version"], 2);
    assert_eq!(send("*", "inspected").await.ok()["version"], 3);
}

#[tokio::test]
async fn an_if_match_whose_quotes_span_lines_names_no_version() {
    let Fixture { harness, database: _database } = Fixture::with_room().await;
    for [first, second] in [["\"a", "b"], ["\"v=0", "\""], ["W/\"x", "y\""]] {
        let request = harness.post(STATUS_PATH, &request("cleaning")).by(&supervisor());
        let request = request.header("if-match", first).another_header("if-match", second);
        request.send().await.assert_problem(409, "GENERAL.OCC_CONFLICT");
    }
}

#[tokio::test]
async fn of_two_flips_at_once_one_wins() {
    let fixture = Fixture::with_room().await;
    let flips = (0..8).map(|_| flip(&fixture.harness, "cleaning"));
    let answers = futures_util::future::join_all(flips).await;
    let won = answers.iter().filter(|response| response.status == 200).count();
    assert_eq!(won, 1);
    let rows = stored(&fixture, "SELECT '1' FROM housekeeping.room_status_audit").await;
    assert_eq!(rows.len(), 1);
}

#[tokio::test]
async fn a_flip_requires_a_status_and_a_reason() {
    let Fixture { harness, database: _database } = Fixture::with_room().await;
    let long = "x".repeat(201);
    for (body, field) in [
        (json!({"status": "cleaning", "reason": " "}), "body.reason"),
        (json!({"status": "cleaning", "reason": long}), "body.reason"),
        (json!({"status": "spotless", "reason": "a"}), "body.status"),
        (json!({"status": "cleaning"}), "body.reason"),
    ] {
        let response = harness.post(STATUS_PATH, &body).by(&supervisor()).send().await;
        response.assert_invalid_field(field);
    }
}

#[test]
fn cleaning_goes_forward_one_step_at_a_time() {
    let legal = |from, to| may_flip(from, to);
    let steps = [
        RoomStatus::Dirty,
        RoomStatus::Cleaning,
        RoomStatus::Clean,
        RoomStatus::Inspected,
        RoomStatus::Ready,
    ];
    for (from, before) in steps.iter().enumerate() {
        for (to, after) in steps.iter().enumerate() {
            let expected = to == from + 1 || (to == 0 && from > 0);
            assert_eq!(legal(*before, *after), expected, "{before:?} {after:?}");
        }
        for closed in [RoomStatus::OutOfOrder, RoomStatus::OutOfService] {
            assert!(legal(*before, closed));
            assert_eq!(legal(closed, *before), *before == RoomStatus::Dirty);
        }
    }
}
