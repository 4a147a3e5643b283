//! Freeze of the routes that require a second factor: by a second use that the constraint let through,
//! and by one that the code let through, until two operators unfreeze them.

use contracts::id::{AttestationId, FolioId};
use serde_json::{Value, json};
use service_kit::background::BackgroundTask;

use crate::mutation::attestation::Scope;
use crate::mutation::attestation::watch::{AttestationCheck, SecondUses};
use crate::tests::call::TestCall;
use crate::tests::fixture::{BASE, Fixture, fresh_key};
use crate::tests::issuer::{FIRST, SECOND};
use crate::tests::test_gateway::fresh;

const UNFREEZE: &str = "/internal/admin/unfreeze-second-factor";
const HALTED: &str = "MELMASTOON.BFF.MUTATIONS_HALTED";
const RELAXED: &str =
    "ALTER TABLE bff.mfa_attestation_uses DROP CONSTRAINT an_attestation_is_used_once";

/// A refund with an idempotency key of its own.
fn refund(fixture: &Fixture, attestation: AttestationId) -> TestCall<'_> {
    let body =
        json!({"amount": {"amountMicro": "1000000", "currency": "AFN"}, "reason": "minibar"});
    let folio: FolioId = fresh();
    let call = fixture.gateway.post(format!("{BASE}/folios/{folio}/refunds"));
    let call = call.key(fresh_key()).attestation(Some(attestation)).json(&body);
    call.role("front_desk.manager")
}

async fn attested(fixture: &Fixture) -> AttestationId {
    fixture.gateway.attested_for(Scope::FolioRefund).await
}

async fn check(fixture: &Fixture) -> SecondUses {
    let state = &fixture.gateway.state;
    let mut check = AttestationCheck::new(state.database.clone(), state.env.clock.clone());
    check.activate().await.unwrap()
}

async fn unfreeze(fixture: &Fixture, by: &str) -> crate::tests::test_gateway::TestResponse {
    let body = json!({"reason": "The cause was found."});
    let request = fixture.gateway.account(FIRST).post(UNFREEZE).json(&body).await.status(202);
    let path = format!("{UNFREEZE}/{}/approve", request.body["id"].as_str().unwrap());
    fixture.gateway.account(by).post(path).await
}

/// Checks that the routes are frozen now, and what unfreezes them.
async fn is_frozen_until_two_operators_approve(fixture: &Fixture) {
    let fresh = attested(fixture).await;
    let effects = fixture.fake.effects();
    let halted = refund(fixture, fresh).await.problem(503, HALTED);
    assert!(halted.headers.contains_key("retry-after"));
    assert_eq!(fixture.fake.effects(), effects, "nothing was sent while it was frozen");
    unfreeze(fixture, FIRST).await.problem(403, "MELMASTOON.BFF.ADMIN_SECOND_PERSON_REQUIRED");
    refund(fixture, fresh).await.problem(503, HALTED);
    fixture.pass(1);
    assert_eq!(unfreeze(fixture, SECOND).await.ok::<Value>()["frozen"], false);
    fixture.pass(1);
    assert_eq!((check(fixture).await.used_twice, check(fixture).await.unapproved), (1, 0));
    refund(fixture, fresh).await.status(201);
}

#[tokio::test]
async fn a_second_use_that_a_lost_constraint_let_through_freezes_the_routes() {
    let fixture = Fixture::open().await;
    fixture.gateway.database.run(RELAXED).await;
    let used = attested(&fixture).await;
    refund(&fixture, used).await.status(201);
    assert_eq!(check(&fixture).await.used_twice, 0);
    refund(&fixture, used).await.status(201);
    let found = check(&fixture).await;
    assert_eq!((found.used_twice, found.unapproved), (1, 1));
    is_frozen_until_two_operators_approve(&fixture).await;
}

/// The code that refuses a second use cannot be removed in a test; what it leaves behind can be made: one
/// row of the use, and two of the activity.
#[tokio::test]
async fn a_second_use_that_the_code_let_through_freezes_the_routes() {
    let fixture = Fixture::open().await;
    let used = attested(&fixture).await;
    refund(&fixture, used).await.status(201);
    assert_eq!(check(&fixture).await.used_twice, 0);
    let bypassed = "INSERT INTO bff.operator_activity
            (tenant_id, id, occurred_at, operator_id, device_id, session_id, action, resource_id,
             outcome, request_id, trace_id, detail)
        SELECT tenant_id, 'bypassed', occurred_at, operator_id, device_id, session_id, action, resource_id,
               outcome, request_id, trace_id, detail || '{\"idempotencyKey\": \"another\"}'
        FROM bff.operator_activity WHERE outcome = 'requested'";
    fixture.gateway.database.run(bypassed).await;
    let found = check(&fixture).await;
    assert_eq!((found.used_twice, found.unapproved), (1, 1));
    is_frozen_until_two_operators_approve(&fixture).await;
}

#[tokio::test]
async fn a_repeat_of_the_same_request_freezes_nothing() {
    let fixture = Fixture::open().await;
    let used = attested(&fixture).await;
    refund(&fixture, used).await.status(201);
    let resumed = "INSERT INTO bff.operator_activity
            (tenant_id, id, occurred_at, operator_id, device_id, session_id, action, resource_id,
             outcome, request_id, trace_id, detail)
        SELECT tenant_id, 'resumed', occurred_at, operator_id, device_id, session_id, action, resource_id,
               outcome, request_id, trace_id, detail || '{\"attempt\": 2}'
        FROM bff.operator_activity WHERE outcome = 'requested'";
    fixture.gateway.database.run(resumed).await;
    assert_eq!(check(&fixture).await.used_twice, 0);
    refund(&fixture, attested(&fixture).await).await.status(201);
}
