//! The ledger of lock actions: one chain per tenant, whole whatever happens at once, and told page
//! by page to those who may see it.

use bff::locks::verify_chain::{Broken, Verdict, What, verify};
use contracts::id::{PropertyId, TenantId};
use futures_util::future::join_all;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde_json::Value;

use crate::desk::{BASE, Desk};
use crate::house::{Answer, fresh};
use crate::locks::{Act, open, rows};
use crate::platform::Command;

async fn verdict(desk: &Desk) -> Verdict {
    verify(&desk.house.gateway.database, desk.house.tenant).await.unwrap()
}

/// As the owner of the table could, past its trigger.
async fn tamper(desk: &Desk, sql: &str) {
    let quiet = "SET session_replication_role = replica";
    desk.house.database.run(&format!("{quiet}; {sql}")).await;
}

async fn acted(count: usize) -> Desk {
    let desk = open().await;
    for _ in 0..count {
        assert_eq!(Act::issue().send(&desk).await.status, 201);
    }
    desk
}

#[tokio::test]
async fn fifty_actions_at_once_make_one_chain_without_a_hole_and_none_is_sent_unwritten() {
    let desk = open().await;
    desk.warm_up().await;
    let acts: Vec<_> = std::iter::repeat_with(Act::issue).take(50).collect();
    let answers = join_all(acts.iter().map(|act| act.send(&desk))).await;
    assert!(answers.iter().any(|answer| answer.status == 201), "{}", answers[0].body);
    // On a busy machine some wait too long for a connection, and are told so.
    for answer in answers.iter().filter(|answer| answer.status != 201) {
        assert!(answer.status.is_server_error(), "{}", answer.body);
    }
    let (found, written) = (verdict(&desk).await, rows(&desk, "idempotency_key").await);
    assert_eq!((found.broken, found.whole), (None, written.len() as i64));
    for seen in desk.platform.seen() {
        assert!(written.contains(&seen.key.unwrap()));
    }
}

#[tokio::test]
async fn a_row_that_was_altered_or_taken_away_is_named() {
    for (sql, sequence, what) in [
        (
            "UPDATE bff.lock_action_proxy_audit SET lock_id = 'lck_x' WHERE sequence = 3",
            3,
            What::Altered,
        ),
        (
            "UPDATE bff.lock_action_proxy_audit SET occurred_at = occurred_at + interval '1 ms' WHERE sequence = 2",
            2,
            What::Altered,
        ),
        (
            "UPDATE bff.lock_action_proxy_audit SET detail = '{}' WHERE sequence = 6",
            6,
            What::Altered,
        ),
        (
            "UPDATE bff.lock_action_proxy_audit SET prev_hash = hash WHERE sequence = 4",
            4,
            What::Altered,
        ),
        ("DELETE FROM bff.lock_action_proxy_audit WHERE sequence = 1", 1, What::Missing),
        ("DELETE FROM bff.lock_action_proxy_audit WHERE sequence = 4", 4, What::Missing),
        ("DELETE FROM bff.lock_action_proxy_audit WHERE sequence > 4", 5, What::Missing),
        ("DELETE FROM bff.lock_action_proxy_audit", 1, What::Missing),
        ("UPDATE bff.lock_audit_heads SET sequence = 5", 6, What::Added),
        (
            "UPDATE bff.lock_audit_heads SET hash = decode(repeat('00', 32), 'hex')",
            6,
            What::Altered,
        ),
    ] {
        let desk = acted(3).await;
        assert_eq!(verdict(&desk).await.broken, None);
        tamper(&desk, sql).await;
        let found = verdict(&desk).await;
        assert_eq!(found.broken, Some(Broken { sequence, what }), "{sql}");
        assert_eq!(found.whole, sequence - 1);
    }
}

#[tokio::test]
async fn the_gateway_itself_cannot_change_a_row() {
    let desk = acted(1).await;
    let mut connection = desk.house.gateway.database.connection().await.unwrap();
    let transaction =
        service_kit::postgres::write(&mut connection, desk.house.tenant).await.unwrap();
    let change = "UPDATE bff.lock_action_proxy_audit SET lock_id = 'x'";
    assert!(transaction.batch_execute(change).await.is_err());
}

#[tokio::test]
async fn each_tenant_has_a_chain_of_its_own() {
    let desk = acted(1).await;
    let other: TenantId = fresh();
    let theirs = verify(&desk.house.gateway.database, other).await.unwrap();
    assert_eq!((theirs.whole, theirs.broken), (0, None));
}

async fn list(desk: &Desk, query: &str) -> Answer {
    let path = format!("{BASE}/locks/audit?propertyId={}{query}", desk.house.property);
    ask(desk, &path, "front_desk.manager").await
}

async fn ask(desk: &Desk, path: &str, role: &str) -> Answer {
    let token = desk.house.token(|claims| claims.roles = vec![role.to_owned()]);
    let proof = desk.house.proof(path.split('?').next().unwrap(), &token, |_| {});
    desk.house.send(desk.house.with(path, &format!("DPoP {token}"), &proof)).await
}

fn sequences(answer: &Answer) -> Vec<i64> {
    let items = answer.body["items"].as_array().unwrap();
    items.iter().map(|row| row["sequence"].as_i64().unwrap()).collect()
}

#[tokio::test]
async fn the_ledger_is_told_page_by_page_newest_first() {
    let desk = acted(3).await;
    let all = list(&desk, "").await;
    assert_eq!((all.status.as_u16(), sequences(&all)), (200, vec![6, 5, 4, 3, 2, 1]));
    assert_eq!(all.body["nextCursor"], Value::Null);
    let row = &all.body["items"][0];
    assert_eq!((&row["action"], &row["phase"]), (&"issue_key".into(), &"success".into()));
    assert_eq!(row["hash"].as_str().unwrap().len(), 64);
    assert_eq!(row["operatorId"], desk.house.operator.as_str());
    let (mut told, mut query) = (Vec::new(), "&limit=4".to_owned());
    loop {
        let page = list(&desk, &query).await;
        told.extend(sequences(&page));
        let Some(cursor) = page.body["nextCursor"].as_str() else { break };
        query = format!("&limit=4&cursor={cursor}");
    }
    assert_eq!(told, [6, 5, 4, 3, 2, 1]);
    assert_eq!(sequences(&list(&desk, "&to=2020-01-01").await), [0; 0]);
    assert_eq!(sequences(&list(&desk, "&from=2020-01-01T00:00:00Z&limit=1").await), [6]);
}

#[tokio::test]
async fn the_ledger_is_told_to_managers_of_the_property_alone() {
    let desk = acted(1).await;
    let path = format!("{BASE}/locks/audit?propertyId={}", desk.house.property);
    ask(&desk, &path, "front_desk").await.is_problem(403, "MELMASTOON.BFF.ROLE_FORBIDDEN");
    let elsewhere = format!("{BASE}/locks/audit?propertyId={}", fresh::<PropertyId>());
    let answer = ask(&desk, &elsewhere, "property.gm").await;
    answer.is_problem(403, "MELMASTOON.BFF.PROPERTY_OUT_OF_SCOPE");
    for query in ["&from=yesterday", "&to=x", "&cursor=x", "&limit=0", "&limit=201"] {
        let answer = list(&desk, query).await;
        answer.is_problem(400, "MELMASTOON.GENERAL.VALIDATION_FAILED");
    }
}

/// A desk in Shiraz at 01:03: in UTC it is still yesterday, 21:33.
async fn at_night_in_shiraz() -> (Desk, Date) {
    let desk = open().await;
    let now = desk.house.gateway.env.now().to_zoned(TimeZone::get("Asia/Tehran").unwrap());
    let night = now.date().tomorrow().unwrap().at(1, 3, 0, 0);
    let night = night.to_zoned(now.time_zone().clone()).unwrap();
    desk.pass(night.timestamp().as_second() - now.timestamp().as_second());
    assert_eq!(Act::issue().send(&desk).await.status, 201);
    (desk, night.date())
}

#[tokio::test]
async fn a_key_is_found_on_the_day_of_the_property_and_on_no_other() {
    let (desk, today) = at_night_in_shiraz().await;
    let (yesterday, tomorrow) = (today.yesterday().unwrap(), today.tomorrow().unwrap());
    for query in [
        format!("&from={today}"),
        format!("&from={today}&to={today}"),
        format!("&from={today}&to={tomorrow}"),
        format!("&to={tomorrow}"),
    ] {
        assert_eq!(sequences(&list(&desk, &query).await), [2, 1], "{query}");
    }
    for query in [
        format!("&from={tomorrow}"),
        format!("&to={today}"),
        format!("&from={yesterday}&to={yesterday}"),
        format!("&from={yesterday}&to={today}"),
    ] {
        assert_eq!(sequences(&list(&desk, &query).await), [0; 0], "{query}");
    }
    let cards = desk.platform.seen();
    let cards = cards.iter().filter(|seen| seen.target.contains("/properties/"));
    assert_eq!(cards.count(), 1, "the zone is known after the first question");
}

#[tokio::test]
async fn without_the_propertys_card_a_key_is_still_found_on_its_day() {
    let (desk, today) = at_night_in_shiraz().await;
    for _ in 0..4 {
        desk.platform.command(Command::Fail(500));
    }
    let found = list(&desk, &format!("&from={today}&to={today}")).await;
    assert_eq!((found.status.as_u16(), sequences(&found)), (200, vec![2, 1]));
}
