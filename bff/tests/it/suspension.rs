//! A tenant that is suspended: refused with 503 on every instance, whichever way it was told.

use std::time::Duration;

use contracts::clock::wire_time;
use contracts::id::{EventId, RequestId};
use http_body_util::BodyExt;
use jiff::SignedDuration;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::house::{House, fresh, push_form, session_url};
use crate::tenant::{Mood, Tenant};

const SESSION: &str = "/api/bff/backoffice/v1/session";
const EVENTS: &str = "/internal/events";
const SUSPENDED: &str = "melmastoon.tenant.tenant.suspended.v1";
const REACTIVATED: &str = "melmastoon.tenant.tenant.reactivated.v1";
const CODE: &str = "MELMASTOON.TENANT.SUSPENDED";

/// A tenant's event, of so many seconds ago.
fn event(house: &House, kind: &str, id: EventId, ago: i64) -> Value {
    let time = house.clock.now() - SignedDuration::from_secs(ago);
    push_form(&json!({
        "specversion": "1.0", "id": id, "source": "/services/tenant-service",
        "type": kind, "subject": house.tenant, "time": wire_time(time),
        "datacontenttype": "application/json", "tenantid": house.tenant,
        "orderingkey": format!("{0}:{0}", house.tenant), "correlationid": "c",
        "actortype": "system", "actorid": "tenant-service", "retentionclass": "audit",
        "data": {"reason": "unpaid"},
    }))
}

async fn tell(house: &House, event: &Value) {
    let answer = house.order(EVENTS, fresh::<RequestId>().as_str(), event).await;
    assert_eq!(answer.status, 204, "{}", answer.body);
}

async fn status(house: &House) -> u16 {
    house.send(house.request(SESSION)).await.status.as_u16()
}

#[tokio::test]
async fn a_suspended_tenant_s_operators_are_refused_and_come_back_when_it_is_reactivated() {
    let house = House::open().await;
    assert_eq!(status(&house).await, 200);
    tell(&house, &event(&house, SUSPENDED, fresh(), 60)).await;
    let token = house.token(|_| {});
    let proof = house.proof(SESSION, &token, |_| {});
    let request = || house.with(SESSION, &format!("DPoP {token}"), &proof);
    let answer = house.send(request()).await;
    answer.is_problem(503, CODE);
    assert_eq!(answer.headers["retry-after"], "300");
    assert_eq!(answer.body["tenantId"], house.tenant.as_str());
    assert_eq!(status(&House::open().await).await, 200, "another tenant");
    tell(&house, &event(&house, REACTIVATED, fresh(), 30)).await;
    assert_eq!(house.send(request()).await.status, 200, "the refusal burnt no proof");
}

#[tokio::test]
async fn late_and_repeated_events_do_no_harm() {
    let house = House::open().await;
    let id: EventId = fresh();
    for _ in 0..2 {
        tell(&house, &event(&house, SUSPENDED, id, 60)).await;
    }
    tell(&house, &event(&house, REACTIVATED, fresh(), 30)).await;
    assert_eq!(status(&house).await, 200);
    tell(&house, &event(&house, SUSPENDED, fresh(), 45)).await;
    assert_eq!(status(&house).await, 200, "what was said earlier came later");
    let mut wrong = event(&house, SUSPENDED, fresh(), 0);
    wrong["message"]["data"] = json!("AAAA");
    house
        .order(EVENTS, fresh::<RequestId>().as_str(), &wrong)
        .await
        .is_problem(400, "MELMASTOON.GENERAL.VALIDATION_FAILED");
}

#[tokio::test]
async fn another_instance_hears_of_it_and_one_that_starts_later_knows_it() {
    let here = House::open().await;
    let there = here.another();
    there.follow(&session_url());
    let mut stream = there.stream().await;
    tell(&here, &event(&here, SUSPENDED, fresh(), 1)).await;
    let mut told = String::new();
    let read = async {
        while let Some(frame) = stream.frame().await {
            told.push_str(std::str::from_utf8(frame.unwrap().data_ref().unwrap()).unwrap());
        }
    };
    timeout(Duration::from_secs(5), read).await.expect("the stream closes");
    let last = "event: session.force_logout\ndata: {\"reason\":\"tenant_suspended\"}";
    assert!(told.contains(last), "{told}");
    there.send(there.request(SESSION)).await.is_problem(503, CODE);

    let later = here.another();
    let mut changes = later.gateway.standings.changes();
    // Nothing listens there: Postgres is asked.
    later.follow("redis://127.0.0.1:1/");
    timeout(Duration::from_secs(5), changes.changed()).await.expect("it learns in time").unwrap();
    later.send(later.request(SESSION)).await.is_problem(503, CODE);
}

#[tokio::test]
async fn a_profile_says_so_too_and_the_later_statement_holds() {
    let (tenant, house) =
        Tenant::with_house(Mood::Says(json!({"tenantStatus": "suspended"}))).await;
    house.send(house.request(SESSION)).await.is_problem(503, CODE);
    tell(&house, &event(&house, REACTIVATED, fresh(), 60)).await;
    house.send(house.request(SESSION)).await.is_problem(503, CODE);
    tell(&house, &event(&house, REACTIVATED, fresh(), -5)).await;
    assert_eq!(status(&house).await, 200);
    assert_eq!(tenant.asked(), 1);
}
