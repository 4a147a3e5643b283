//! Operator profiles from tenant-service, and the effect of its slowness (F-3).

use std::time::Duration;

use contracts::id::{OperatorId, PropertyId};
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use crate::tests::tenant::{Behavior, Hands, Tenant};
use crate::tests::test_gateway::{TestGateway, TestOptions, TestResponse, fresh};

const SESSION: &str = "/api/bff/backoffice/v1/session";

async fn session(gateway: &TestGateway) -> Value {
    gateway.get(SESSION).await.ok()
}

async fn dashboard(gateway: &TestGateway) -> TestResponse {
    let path = format!("/api/bff/backoffice/v1/dashboard?propertyId={}", gateway.property);
    gateway.get(path).await
}

/// Polls until the profile has this freshness.
async fn until(gateway: &TestGateway, freshness: &str) -> Value {
    let requests = async {
        loop {
            let body = session(gateway).await;
            if body["profile"] == freshness {
                return body;
            }
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(15), requests)
        .await
        .expect("the profile is of that freshness in time")
}

#[tokio::test]
async fn a_profile_names_the_session_and_is_fetched_once_in_five_minutes() {
    let (hands, clock) = Hands::new();
    let options = TestOptions { clock, ..TestOptions::usual() };
    let (tenant, gateway) = Tenant::with_options(Behavior::Says(json!({})), options).await;
    let (one, other) = tokio::join!(session(&gateway), session(&gateway));
    assert_eq!(one["sessionId"], other["sessionId"]);
    assert_eq!((&one["displayName"], &one["locale"]), (&json!("Mina"), &json!("fa-AF")));
    assert_eq!((&one["profile"], &one["roles"]), (&json!("fresh"), &json!(["front_desk"])));
    hands.forward(4);
    assert_eq!(session(&gateway).await["profile"], "fresh");
    assert_eq!(tenant.requests(), 1);
}

#[tokio::test]
async fn a_profile_narrows_the_token_and_adds_nothing() {
    let (_, gateway) = Tenant::with_gateway(Behavior::Says(json!({
        "roles": ["tenant.admin", "housekeeping"], "propertyIds": [fresh::<PropertyId>()],
    })))
    .await;
    dashboard(&gateway).await.problem(403, "MELMASTOON.BFF.PROPERTY_OUT_OF_SCOPE");
    gateway.get(SESSION).await.problem(403, "MELMASTOON.BFF.ROLE_FORBIDDEN");

    let (tenant, gateway) = Tenant::with_gateway(Behavior::Says(json!({}))).await;
    let both = gateway.get(SESSION).claims(|claims| {
        claims.roles = vec!["front_desk".into(), "property.gm".into()];
        claims.property_ids.push(fresh::<PropertyId>().to_string());
    });
    let body: Value = both.await.ok();
    assert_eq!(body["roles"], json!(["front_desk"]), "{body}");
    assert_eq!(body["propertyIds"], json!([gateway.property]));
    assert_eq!(tenant.requests(), 1);
}

#[tokio::test]
async fn an_operator_the_tenant_does_not_know_has_no_property_and_no_role() {
    let (_, gateway) = Tenant::with_gateway(Behavior::KnowsNobody).await;
    dashboard(&gateway).await.problem(403, "MELMASTOON.BFF.PROPERTY_OUT_OF_SCOPE");
    gateway.get(SESSION).await.problem(403, "MELMASTOON.BFF.ROLE_FORBIDDEN");
}

#[tokio::test]
async fn a_bare_404_does_not_mean_an_unknown_operator() {
    let (_, gateway) = Tenant::with_gateway(Behavior::Refuses(404)).await;
    let body = session(&gateway).await;
    assert_eq!((&body["profile"], &body["roles"]), (&json!("unavailable"), &json!(["front_desk"])));
}

#[tokio::test]
async fn a_profile_of_another_operator_is_ignored() {
    let (_, gateway) = Tenant::with_gateway(Behavior::Says(
        json!({"operatorId": fresh::<OperatorId>(), "roles": []}),
    ))
    .await;
    let body = session(&gateway).await;
    assert_eq!((&body["profile"], &body["displayName"]), (&json!("unavailable"), &Value::Null));
    assert_eq!(body["roles"], json!(["front_desk"]), "the token's");
}

#[tokio::test]
async fn while_tenant_service_hangs_a_request_waits_briefly_and_uses_its_token() {
    // Waiting too long would slow down every gateway, a busy machine not all of them.
    let mut quickest = Duration::MAX;
    for _ in 0..3 {
        let (tenant, gateway) = Tenant::with_gateway(Behavior::Hangs).await;
        let started = Instant::now();
        let bodies = join_all([session(&gateway), session(&gateway), session(&gateway)]).await;
        quickest = quickest.min(started.elapsed());
        for body in bodies {
            assert_eq!(
                (&body["profile"], &body["roles"]),
                (&json!("unavailable"), &json!(["front_desk"]))
            );
        }
        dashboard(&gateway).await.status(200);
        assert_eq!(tenant.requests(), 1, "one call for all of them");
    }
    assert!(quickest < Duration::from_millis(450), "they waited {quickest:?} for 200 ms");
}

#[tokio::test]
async fn a_slow_response_is_applied_in_the_background() {
    let (tenant, gateway) = Tenant::with_gateway(Behavior::Hangs).await;
    assert_eq!(session(&gateway).await["profile"], "unavailable");
    tenant.set_behavior(Behavior::Says(
        json!({"roles": ["front_desk"], "propertyIds": [gateway.property]}),
    ));
    let body = until(&gateway, "fresh").await;
    assert_eq!(body["displayName"], "Mina");
}

#[tokio::test]
async fn an_old_profile_is_used_without_tenant_service_until_its_ttl() {
    let (hands, clock) = Hands::new();
    let options = TestOptions { clock, ..TestOptions::usual() };
    let (tenant, gateway) = Tenant::with_options(Behavior::Says(json!({})), options).await;
    assert_eq!(session(&gateway).await["profile"], "fresh");
    tenant.set_behavior(Behavior::Refuses(500));
    hands.forward(6);
    // A wait would slow down every request, a busy machine not all of them.
    let mut quickest = Duration::MAX;
    for _ in 0..5 {
        let started = Instant::now();
        let body = session(&gateway).await;
        quickest = quickest.min(started.elapsed());
        assert_eq!((&body["profile"], &body["displayName"]), (&json!("stale"), &json!("Mina")));
    }
    assert!(quickest < Duration::from_millis(150), "a stale profile is not waited for");
    hands.forward(11 * 60);
    assert_eq!(session(&gateway).await["profile"], "stale");
    hands.forward(60);
    let body = session(&gateway).await;
    assert_eq!((&body["profile"], &body["displayName"]), (&json!("unavailable"), &Value::Null));
}

#[tokio::test]
async fn an_old_profile_is_refreshed_and_its_changes_apply() {
    let (hands, clock) = Hands::new();
    let options = TestOptions { clock, ..TestOptions::usual() };
    let (tenant, gateway) = Tenant::with_options(Behavior::Says(json!({})), options).await;
    assert_eq!(session(&gateway).await["roles"], json!(["front_desk"]));
    tenant.set_behavior(Behavior::Says(
        json!({"displayName": "Mina R.", "propertyIds": [gateway.property]}),
    ));
    hands.forward(6);
    assert_eq!(session(&gateway).await["profile"], "stale");
    assert_eq!(until(&gateway, "fresh").await["displayName"], "Mina R.");
    assert_eq!(tenant.requests(), 2);
}
