//! An attestation permits one action, once, to whom it was issued.

use std::sync::Arc;

use auth::Principal;
use axum::Router;
use axum::body::Body;
use axum::middleware::from_fn_with_state;
use axum::routing::post;
use bff::config::ATTESTATION_LIFETIME;
use bff::mutation::attestation::watch::used_twice;
use bff::mutation::attestation::{
    ConsumeError, FolioRefund, Presented, Purpose, Refused, Scope, Use, consume, issue,
};
use contracts::clock::{Clock, Entropy};
use contracts::id::{AttestationId, DeviceId, Id, OperatorId, RequestId, TenantId};
use contracts::role::RoleSet;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use service_kit::postgres::{Database, Transaction, write};
use service_kit::request::{Observer, observed};
use service_kit::request_metrics;
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tower::ServiceExt;

use crate::house::{Answer, BASE, House, answer};

const FOLIO: &str = "fol_01K0000000000000000000000A";
const BODY: [u8; 32] = [7; 32];
/// Open at once for the race; one after the other, so that none waits for its start.
const CONNECTIONS: usize = 20;

fn fresh<T: Id>() -> T {
    T::generate(&Clock::system(), &Entropy::system())
}

/// The house's operator, as the edge would say.
pub(crate) fn principal(house: &House) -> Principal {
    Principal {
        tenant: house.tenant,
        operator: house.operator,
        device: house.device,
        session: Some(house.session),
        roles: RoleSet::ANY,
        properties: vec![house.property],
        issued_at: house.clock.now(),
        expires_at: house.clock.now() + SignedDuration::from_mins(15),
        thumbprint: Some(house.device_key.thumbprint().into()),
        token_digest: [0; 32],
    }
}

fn refund(by: &str) -> Use<'_> {
    let (fingerprint, resumes) = ([3; 32], false);
    Use { scope: Scope::FolioRefund, resource: FOLIO, body_digest: BODY, by, fingerprint, resumes }
}

async fn issued(house: &House, resource: Option<&str>, digest: Option<[u8; 32]>) -> AttestationId {
    let purpose = Purpose {
        scope: Scope::FolioRefund,
        resource: resource.map(str::to_owned),
        body_digest: digest,
    };
    let mut connection = house.gateway.database.connection().await.unwrap();
    let transaction = write(&mut connection, house.tenant).await.unwrap();
    let by = &house.gateway.env;
    let request = fresh::<RequestId>();
    let issued = issue(&transaction, &principal(house), &purpose, request, by).await.unwrap();
    transaction.commit().await.unwrap();
    issued.id
}

/// Uses it in a transaction of its own and commits.
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
    let house = House::open().await;
    let id = issued(&house, Some(FOLIO), None).await;
    let config = service_kit::testing::postgres(house.database.url(), CONNECTIONS);
    let database = Database::new(&config).unwrap();
    let start = Arc::new(Barrier::new(CONNECTIONS));
    let mut tasks = JoinSet::new();
    for task in 0..CONNECTIONS {
        let mut connection = database.connection().await.unwrap();
        let (principal, start, now) = (principal(&house), Arc::clone(&start), house.clock.now());
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
    let since = house.clock.now() - SignedDuration::from_mins(1);
    assert_eq!(used_twice(&database, since).await.unwrap(), 0);
}

#[tokio::test]
async fn after_a_rollback_it_is_as_good_as_before() {
    let house = House::open().await;
    let (id, principal, now) =
        (issued(&house, None, None).await, principal(&house), house.clock.now());
    let database = &house.gateway.database;
    let mut connection = database.connection().await.unwrap();
    let transaction = write(&mut connection, house.tenant).await.unwrap();
    consume(&transaction, &principal, id, &refund("the-first"), now).await.unwrap();
    transaction.rollback().await.unwrap();
    drop(connection);
    used(database, &principal, id, &refund("the-second"), now).await.unwrap();
    let third = used(database, &principal, id, &refund("the-third"), now).await;
    assert_eq!(third, Err(Refused::Replayed));
}

#[tokio::test]
async fn only_a_request_that_goes_on_with_its_own_unfinished_one_uses_it_again() {
    let house = House::open().await;
    let (id, principal, now) =
        (issued(&house, None, None).await, principal(&house), house.clock.now());
    let (database, late) = (&house.gateway.database, now + ATTESTATION_LIFETIME);
    let first = refund("the-same");
    let resumed = Use { resumes: true, ..first };
    used(database, &principal, id, &first, now).await.unwrap();
    used(database, &principal, id, &resumed, now).await.unwrap();
    used(database, &principal, id, &resumed, late).await.unwrap();
    let again = used(database, &principal, id, &first, now).await;
    assert_eq!(again, Err(Refused::Replayed), "the same key and request, but begun anew");
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
    let house = House::open().await;
    let (id, principal, now) =
        (issued(&house, None, None).await, principal(&house), house.clock.now());
    let old = format!(
        "INSERT INTO bff.mfa_attestation_uses (tenant_id, attestation_id, used_by, used_at)
         VALUES ('{}', '{id}', 'the-same', now())",
        house.tenant
    );
    house.database.run(&old).await;
    for resumes in [false, true] {
        let again = Use { resumes, ..refund("the-same") };
        let outcome = used(&house.gateway.database, &principal, id, &again, now).await;
        assert_eq!(outcome, Err(Refused::Replayed));
    }
}

#[tokio::test]
async fn its_five_minutes_end() {
    let house = House::open().await;
    let (id, principal) = (issued(&house, None, None).await, principal(&house));
    let late = house.clock.now() + ATTESTATION_LIFETIME;
    let database = &house.gateway.database;
    let outcome = used(database, &principal, id, &refund("too-late"), late).await;
    assert_eq!(outcome, Err(Refused::Expired));
    let early = late - SignedDuration::from_secs(5);
    used(database, &principal, id, &refund("in-time"), early).await.unwrap();
}

#[tokio::test]
async fn it_permits_nothing_to_another_and_nothing_else() {
    let house = House::open().await;
    let (own, now) = (principal(&house), house.clock.now());
    let id = issued(&house, Some(FOLIO), Some(BODY)).await;
    let database = &house.gateway.database;
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
async fn a_second_use_that_got_through_is_seen_in_the_rows() {
    let house = House::open().await;
    let (id, principal, now) =
        (issued(&house, None, None).await, principal(&house), house.clock.now());
    let constraint = "ALTER TABLE bff.mfa_attestation_uses
                      DROP CONSTRAINT an_attestation_is_used_once";
    house.database.run(constraint).await;
    let database = &house.gateway.database;
    used(database, &principal, id, &refund("the-first"), now).await.unwrap();
    let since = now - SignedDuration::from_mins(1);
    assert_eq!(used_twice(database, since).await.unwrap(), 0);
    used(database, &principal, id, &refund("the-second"), now).await.unwrap();
    assert_eq!(used_twice(database, since).await.unwrap(), 1);
}

const ROUTE: &str = "/refunds-of-a-test";

/// A route that asks for one, behind the real edge.
async fn ask(house: &House, attestations: &[&str]) -> Answer {
    let observer = Observer {
        metrics: request_metrics!("test"),
        clock: house.clock.clone(),
        entropy: Entropy::system(),
    };
    let route = post(|given: Presented<FolioRefund>| async move { given.id.to_string() });
    let edge = from_fn_with_state(house.gateway.clone(), bff::edge::authenticate);
    let app = observed(Router::new().route(ROUTE, route).layer(edge), observer);
    let token = house.token(|_| {});
    let proof = house.proof(ROUTE, &token, |claims| {
        claims["htm"] = json!("POST");
        claims["htu"] = json!(format!("{BASE}{ROUTE}"));
    });
    let request = house.with(ROUTE, &format!("DPoP {token}"), &proof).method("POST");
    let request =
        attestations.iter().fold(request, |request, id| request.header("x-mfa-attestation", *id));
    answer(app.oneshot(request.body(Body::empty()).unwrap()).await.unwrap()).await
}

#[tokio::test]
async fn a_route_that_needs_one_asks_for_a_fresh_factor() {
    let house = House::open().await;
    let absent = ask(&house, &[]).await;
    absent.is_problem(401, "MELMASTOON.BFF.MFA_REQUIRED");
    assert!(absent.body["detail"].as_str().unwrap().contains("folio.refund"));
    let good = "mfa_01K0000000000000000000000A";
    for wrong in [&[good, good][..], &[""], &["mfa_1"], &["bos_01K0000000000000000000000A"]] {
        ask(&house, wrong).await.is_problem(401, "MELMASTOON.BFF.MFA_INVALID_OR_USED");
    }
    let challenge = absent.headers["www-authenticate"].to_str().unwrap();
    for member in
        ["DPoP ", r#"error="insufficient_user_authentication""#, r#"max_age="300""#, "algs="]
    {
        assert!(challenge.contains(member), "{challenge}");
    }
    assert_eq!(ask(&house, &[good]).await.status, 200);
}
