//! Reconciliation of lock actions without a final row, and the freeze of the lock routes until two
//! platform operators lift it.

use serde_json::{Value, json};

use crate::config::LockAuditConfig;
use crate::locks::completeness_check::check;
use crate::locks::verify_chain::verify;
use crate::tests::fake_upstreams::{Command, Locks};
use crate::tests::fixture::Fixture;
use crate::tests::issuer::{FIRST, SCHEDULER, SECOND};
use crate::tests::locks::{self, Act, rows};
use crate::tests::test_gateway::TestResponse;

const RECONCILE: &str = "/internal/jobs/reconcile-locks";
const VERIFY: &str = "/internal/jobs/verify-lock-audit";
const UNFREEZE: &str = "/internal/admin/unfreeze-locks";
const FROZEN: &str = "MELMASTOON.BFF.LOCK_PROXY_FROZEN";
const CLOSED: &str = "MELMASTOON.BFF.ADMIN_REQUEST_CLOSED";

async fn open() -> Fixture {
    let fixture = locks::open().await;
    fixture.warm_up().await;
    fixture
}

fn ages(fixture: &Fixture) -> LockAuditConfig {
    fixture.gateway.state.lock_audit
}

async fn job(fixture: &Fixture, path: &str) -> Value {
    fixture.gateway.account(SCHEDULER).post(path).await.ok()
}

/// Requests that the routes be unfrozen, and returns the path of the approval.
async fn request_unfreeze(fixture: &Fixture) -> String {
    let body = json!({"reason": "a process died; its action was found out"});
    let request = fixture.gateway.account(FIRST).post(UNFREEZE).json(&body).await.status(202);
    format!("{UNFREEZE}/{}/approve", request.body["id"].as_str().unwrap())
}

async fn unfreeze(fixture: &Fixture, by: &str) -> TestResponse {
    let approval = request_unfreeze(fixture).await;
    fixture.gateway.account(by).post(approval).await
}

fn ran(success: u32, failure: u32, unknown: u32, left: u32) -> Value {
    json!({"ran": true, "success": success, "failure": failure, "unknown": unknown, "left": left})
}

/// An action without its final row, as after a crash. The key was issued.
async fn orphan(fixture: &Fixture) {
    let table = "ALTER TABLE bff.lock_action_proxy_audit";
    let refuse = format!("{table} ADD CONSTRAINT no_end CHECK (phase = 'requested') NOT VALID");
    fixture.gateway.database.run(&refuse).await;
    Act::issue().send(fixture).await.status(201);
    fixture.gateway.database.run(&format!("{table} DROP CONSTRAINT no_end")).await;
}

async fn is_whole(fixture: &Fixture) -> bool {
    let found = verify(&fixture.gateway.state.database, fixture.gateway.tenant).await.unwrap();
    found.first_fault.is_none()
}

#[tokio::test]
async fn an_unknown_outcome_is_reconciled_once_with_lock_integration() {
    let fixture = open().await;
    for (command, phase) in [(Command::Vanish, "success"), (Command::Swallow, "failure")] {
        fixture.fake.command(command);
        let act = Act::issue();
        act.send(&fixture).await.problem(504, "MELMASTOON.BFF.UPSTREAM_TIMEOUT");
        assert_eq!(job(&fixture, RECONCILE).await, ran(0, 0, 0, 0), "it is too young");
        fixture.pass(ages(&fixture).reconcile_after().as_secs() + 1);
        let done = u32::from(phase == "success");
        assert_eq!(job(&fixture, RECONCILE).await, ran(done, 1 - done, 0, 0));
        assert_eq!(job(&fixture, RECONCILE).await, ran(0, 0, 0, 0));
        let own = format!(
            "SELECT concat_ws(' ', phase, detail->>'source') FROM bff.lock_action_proxy_audit
             WHERE idempotency_key = '{}' ORDER BY sequence",
            act.key
        );
        let rows = fixture.gateway.database.rows(&own).await;
        assert_eq!(rows, ["requested", "unknown", &format!("{phase} reconciler")]);
    }
    assert!(is_whole(&fixture).await);
}

#[tokio::test]
async fn an_action_of_a_crashed_process_is_completed_once_by_any_number_of_reconcilers() {
    let fixture = open().await;
    orphan(&fixture).await;
    assert!(is_whole(&fixture).await);
    assert_eq!(rows(&fixture, "phase").await, ["requested"]);
    fixture.pass(ages(&fixture).reconcile_after().as_secs() + 1);
    let run = || job(&fixture, RECONCILE);
    let (one, two, three) = tokio::join!(run(), run(), run());
    let count = |name: &str| [&one, &two, &three].iter().filter_map(|run| run[name].as_u64()).sum();
    let (success, failure): (u64, u64) = (count("success"), count("failure"));
    assert_eq!((success, failure), (1, 0), "{one} {two} {three}");
    assert_eq!(rows(&fixture, "phase").await, ["requested", "success"]);
    let keys = rows(&fixture, "coalesce(left(detail->>'keyCredentialId', 4), '')").await;
    assert_eq!(keys, ["", "key_"]);
}

#[tokio::test]
async fn without_lock_integration_the_outcome_is_unknown_and_reconciled_later() {
    let fixture = open().await;
    orphan(&fixture).await;
    assert!(is_whole(&fixture).await);
    fixture.pass(ages(&fixture).reconcile_after().as_secs() + 1);
    fixture.fake.locks(Locks::Ill);
    assert_eq!(job(&fixture, RECONCILE).await, ran(0, 0, 1, 0));
    assert_eq!(job(&fixture, RECONCILE).await, ran(0, 0, 0, 1));
    fixture.fake.locks(Locks::In(fixture.gateway.property.to_string()));
    assert_eq!(job(&fixture, RECONCILE).await, ran(1, 0, 0, 0));
    assert_eq!(rows(&fixture, "phase").await, ["requested", "unknown", "success"]);
    assert!(is_whole(&fixture).await);
}

async fn check_completeness(fixture: &Fixture) -> bool {
    let state = &fixture.gateway.state;
    check(&state.database, &state.env.clock, ages(fixture).completion_grace())
        .await
        .unwrap()
        .is_complete()
}

#[tokio::test]
async fn missing_rows_freeze_the_routes_until_two_operators_unfreeze_them() {
    let fixture = open().await;
    let finished = Act::issue();
    finished.send(&fixture).await.status(201);
    orphan(&fixture).await;
    assert!(is_whole(&fixture).await);
    fixture.pass(ages(&fixture).reconcile_after().as_secs() + 1);
    assert!(check_completeness(&fixture).await, "the reconciler may still come");
    Act::issue().send(&fixture).await.status(201);
    fixture.pass(ages(&fixture).completion_grace().as_secs());
    assert!(!check_completeness(&fixture).await);
    let response = Act::issue().send(&fixture).await.problem(503, FROZEN);
    assert!(response.headers.contains_key("retry-after"));
    assert_eq!(finished.send(&fixture).await.status, 201, "the stored response is still sent");
    let calls = fixture.fake.seen().len();

    unfreeze(&fixture, FIRST).await.problem(403, "MELMASTOON.BFF.ADMIN_SECOND_PERSON_REQUIRED");
    Act::issue().send(&fixture).await.problem(503, FROZEN);
    assert_eq!(fixture.fake.seen().len(), calls, "nothing was sent while it was frozen");
    let cleared = unfreeze(&fixture, SECOND).await;
    assert_eq!(cleared.ok::<Value>()["frozen"], false);
    Act::issue().send(&fixture).await.status(201);
    fixture.pass(1);
    assert!(check_completeness(&fixture).await, "the gap is known");
    Act::issue().send(&fixture).await.status(201);
    let audit = "SELECT step || ' ' || account FROM bff.admin_audit ORDER BY sequence";
    let (requests, refused) = (format!("requested {FIRST}"), format!("refused {FIRST}"));
    let expected = [requests.clone(), refused, requests, format!("approved {SECOND}")];
    assert_eq!(fixture.gateway.database.rows(audit).await, expected);
}

#[tokio::test]
async fn a_removed_first_row_is_detected_too() {
    let fixture = open().await;
    Act::issue().send(&fixture).await.status(201);
    let taken = "SET session_replication_role = replica;
                 DELETE FROM bff.lock_action_proxy_audit WHERE phase = 'requested'";
    fixture.gateway.database.run(taken).await;
    fixture.pass(ages(&fixture).completion_grace().as_secs() + 1);
    assert!(!check_completeness(&fixture).await);
    Act::issue().send(&fixture).await.problem(503, FROZEN);
}

#[tokio::test]
async fn an_unfreeze_request_is_approved_once_and_in_time() {
    let fixture = open().await;
    let approve = |path: &str| fixture.gateway.account(SECOND).post(path);
    let path = request_unfreeze(&fixture).await;
    approve(&path).await.status(200);
    approve(&path).await.problem(409, CLOSED);
    let late = request_unfreeze(&fixture).await;
    fixture.pass(600);
    approve(&late).await.problem(409, CLOSED);
    let silent = fixture.gateway.account(FIRST).post(UNFREEZE).json(&json!({"reason": ""})).await;
    silent.problem(400, "MELMASTOON.GENERAL.VALIDATION_FAILED");
}

#[tokio::test]
async fn the_chains_of_all_tenants_are_verified_on_command() {
    let fixture = open().await;
    assert_eq!(job(&fixture, VERIFY).await, json!({"chains": 0, "rows": 0, "broken": []}));
    Act::issue().send(&fixture).await.status(201);
    assert_eq!(job(&fixture, VERIFY).await, json!({"chains": 1, "rows": 2, "broken": []}));
    let altered = "SET session_replication_role = replica;
                   UPDATE bff.lock_action_proxy_audit SET operator_id = 'x' WHERE sequence = 2;
                   DELETE FROM bff.lock_audit_heads";
    fixture.gateway.database.run(altered).await;
    let found = job(&fixture, VERIFY).await;
    let broken = json!({"tenantId": fixture.gateway.tenant, "whole": 1,
                        "broken": {"sequence": 2, "what": "altered"}});
    assert_eq!(found, json!({"chains": 1, "rows": 1, "broken": [broken]}));
    for path in [RECONCILE, VERIFY] {
        let response = fixture.gateway.account(FIRST).post(path).await;
        response.problem(403, "MELMASTOON.GENERAL.FORBIDDEN");
    }
}
