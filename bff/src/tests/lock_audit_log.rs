//! The lock audit log: one intact chain per tenant under concurrency, listed in pages to permitted
//! operators.

use std::collections::BTreeSet;

use contracts::id::{PropertyId, TenantId};
use futures_util::future::join_all;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde_json::Value;

use crate::locks::verify_chain::{ChainReport, FirstFault, Tampering, verify};
use crate::tests::call::TestCall;
use crate::tests::fake_upstreams::Command;
use crate::tests::fixture::{BASE, Fixture};
use crate::tests::locks::{Act, open, rows};
use crate::tests::test_gateway::{TestResponse, fresh};

async fn report(fixture: &Fixture) -> ChainReport {
    verify(&fixture.gateway.state.database, fixture.gateway.tenant).await.unwrap()
}

/// Executes as the table's owner, without the trigger.
async fn tamper(fixture: &Fixture, sql: &str) {
    let quiet = "SET session_replication_role = replica";
    fixture.gateway.database.run(&format!("{quiet}; {sql}")).await;
}

async fn with_actions(count: usize) -> Fixture {
    let fixture = open().await;
    for _ in 0..count {
        Act::issue().send(&fixture).await.status(201);
    }
    fixture
}

#[tokio::test]
async fn fifty_actions_at_once_make_one_chain_without_a_hole_and_none_is_sent_unwritten() {
    let fixture = open().await;
    fixture.warm_up().await;
    let acts: Vec<_> = std::iter::repeat_with(Act::issue).take(50).collect();
    let responses = join_all(acts.iter().map(|act| act.send(&fixture).into_future())).await;
    for (act, response) in acts.iter().zip(responses) {
        // On a busy machine some time out waiting for a connection. Their repeats do not.
        if response.status != 201 {
            assert!(response.status.is_server_error(), "{}", response.body);
            act.send(&fixture).await.status(201);
        }
    }
    let (found, written) = (report(&fixture).await, rows(&fixture, "idempotency_key").await);
    assert_eq!((found.first_fault, found.intact_rows), (None, written.len() as i64));
    let sent: BTreeSet<_> = fixture.fake.seen().into_iter().map(|seen| seen.key.unwrap()).collect();
    assert_eq!((sent.len(), fixture.fake.effects()), (50, 50));
    assert!(sent.iter().all(|key| written.contains(key)), "{written:?}");
}

#[tokio::test]
async fn an_altered_or_removed_row_is_reported() {
    for (sql, sequence, tampering) in [
        (
            "UPDATE bff.lock_action_proxy_audit SET lock_id = 'lck_x' WHERE sequence = 3",
            3,
            Tampering::Altered,
        ),
        (
            "UPDATE bff.lock_action_proxy_audit SET occurred_at = occurred_at + interval '1 ms' WHERE sequence = 2",
            2,
            Tampering::Altered,
        ),
        (
            "UPDATE bff.lock_action_proxy_audit SET detail = '{}' WHERE sequence = 6",
            6,
            Tampering::Altered,
        ),
        (
            "UPDATE bff.lock_action_proxy_audit SET prev_hash = hash WHERE sequence = 4",
            4,
            Tampering::Altered,
        ),
        ("DELETE FROM bff.lock_action_proxy_audit WHERE sequence = 1", 1, Tampering::Missing),
        ("DELETE FROM bff.lock_action_proxy_audit WHERE sequence = 4", 4, Tampering::Missing),
        ("DELETE FROM bff.lock_action_proxy_audit WHERE sequence > 4", 5, Tampering::Missing),
        ("DELETE FROM bff.lock_action_proxy_audit", 1, Tampering::Missing),
        ("UPDATE bff.lock_audit_heads SET sequence = 5", 6, Tampering::Added),
        (
            "UPDATE bff.lock_audit_heads SET hash = decode(repeat('00', 32), 'hex')",
            6,
            Tampering::Altered,
        ),
    ] {
        let fixture = with_actions(3).await;
        assert_eq!(report(&fixture).await.first_fault, None);
        tamper(&fixture, sql).await;
        let found = report(&fixture).await;
        assert_eq!(found.first_fault, Some(FirstFault { sequence, tampering }), "{sql}");
        assert_eq!(found.intact_rows, sequence - 1);
    }
}

#[tokio::test]
async fn the_gateway_itself_cannot_change_a_row() {
    let fixture = with_actions(1).await;
    let mut connection = fixture.gateway.state.database.connection().await.unwrap();
    let transaction =
        service_kit::postgres::write(&mut connection, fixture.gateway.tenant).await.unwrap();
    let change = "UPDATE bff.lock_action_proxy_audit SET lock_id = 'x'";
    assert!(transaction.batch_execute(change).await.is_err());
}

#[tokio::test]
async fn each_tenant_has_a_chain_of_its_own() {
    let fixture = with_actions(1).await;
    let other: TenantId = fresh();
    let theirs = verify(&fixture.gateway.state.database, other).await.unwrap();
    assert_eq!((theirs.intact_rows, theirs.first_fault), (0, None));
}

fn list<'a>(fixture: &'a Fixture, query: &str) -> TestCall<'a> {
    let path = format!("{BASE}/locks/audit?propertyId={}{query}", fixture.gateway.property);
    fixture.gateway.get(path).role("front_desk.manager")
}

fn sequences(response: &TestResponse) -> Vec<i64> {
    assert_eq!(response.status, 200, "{}", response.body);
    let items = response.body["items"].as_array().unwrap();
    items.iter().map(|row| row["sequence"].as_i64().unwrap()).collect()
}

#[tokio::test]
async fn the_lock_audit_log_is_listed_in_pages_newest_first() {
    let fixture = with_actions(3).await;
    let all = list(&fixture, "").await;
    assert_eq!(sequences(&all), [6, 5, 4, 3, 2, 1]);
    assert_eq!(all.body["nextCursor"], Value::Null);
    let row = &all.body["items"][0];
    assert_eq!((&row["action"], &row["phase"]), (&"issue_key".into(), &"success".into()));
    assert_eq!(row["hash"].as_str().unwrap().len(), 64);
    assert_eq!(row["operatorId"], fixture.gateway.operator.as_str());
    let (mut listed, mut query) = (Vec::new(), "&limit=4".to_owned());
    loop {
        let page = list(&fixture, &query).await;
        listed.extend(sequences(&page));
        let Some(cursor) = page.body["nextCursor"].as_str() else { break };
        query = format!("&limit=4&cursor={cursor}");
    }
    assert_eq!(listed, [6, 5, 4, 3, 2, 1]);
    assert_eq!(sequences(&list(&fixture, "&to=2020-01-01").await), [0; 0]);
    assert_eq!(sequences(&list(&fixture, "&from=2020-01-01T00:00:00Z&limit=1").await), [6]);
}

#[tokio::test]
async fn only_managers_of_the_property_can_list_the_lock_audit_log() {
    let fixture = with_actions(1).await;
    list(&fixture, "").role("front_desk").await.problem(403, "MELMASTOON.BFF.ROLE_FORBIDDEN");
    let elsewhere = format!("{BASE}/locks/audit?propertyId={}", fresh::<PropertyId>());
    let response = fixture.gateway.get(elsewhere).role("property.gm").await;
    response.problem(403, "MELMASTOON.BFF.PROPERTY_OUT_OF_SCOPE");
    for query in ["&from=yesterday", "&to=x", "&cursor=x", "&limit=0", "&limit=201"] {
        list(&fixture, query).await.problem(400, "MELMASTOON.GENERAL.VALIDATION_FAILED");
    }
}

/// A desk in Shiraz at 01:03: in UTC it is still yesterday, 21:33.
async fn at_night_in_shiraz() -> (Fixture, Date) {
    let fixture = open().await;
    let now = fixture.gateway.state.env.now().to_zoned(TimeZone::get("Asia/Tehran").unwrap());
    let night = now.date().tomorrow().unwrap().at(1, 3, 0, 0);
    let night = night.to_zoned(now.time_zone().clone()).unwrap();
    fixture.pass(night.timestamp().as_second() - now.timestamp().as_second());
    Act::issue().send(&fixture).await.status(201);
    (fixture, night.date())
}

#[tokio::test]
async fn a_key_is_found_on_the_day_of_the_property_and_on_no_other() {
    let (fixture, today) = at_night_in_shiraz().await;
    let (yesterday, tomorrow) = (today.yesterday().unwrap(), today.tomorrow().unwrap());
    for query in [
        format!("&from={today}"),
        format!("&from={today}&to={today}"),
        format!("&from={today}&to={tomorrow}"),
        format!("&to={tomorrow}"),
    ] {
        assert_eq!(sequences(&list(&fixture, &query).await), [2, 1], "{query}");
    }
    for query in [
        format!("&from={tomorrow}"),
        format!("&to={today}"),
        format!("&from={yesterday}&to={yesterday}"),
        format!("&from={yesterday}&to={today}"),
    ] {
        assert_eq!(sequences(&list(&fixture, &query).await), [0; 0], "{query}");
    }
    let cards = fixture.fake.seen();
    let cards = cards.iter().filter(|seen| seen.target.contains("/properties/"));
    assert_eq!(cards.count(), 1, "the zone is known after the first question");
}

#[tokio::test]
async fn without_the_propertys_card_a_key_is_still_found_on_its_day() {
    let (fixture, today) = at_night_in_shiraz().await;
    for _ in 0..4 {
        fixture.fake.command(Command::Fail(500));
    }
    let found = list(&fixture, &format!("&from={today}&to={today}")).await;
    assert_eq!(sequences(&found), [2, 1]);
}
