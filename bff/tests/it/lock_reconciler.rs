//! What nobody wrote down, or knew, of a lock action is found out; what cannot be found out in time
//! freezes the lock routes until two people of the platform clear it.

use axum::Router;
use bff::locks::completeness_check::{GRACE, look};
use bff::locks::reconcile::OLDER_THAN;
use bff::locks::verify_chain::verify;
use serde_json::{Value, json};

use crate::desk::Desk;
use crate::house::{Answer, send_to};
use crate::internal;
use crate::issuer::{FIRST, Issuer, SCHEDULER, SECOND};
use crate::locks::{Act, open, rows};
use crate::platform::{Command, Locks};

const RECONCILE: &str = "/internal/jobs/reconcile-locks";
const VERIFY: &str = "/internal/jobs/verify-lock-audit";
const UNFREEZE: &str = "/internal/admin/unfreeze-locks";
const FROZEN: &str = "MELMASTOON.BFF.LOCK_PROXY_FROZEN";

/// The platform's own people and jobs.
struct Platform {
    issuer: Issuer,
    app: Router,
}

impl Platform {
    async fn around(desk: &Desk) -> Self {
        desk.warm_up().await;
        let issuer = Issuer::open().await;
        let identity = issuer.identity(desk.house.clock.clone());
        let app = internal::app(&desk.house, Some(identity));
        Self { issuer, app }
    }

    async fn post(&self, desk: &Desk, path: &str, account: &str, body: &Value) -> Answer {
        let token = self.issuer.token_of(account, &desk.house.clock);
        send_to(&self.app, internal::request("POST", path, Some(&token), body)).await
    }

    async fn job(&self, desk: &Desk, path: &str) -> Value {
        let answer = self.post(desk, path, SCHEDULER, &json!({})).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body
    }

    async fn clear(&self, desk: &Desk, by: &str) -> Answer {
        let body = json!({"reason": "a process died; its action was found out"});
        let asked = self.post(desk, UNFREEZE, FIRST, &body).await;
        assert_eq!(asked.status, 202, "{}", asked.body);
        let id = asked.body["id"].as_str().unwrap();
        self.post(desk, &format!("{UNFREEZE}/{id}/approve"), by, &json!({})).await
    }
}

fn ran(success: u32, failure: u32, unknown: u32, left: u32) -> Value {
    json!({"ran": true, "success": success, "failure": failure, "unknown": unknown, "left": left})
}

/// An action whose end is not written down, as when its process dies. The key was made.
async fn orphan(desk: &Desk) {
    let table = "ALTER TABLE bff.lock_action_proxy_audit";
    let refuse = format!("{table} ADD CONSTRAINT no_end CHECK (phase = 'requested') NOT VALID");
    desk.house.database.run(&refuse).await;
    assert_eq!(Act::issue().send(desk).await.status, 201);
    desk.house.database.run(&format!("{table} DROP CONSTRAINT no_end")).await;
}

async fn is_whole(desk: &Desk) -> bool {
    let found = verify(&desk.house.gateway.database, desk.house.tenant).await.unwrap();
    found.broken.is_none()
}

#[tokio::test]
async fn an_unknown_end_becomes_what_lock_integration_says_of_the_key_and_only_once() {
    let desk = open().await;
    let platform = Platform::around(&desk).await;
    for (command, phase) in [(Command::Vanish, "success"), (Command::Swallow, "failure")] {
        desk.platform.command(command);
        let act = Act::issue();
        act.send(&desk).await.is_problem(504, "MELMASTOON.BFF.UPSTREAM_TIMEOUT");
        assert_eq!(platform.job(&desk, RECONCILE).await, ran(0, 0, 0, 0), "it is too young");
        desk.pass(OLDER_THAN.as_secs() + 1);
        let done = u32::from(phase == "success");
        assert_eq!(platform.job(&desk, RECONCILE).await, ran(done, 1 - done, 0, 0));
        assert_eq!(platform.job(&desk, RECONCILE).await, ran(0, 0, 0, 0));
        let own = format!(
            "SELECT concat_ws(' ', phase, detail->>'source') FROM bff.lock_action_proxy_audit
             WHERE idempotency_key = '{}' ORDER BY sequence",
            act.key
        );
        let told = desk.house.rows(&own).await;
        assert_eq!(told, ["requested", "unknown", &format!("{phase} reconciler")]);
    }
    assert!(is_whole(&desk).await);
}

#[tokio::test]
async fn an_action_whose_process_died_gets_its_end_whoever_looks_and_however_many_do() {
    let desk = open().await;
    let platform = Platform::around(&desk).await;
    orphan(&desk).await;
    assert!(is_whole(&desk).await);
    assert_eq!(rows(&desk, "phase").await, ["requested"]);
    desk.pass(OLDER_THAN.as_secs() + 1);
    let run = || platform.job(&desk, RECONCILE);
    let (one, two, three) = tokio::join!(run(), run(), run());
    let count = |name: &str| [&one, &two, &three].iter().filter_map(|it| it[name].as_u64()).sum();
    let (success, failure): (u64, u64) = (count("success"), count("failure"));
    assert_eq!((success, failure), (1, 0), "{one} {two} {three}");
    assert_eq!(rows(&desk, "phase").await, ["requested", "success"]);
    let keys = rows(&desk, "coalesce(left(detail->>'keyCredentialId', 4), '')").await;
    assert_eq!(keys, ["", "key_"]);
}

#[tokio::test]
async fn while_nobody_can_be_asked_the_end_is_written_down_as_unknown_and_found_out_later() {
    let desk = open().await;
    let platform = Platform::around(&desk).await;
    orphan(&desk).await;
    assert!(is_whole(&desk).await);
    desk.pass(OLDER_THAN.as_secs() + 1);
    desk.platform.locks(Locks::Ill);
    assert_eq!(platform.job(&desk, RECONCILE).await, ran(0, 0, 1, 0));
    assert_eq!(platform.job(&desk, RECONCILE).await, ran(0, 0, 0, 1));
    desk.platform.locks(Locks::In(desk.house.property.to_string()));
    assert_eq!(platform.job(&desk, RECONCILE).await, ran(1, 0, 0, 0));
    assert_eq!(rows(&desk, "phase").await, ["requested", "unknown", "success"]);
    assert!(is_whole(&desk).await);
}

async fn looked(desk: &Desk) -> bool {
    let gateway = &desk.house.gateway;
    look(&gateway.database, &gateway.env.clock).await.unwrap().is_whole()
}

#[tokio::test]
async fn a_gap_freezes_the_routes_until_two_people_clear_it() {
    let desk = open().await;
    let platform = Platform::around(&desk).await;
    let finished = Act::issue();
    assert_eq!(finished.send(&desk).await.status, 201);
    orphan(&desk).await;
    assert!(is_whole(&desk).await);
    desk.pass(OLDER_THAN.as_secs() + 1);
    assert!(looked(&desk).await, "the reconciler may still come");
    assert_eq!(Act::issue().send(&desk).await.status, 201);
    desk.pass(GRACE.as_secs());
    assert!(!looked(&desk).await);
    let answer = Act::issue().send(&desk).await;
    answer.is_problem(503, FROZEN);
    assert!(answer.headers.contains_key("retry-after"));
    assert_eq!(finished.send(&desk).await.status, 201, "what was done is told all the same");
    let calls = desk.platform.seen().len();

    let alone = platform.clear(&desk, FIRST).await;
    alone.is_problem(403, "MELMASTOON.BFF.ADMIN_SECOND_PERSON_REQUIRED");
    Act::issue().send(&desk).await.is_problem(503, FROZEN);
    assert_eq!(desk.platform.seen().len(), calls, "nothing was sent while it was frozen");
    let cleared = platform.clear(&desk, SECOND).await;
    assert_eq!((cleared.status.as_u16(), &cleared.body["frozen"]), (200, &json!(false)));
    assert_eq!(Act::issue().send(&desk).await.status, 201);
    desk.pass(1);
    assert!(looked(&desk).await, "the gap is known");
    assert_eq!(Act::issue().send(&desk).await.status, 201);
    let audit = "SELECT step || ' ' || account FROM bff.admin_audit ORDER BY sequence";
    let (asked, refused) = (format!("requested {FIRST}"), format!("refused {FIRST}"));
    let expected = [asked.clone(), refused, asked, format!("approved {SECOND}")];
    assert_eq!(desk.house.database.rows(audit).await, expected);
}

#[tokio::test]
async fn a_first_row_that_was_taken_away_is_a_gap_too() {
    let desk = open().await;
    assert_eq!(Act::issue().send(&desk).await.status, 201);
    let taken = "SET session_replication_role = replica;
                 DELETE FROM bff.lock_action_proxy_audit WHERE phase = 'requested'";
    desk.house.database.run(taken).await;
    desk.pass(GRACE.as_secs() + 1);
    assert!(!looked(&desk).await);
    Act::issue().send(&desk).await.is_problem(503, FROZEN);
}

#[tokio::test]
async fn a_wish_to_clear_is_approved_once_and_in_time() {
    let desk = open().await;
    let platform = Platform::around(&desk).await;
    let asked = platform.post(&desk, UNFREEZE, FIRST, &json!({"reason": "a test"})).await;
    let path = format!("{UNFREEZE}/{}/approve", asked.body["id"].as_str().unwrap());
    let body = json!({});
    let approve = || platform.post(&desk, &path, SECOND, &body);
    assert_eq!(approve().await.status, 200);
    approve().await.is_problem(409, "MELMASTOON.BFF.ADMIN_REQUEST_CLOSED");
    let late = platform.post(&desk, UNFREEZE, FIRST, &json!({"reason": "a test"})).await;
    desk.pass(600);
    let path = format!("{UNFREEZE}/{}/approve", late.body["id"].as_str().unwrap());
    let answer = platform.post(&desk, &path, SECOND, &json!({})).await;
    answer.is_problem(409, "MELMASTOON.BFF.ADMIN_REQUEST_CLOSED");
    let nothing = platform.post(&desk, UNFREEZE, FIRST, &json!({"reason": ""})).await;
    nothing.is_problem(400, "MELMASTOON.GENERAL.VALIDATION_FAILED");
}

#[tokio::test]
async fn the_chains_of_all_tenants_are_verified_on_command() {
    let desk = open().await;
    let platform = Platform::around(&desk).await;
    assert_eq!(platform.job(&desk, VERIFY).await, json!({"chains": 0, "rows": 0, "broken": []}));
    assert_eq!(Act::issue().send(&desk).await.status, 201);
    assert_eq!(platform.job(&desk, VERIFY).await, json!({"chains": 1, "rows": 2, "broken": []}));
    let altered = "SET session_replication_role = replica;
                   UPDATE bff.lock_action_proxy_audit SET operator_id = 'x' WHERE sequence = 2;
                   DELETE FROM bff.lock_audit_heads";
    desk.house.database.run(altered).await;
    let found = platform.job(&desk, VERIFY).await;
    let broken = json!({"tenantId": desk.house.tenant, "whole": 1,
                        "broken": {"sequence": 2, "what": "altered"}});
    assert_eq!(found, json!({"chains": 1, "rows": 1, "broken": [broken]}));
    for path in [RECONCILE, VERIFY] {
        let answer = platform.post(&desk, path, FIRST, &json!({})).await;
        answer.is_problem(403, "MELMASTOON.GENERAL.FORBIDDEN");
    }
}
