//! What tenant-service says of an operator, and what its slowness costs (F-3).

use std::time::Duration;

use contracts::id::{OperatorId, PropertyId};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use crate::house::{Answer, House, Plan, fresh};
use crate::tenant::{Hands, Mood, Tenant};

const SESSION: &str = "/api/bff/backoffice/v1/session";

async fn session(house: &House) -> Value {
    let answer = house.send(house.request(SESSION)).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.body
}

async fn dashboard(house: &House, property: PropertyId) -> Answer {
    let path = format!("/api/bff/backoffice/v1/dashboard?propertyId={property}");
    house.send(house.request(&path)).await
}

/// Asks until the profile is of this freshness.
async fn until(house: &House, freshness: &str) -> Value {
    let asked = async {
        loop {
            let body = session(house).await;
            if body["profile"] == freshness {
                return body;
            }
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(15), asked).await.expect("the profile is of that freshness in time")
}

#[tokio::test]
async fn a_profile_gives_the_session_a_name_and_is_asked_for_once_in_five_minutes() {
    let (hands, clock) = Hands::new();
    let plan = Plan { clock, ..Plan::usual() };
    let (tenant, house) = Tenant::with_plan(Mood::Says(json!({})), plan).await;
    let (one, other) = tokio::join!(session(&house), session(&house));
    assert_eq!(one["sessionId"], other["sessionId"]);
    assert_eq!((&one["displayName"], &one["locale"]), (&json!("Mina"), &json!("fa-AF")));
    assert_eq!((&one["profile"], &one["roles"]), (&json!("fresh"), &json!(["front_desk"])));
    hands.forward(4);
    assert_eq!(session(&house).await["profile"], "fresh");
    assert_eq!(tenant.asked(), 1);
}

#[tokio::test]
async fn what_the_tenant_took_away_counts_and_nothing_is_added() {
    let (_, house) = Tenant::with_house(Mood::Says(json!({
        "roles": ["tenant.admin", "housekeeping"], "propertyIds": [fresh::<PropertyId>()],
    })))
    .await;
    dashboard(&house, house.property).await.is_problem(403, "MELMASTOON.BFF.PROPERTY_OUT_OF_SCOPE");
    let answer = house.send(house.request(SESSION)).await;
    answer.is_problem(403, "MELMASTOON.BFF.ROLE_FORBIDDEN");

    let (tenant, house) = Tenant::with_house(Mood::Says(json!({}))).await;
    let both = house.token(|claims| {
        claims.roles = vec!["front_desk".into(), "property.gm".into()];
        claims.property_ids.push(fresh::<PropertyId>().to_string());
    });
    let proof = house.proof(SESSION, &both, |_| {});
    let answer = house.send(house.with(SESSION, &format!("DPoP {both}"), &proof)).await;
    assert_eq!(answer.body["roles"], json!(["front_desk"]), "{}", answer.body);
    assert_eq!(answer.body["propertyIds"], json!([house.property]));
    assert_eq!(tenant.asked(), 1);
}

#[tokio::test]
async fn an_operator_the_tenant_does_not_know_has_no_property_and_no_role() {
    let (_, house) = Tenant::with_house(Mood::KnowsNobody).await;
    dashboard(&house, house.property).await.is_problem(403, "MELMASTOON.BFF.PROPERTY_OUT_OF_SCOPE");
    let answer = house.send(house.request(SESSION)).await;
    answer.is_problem(403, "MELMASTOON.BFF.ROLE_FORBIDDEN");
}

#[tokio::test]
async fn a_bare_404_is_not_tenant_service_s_word() {
    let (_, house) = Tenant::with_house(Mood::Refuses(404)).await;
    let body = session(&house).await;
    assert_eq!((&body["profile"], &body["roles"]), (&json!("unavailable"), &json!(["front_desk"])));
}

#[tokio::test]
async fn an_answer_about_somebody_else_is_not_used() {
    let (_, house) =
        Tenant::with_house(Mood::Says(json!({"operatorId": fresh::<OperatorId>(), "roles": []})))
            .await;
    let body = session(&house).await;
    assert_eq!((&body["profile"], &body["displayName"]), (&json!("unavailable"), &Value::Null));
    assert_eq!(body["roles"], json!(["front_desk"]), "the token's");
}

#[tokio::test]
async fn while_tenant_service_hangs_a_request_waits_shortly_and_goes_by_its_token() {
    let (tenant, house) = Tenant::with_house(Mood::Hangs).await;
    let started = Instant::now();
    let bodies = tokio::join!(session(&house), session(&house), session(&house));
    let took = started.elapsed();
    assert!(took < Duration::from_millis(450), "they waited {took:?} for 200 ms");
    for body in [bodies.0, bodies.1, bodies.2] {
        assert_eq!(
            (&body["profile"], &body["roles"]),
            (&json!("unavailable"), &json!(["front_desk"]))
        );
    }
    assert_eq!(dashboard(&house, house.property).await.status, 200);
    assert_eq!(tenant.asked(), 1, "one call for all of them");
}

#[tokio::test]
async fn a_slow_answer_comes_in_behind_the_request_s_back() {
    let (tenant, house) = Tenant::with_house(Mood::Hangs).await;
    assert_eq!(session(&house).await["profile"], "unavailable");
    tenant.is(Mood::Says(json!({"roles": ["front_desk"], "propertyIds": [house.property]})));
    let body = until(&house, "fresh").await;
    assert_eq!(body["displayName"], "Mina");
}

#[tokio::test]
async fn an_old_profile_holds_while_tenant_service_is_away_but_not_for_ever() {
    let (hands, clock) = Hands::new();
    let plan = Plan { clock, ..Plan::usual() };
    let (tenant, house) = Tenant::with_plan(Mood::Says(json!({})), plan).await;
    assert_eq!(session(&house).await["profile"], "fresh");
    tenant.is(Mood::Refuses(500));
    hands.forward(6);
    let started = Instant::now();
    let body = session(&house).await;
    assert_eq!((&body["profile"], &body["displayName"]), (&json!("stale"), &json!("Mina")));
    assert!(started.elapsed() < Duration::from_millis(150), "a stale profile is not waited for");
    hands.forward(11 * 60);
    assert_eq!(session(&house).await["profile"], "stale");
    hands.forward(60);
    let body = session(&house).await;
    assert_eq!((&body["profile"], &body["displayName"]), (&json!("unavailable"), &Value::Null));
}

#[tokio::test]
async fn an_old_profile_is_read_again_and_its_news_counts() {
    let (hands, clock) = Hands::new();
    let plan = Plan { clock, ..Plan::usual() };
    let (tenant, house) = Tenant::with_plan(Mood::Says(json!({})), plan).await;
    assert_eq!(session(&house).await["roles"], json!(["front_desk"]));
    tenant.is(Mood::Says(json!({"displayName": "Mina R.", "propertyIds": [house.property]})));
    hands.forward(6);
    assert_eq!(session(&house).await["profile"], "stale");
    assert_eq!(until(&house, "fresh").await["displayName"], "Mina R.");
    assert_eq!(tenant.asked(), 2);
}
