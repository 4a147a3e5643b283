//! Attestations: one permits one action, once, to its owner.

use std::sync::Arc;

use auth::Principal;
use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::post;
use contracts::clock::Entropy;
use contracts::env::Env;
use contracts::id::{AttestationId, DeviceId, OperatorId, RequestId, TenantId};
use contracts::role::RoleSet;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use service_kit::postgres::{Database, Transaction, write};
use service_kit::request::{Observer, observed};
use service_kit::request_metrics;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::config::ATTESTATION_LIFETIME;
use crate::http::endpoints::Endpoint;
use crate::mutation::attestation::watch::second_uses;
use crate::mutation::attestation::{
    ConsumeError, FolioRefund, Presented, Purpose, Refused, Scope, Use, consume, issue,
};
use crate::tests::test_gateway::{TestGateway, TestResponse, fresh};

const FOLIO: &str = "fol_01K0000000000000000000000A";
const BODY: [u8; 32] = [7; 32];
/// Connections for the race, opened in sequence beforehand so that none waits for its start.
const CONNECTIONS: usize = 20;

/// The gateway's operator as a principal.
pub(crate) fn principal(gateway: &TestGateway) -> Principal {
    Principal {
        tenant: gateway.tenant,
        operator: gateway.operator,
        device: gateway.device,
        session: Some(gateway.session),
        roles: RoleSet::ANY,
        properties: vec![gateway.property],
        issued_at: gateway.clock.now(),
        expires_at: gateway.clock.now() + SignedDuration::from_mins(15),
        thumbprint: Some(gateway.device_key.thumbprint().into()),
        token_digest: [0; 32],
    }
}

/// A refund of the folio.
fn purpose(body_digest: Option<[u8; 32]>) -> Purpose {
    Purpose { scope: Scope::FolioRefund, resource: Some(FOLIO.to_owned()), body_digest }
}

fn refund(by: &str) -> Use<'_> {
    let (fingerprint, resumes) = ([3; 32], false);
    Use { scope: Scope::FolioRefund, resource: FOLIO, body_digest: BODY, by, fingerprint, resumes }
}

impl TestGateway {
    /// Issues an attestation to the operator.
    pub(crate) async fn attested(&self, purpose: &Purpose) -> AttestationId {
        let mut connection = self.state.database.connection().await.unwrap();
        let transaction = write(&mut connection, self.tenant).await.unwrap();
        let (caller, request, by) = (principal(self), fresh::<RequestId>(), &self.state.env);
        let issued = issue(&transaction, &caller, purpose, request, by).await.unwrap();
        transaction.commit().await.unwrap();
        issued.id
    }

    /// Issues an attestation that is for any resource.
    pub(crate) async fn attested_for(&self, scope: Scope) -> AttestationId {
        self.attested(&Purpose { scope, resource: None, body_digest: None }).await
    }

    /// Issues an attestation for the endpoint's second factor, if it requires one.
    pub(crate) async fn second_factor(&self, endpoint: &Endpoint) -> Option<AttestationId> {
        let scope = serde_json::from_value(json!(endpoint.second_factor?)).unwrap();
        Some(self.attested_for(scope).await)
    }
}

/// Consumes it in a transaction of its own and commits.
async fn used(
    database: &Database,
    principal: &Principal,
    id: AttestationId,
    wanted: &Use<'_>,
    now: Timestamp,
) -> Result<(), Refused> {
    let mut connection = database.connection().await.unwrap();
    let transaction = write(&mut connection, principal.tenant).await.unwrap();
    used_in(transaction, principal, id, wanted, now).await
}

async fn used_in(
    transaction: Transaction<'_>,
    principal: &Principal,
    id: AttestationId,
    wanted: &Use<'_>,
    now: Timestamp,
) -> Result<(), Refused> {
    match consume(&transaction, principal, id, wanted, now).await {
        Ok(()) => transaction.commit().await.unwrap(),
        Err(ConsumeError::Refused(reason)) => return Err(reason),
        Err(ConsumeError::Store(error)) => panic!("{error}"),
    }
    Ok(())
}

#[tokio::test]
async fn of_a_hundred_uses_at_once_exactly_one_succeeds() {
    let gateway = TestGateway::open().await;
    let id = gateway.attested(&purpose(None)).await;
    let config = service_kit::testing::postgres(gateway.database.url(), CONNECTIONS);
    let database = Database::new(&config).unwrap();
    let start = Arc::new(Barrier::new(CONNECTIONS));
    let mut tasks = JoinSet::new();
    for task in 0..CONNECTIONS {
        let mut connection = database.connection().await.unwrap();
        let (principal, start, now) =
            (principal(&gateway), Arc::clone(&start), gateway.clock.now());
        tasks.spawn(async move {
            start.wait().await;
            let mut outcomes = Vec::new();
            for turn in 0..100 / CONNECTIONS {
                let by = format!("request-of-task-{task}-{turn}");
                let transaction = write(&mut connection, principal.tenant).await.unwrap();
                outcomes.push(used_in(transaction, &principal, id, &refund(&by), now).await);
            }
            outcomes
        });
    }
    let outcomes = tasks.join_all().await.concat();
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    let replayed = outcomes.iter().filter(|outcome| **outcome == Err(Refused::Replayed));
    assert_eq!(replayed.count(), 99);
    let since = gateway.clock.now() - SignedDuration::from_mins(1);
    assert_eq!(used_twice(&database, since).await, 0);
}

async fn used_twice(database: &Database, since: Timestamp) -> i64 {
    second_uses(database, since).await.unwrap().used_twice
}

#[tokio::test]
async fn after_a_rollback_the_attestation_is_unused() {
    let gateway = TestGateway::open().await;
    let (id, principal, now) =
        (gateway.attested_for(Scope::FolioRefund).await, principal(&gateway), gateway.clock.now());
    let database = &gateway.state.database;
    let mut connection = database.connection().await.unwrap();
    let transaction = write(&mut connection, gateway.tenant).await.unwrap();
    consume(&transaction, &principal, id, &refund("the-first"), now).await.unwrap();
    transaction.rollback().await.unwrap();
    drop(connection);
    used(database, &principal, id, &refund("the-second"), now).await.unwrap();
    let third = used(database, &principal, id, &refund("the-third"), now).await;
    assert_eq!(third, Err(Refused::Replayed));
}

#[tokio::test]
async fn only_a_request_that_resumes_its_own_unfinished_one_uses_it_again() {
    let gateway = TestGateway::open().await;
    let (id, principal, now) =
        (gateway.attested_for(Scope::FolioRefund).await, principal(&gateway), gateway.clock.now());
    let (database, late) = (&gateway.state.database, now + ATTESTATION_LIFETIME);
    let first = refund("the-same");
    let resumed = Use { resumes: true, ..first };
    used(database, &principal, id, &first, now).await.unwrap();
    used(database, &principal, id, &resumed, now).await.unwrap();
    used(database, &principal, id, &resumed, late).await.unwrap();
    let again = used(database, &principal, id, &first, now).await;
    assert_eq!(again, Err(Refused::Replayed), "the same key and request, but not resumed");
    for other in [
        Use { by: "another", ..resumed },
        Use { fingerprint: [4; 32], ..resumed },
        Use { fingerprint: [4; 32], ..first },
    ] {
        assert_eq!(used(database, &principal, id, &other, now).await, Err(Refused::Replayed));
        assert_eq!(used(database, &principal, id, &other, late).await, Err(Refused::Expired));
    }
}

#[tokio::test]
async fn a_use_from_before_requests_were_kept_permits_nothing_any_more() {
    let gateway = TestGateway::open().await;
    let (id, principal, now) =
        (gateway.attested_for(Scope::FolioRefund).await, principal(&gateway), gateway.clock.now());
    let old = format!(
        "INSERT INTO bff.mfa_attestation_uses (tenant_id, attestation_id, used_by, used_at)
         VALUES ('{}', '{id}', 'the-same', now())",
        gateway.tenant
    );
    gateway.database.run(&old).await;
    for resumes in [false, true] {
        let again = Use { resumes, ..refund("the-same") };
        let outcome = used(&gateway.state.database, &principal, id, &again, now).await;
        assert_eq!(outcome, Err(Refused::Replayed));
    }
}

#[tokio::test]
async fn an_attestation_expires_after_five_minutes() {
    let gateway = TestGateway::open().await;
    let (id, principal) = (gateway.attested_for(Scope::FolioRefund).await, principal(&gateway));
    let late = gateway.clock.now() + ATTESTATION_LIFETIME;
    let database = &gateway.state.database;
    let outcome = used(database, &principal, id, &refund("too-late"), late).await;
    assert_eq!(outcome, Err(Refused::Expired));
    let early = late - SignedDuration::from_secs(5);
    used(database, &principal, id, &refund("in-time"), early).await.unwrap();
}

#[tokio::test]
async fn it_permits_no_other_operator_and_no_other_action() {
    let gateway = TestGateway::open().await;
    let (own, now) = (principal(&gateway), gateway.clock.now());
    let id = gateway.attested(&purpose(Some(BODY))).await;
    let database = &gateway.state.database;
    let others = [
        Principal { operator: fresh::<OperatorId>(), ..own.clone() },
        Principal { device: fresh::<DeviceId>(), ..own.clone() },
        Principal { thumbprint: Some("A".repeat(43).into()), ..own.clone() },
        Principal { thumbprint: None, ..own.clone() },
    ];
    for other in others {
        let outcome = used(database, &other, id, &refund("another"), now).await;
        assert_eq!(outcome, Err(Refused::Mismatch), "{other:?}");
    }
    let good = refund("another");
    for wanted in [
        Use { scope: Scope::FolioCharge, ..good },
        Use { resource: "fol_01K0000000000000000000000B", ..good },
        Use { body_digest: [8; 32], ..good },
    ] {
        let outcome = used(database, &own, id, &wanted, now).await;
        assert_eq!(outcome, Err(Refused::Mismatch), "{wanted:?}");
    }
    let stranger = Principal { tenant: fresh::<TenantId>(), ..own.clone() };
    for (who, id) in [(&stranger, id), (&own, fresh())] {
        let outcome = used(database, who, id, &good, now).await;
        assert_eq!(outcome, Err(Refused::Unknown));
    }
    used(database, &own, id, &good, now).await.unwrap();
}

#[tokio::test]
async fn a_second_use_is_found_in_the_rows() {
    let gateway = TestGateway::open().await;
    let (id, principal, now) =
        (gateway.attested_for(Scope::FolioRefund).await, principal(&gateway), gateway.clock.now());
    let constraint = "ALTER TABLE bff.mfa_attestation_uses
                      DROP CONSTRAINT an_attestation_is_used_once";
    gateway.database.run(constraint).await;
    let database = &gateway.state.database;
    used(database, &principal, id, &refund("the-first"), now).await.unwrap();
    let since = now - SignedDuration::from_mins(1);
    assert_eq!(used_twice(database, since).await, 0);
    used(database, &principal, id, &refund("the-second"), now).await.unwrap();
    assert_eq!(used_twice(database, since).await, 1);
}

const ROUTE: &str = "/refunds-of-a-test";

/// A route that requires one, behind the real edge.
async fn send_request(gateway: &TestGateway, attestations: &[&str]) -> TestResponse {
    let env = Env::new(gateway.clock.clone(), Entropy::system());
    let observer = Observer { metrics: request_metrics!("test"), env };
    let route = post(|given: Presented<FolioRefund>| async move { given.id.to_string() });
    let edge = from_fn_with_state(gateway.state.clone(), crate::edge::authenticate);
    let app = observed(Router::new().route(ROUTE, route).layer(edge), observer);
    let request = gateway.post(ROUTE).header_lines("x-mfa-attestation", attestations);
    request.through(&app).await
}

#[tokio::test]
async fn a_route_that_needs_a_factor_requires_a_fresh_one() {
    let gateway = TestGateway::open().await;
    let absent = send_request(&gateway, &[]).await.problem(401, "MELMASTOON.BFF.MFA_REQUIRED");
    assert!(absent.body["detail"].as_str().unwrap().contains("folio.refund"));
    let good = "mfa_01K0000000000000000000000A";
    for wrong in [&[good, good][..], &[""], &["mfa_1"], &["bos_01K0000000000000000000000A"]] {
        send_request(&gateway, wrong).await.problem(401, "MELMASTOON.BFF.MFA_INVALID_OR_USED");
    }
    let challenge = absent.header("www-authenticate");
    for member in
        ["DPoP ", r#"error="insufficient_user_authentication""#, r#"max_age="300""#, "algs="]
    {
        assert!(challenge.contains(member), "{challenge}");
    }
    send_request(&gateway, &[good]).await.status(200);
}
