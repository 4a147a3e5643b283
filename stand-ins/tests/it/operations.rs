//! Maintenance, billing, suggestions and audit, and how they follow mutations.

use std::collections::BTreeMap;

use contracts::id::ReservationId;
use contracts::money::Money;
use contracts::upstream::Upstream::{Audit, Billing, Maintenance, Reservation};
use contracts::upstream::ai::Suggestions;
use contracts::upstream::audit::AuditEntries;
use contracts::upstream::billing::{Balances, BillingSummary, Folio, FolioBalance, Refund};
use contracts::upstream::maintenance::{MaintenanceBoard, MaintenanceSummary, WorkOrderState};
use contracts::upstream::reservation::{ReservationState, Stays};
use contracts::upstream::sync::SyncCursors;
use jiff::SignedDuration;
use serde_json::{Value, json};
use stand_ins::demo;

use crate::platform::{self, TestPlatform};
use crate::upstreams::{read, routes};

const IDEMPOTENCY_KEY: &str = "a-key-of-a-desktop-0001";

const SUMMARY_ROUTE: usize = 7;
const BOARD_ROUTE: usize = 8;
const BILLING_ROUTE: usize = 9;
const BALANCES_ROUTE: usize = 10;
const SUGGESTIONS_ROUTE: usize = 11;
const CURSORS_ROUTE: usize = 12;
const AUDIT_ROUTE: usize = 13;

fn sum<'a>(amounts: impl Iterator<Item = &'a Money>) -> i64 {
    amounts.map(|money| money.amount_micro).sum()
}

#[tokio::test]
async fn the_board_shows_what_the_summary_counts() {
    let platform = platform::start().await;
    for property in &platform.demo.properties {
        let summary: MaintenanceSummary = read(&platform, property.slug, SUMMARY_ROUTE).await;
        let board: MaintenanceBoard = read(&platform, property.slug, BOARD_ROUTE).await;
        let states: Vec<_> = board.columns.iter().map(|column| column.state).collect();
        assert_eq!(states, WorkOrderState::ALL);
        let counts = board.columns.iter().map(|column| (column.state, column.items.len() as u32));
        assert_eq!(summary.states, counts.collect::<BTreeMap<_, _>>());
        let orders = || board.columns.iter().flat_map(|column| &column.items);
        let pending = || orders().filter(|order| order.state.is_pending());
        assert_eq!(summary.pending_by_severity.values().sum::<u32>(), pending().count() as u32);
        let late = pending().filter(|order| order.due_at < board.as_of).count() as u32;
        assert_eq!(summary.overdue, late);
        let closed: Vec<_> = pending().filter(|order| order.room_out_of_order).collect();
        assert_eq!((summary.rooms_out_of_order.len(), closed.len()), (1, 1));
        assert_eq!(Some(summary.rooms_out_of_order[0].room_id), closed[0].room_id);
        let today = property.today(platform.now());
        assert!(
            orders()
                .filter(|order| !order.state.is_pending())
                .all(|order| { property.today(*order.since) == today })
        );
    }
}

#[tokio::test]
async fn an_unresolved_work_order_becomes_overdue() {
    let platform = platform::start().await;
    let before: MaintenanceSummary = read(&platform, "kabul", SUMMARY_ROUTE).await;
    platform.pass(SignedDuration::from_hours(24 * 7));
    let after: MaintenanceSummary = read(&platform, "kabul", SUMMARY_ROUTE).await;
    let pending: u32 = after.pending_by_severity.values().sum();
    assert!(before.overdue < after.overdue && after.overdue == pending, "{after:?}");
}

/// Every folio of Kabul.
async fn folios(platform: &TestPlatform) -> Vec<Folio> {
    let operator = platform.operator("frontdesk", "kabul");
    let balances: Balances = read(platform, "kabul", BALANCES_ROUTE).await;
    let mut folios = Vec::new();
    for FolioBalance { folio_id, balance, .. } in balances.items {
        let response = platform.get(Billing, &format!("/api/v1/folios/{folio_id}"), operator).await;
        let folio: Folio = response.json().await.unwrap();
        assert_eq!((folio.folio_id, &folio.balance), (folio_id, &balance));
        folios.push(folio);
    }
    folios
}

#[tokio::test]
async fn a_folio_adds_up_and_the_summary_adds_up_the_folios() {
    let platform = platform::start().await;
    let folios = folios(&platform).await;
    for folio in &folios {
        let charged = sum(folio.charges.iter().map(|charge| &charge.amount));
        let paid = sum(folio.payments.iter().map(|payment| &payment.amount));
        assert_eq!((folio.charged.amount_micro, folio.paid.amount_micro), (charged, paid));
        assert_eq!(folio.balance.amount_micro, charged - paid);
        assert!(folio.charges.is_sorted_by_key(|charge| charge.date) && charged > 0);
    }
    let summary: BillingSummary = read(&platform, "kabul", BILLING_ROUTE).await;
    let owing = || folios.iter().filter(|folio| folio.balance.amount_micro > 0);
    assert_eq!(summary.open_folios as usize, folios.len());
    assert_eq!(sum(summary.outstanding.iter()), sum(owing().map(|folio| &folio.balance)));
    let today = platform.demo.properties[0].today(platform.now());
    let leaves = |id: ReservationId| {
        let stay = platform.demo.reservations.iter().find(|stay| stay.id == id).unwrap();
        stay.check_out <= today
    };
    let due = || owing().filter(|folio| leaves(folio.reservation_id));
    assert_eq!(summary.folios_due_today as usize, due().count());
    assert_eq!(sum(summary.due_today.iter()), sum(due().map(|folio| &folio.balance)));
}

#[tokio::test]
async fn a_refund_shows_in_the_folio_the_balance_and_the_audit() {
    let platform = platform::start().await;
    let manager = platform.operator("gm", "kabul");
    let before = folios(&platform).await.remove(0);
    let path = format!("/api/v1/folios/{}/refunds", before.folio_id);
    let amount = json!({"amountMicro": "1000000", "currency": "AFN"});
    let body = json!({"amount": amount, "reason": "No hot water."});
    let refund = platform.mutate(Billing, &path, manager, IDEMPOTENCY_KEY, &body).await;
    let refund: Refund = refund.json().await.unwrap();
    let after = folios(&platform).await.remove(0);
    assert_eq!(after.refunds, [refund]);
    assert_eq!(after.refunded.amount_micro, 1_000_000);
    assert_eq!(after.balance.amount_micro, before.balance.amount_micro + 1_000_000);
    let audit: AuditEntries = read(&platform, "kabul", AUDIT_ROUTE).await;
    assert_eq!(audit.items.len(), 1);
    let entry = &audit.items[0];
    assert_eq!((entry.operator_id, entry.action.as_str()), (manager.id, "folio.refunded"));
    assert_eq!(entry.subject, before.folio_id.as_str());
    let elsewhere: AuditEntries = read(&platform, "dushanbe", AUDIT_ROUTE).await;
    assert_eq!(elsewhere.items, []);
}

#[tokio::test]
async fn another_tenants_folio_does_not_exist_and_anothers_scope_is_forbidden() {
    let platform = platform::start().await;
    let path = format!("/api/v1/folios/{}", platform.demo.folios[0].id);
    let (stranger, colleague) =
        (platform.operator("gm", "shiraz"), platform.operator("gm", "dushanbe"));
    let hidden = platform.get(Billing, &path, stranger).await;
    assert_eq!(hidden.status(), 404);
    let hidden: Value = hidden.json().await.unwrap();
    let made_up = "/api/v1/folios/fol_01K0000000000000000000000A";
    let unknown: Value = platform.get(Billing, made_up, stranger).await.json().await.unwrap();
    assert_eq!(hidden["detail"], unknown["detail"], "the two can be listed apart");
    assert_eq!(platform.get(Billing, &path, colleague).await.status(), 403);
}

/// A confirmed reservation of today at Kabul that has a room.
fn arriving(platform: &TestPlatform) -> demo::Reservation {
    let kabul = &platform.demo.properties[0];
    let today = kabul.today(platform.now());
    let mut stays = platform.demo.stays_of(kabul.id);
    let found = stays.find(|stay| {
        stay.state == ReservationState::Confirmed
            && stay.check_in == today
            && stay.room_id.is_some()
    });
    found.unwrap().clone()
}

#[tokio::test]
async fn a_checked_in_guest_is_in_house_and_has_a_folio() {
    let platform = platform::start_in_the_morning().await;
    let operator = platform.operator("frontdesk", "kabul");
    let stay = arriving(&platform);
    let is_his = |other: ReservationId| other == stay.id;
    let before: Stays = read(&platform, "kabul", 2).await;
    assert!(!before.items.iter().any(|item| is_his(item.reservation_id)));
    let path = format!("/api/v1/reservations/{}/check-in", stay.id);
    let done = platform.mutate(Reservation, &path, operator, IDEMPOTENCY_KEY, &json!({})).await;
    assert_eq!(done.status(), 200);
    let after: Stays = read(&platform, "kabul", 2).await;
    let shown = after.items.iter().find(|item| is_his(item.reservation_id)).unwrap();
    assert_eq!(shown.state, ReservationState::InHouse);
    let folio =
        folios(&platform).await.into_iter().find(|item| is_his(item.reservation_id)).unwrap();
    assert_eq!((folio.charges.len(), folio.payments.len()), (1, 1));
    assert!(*folio.opened_at <= platform.now());
    let audit: AuditEntries = read(&platform, "kabul", AUDIT_ROUTE).await;
    assert_eq!(audit.items[0].action, "reservation.checked_in");
}

#[tokio::test]
async fn the_audit_is_limited_and_newest_first() {
    let platform = platform::start().await;
    let manager = platform.operator("gm", "kabul");
    let folio = folios(&platform).await.remove(0).folio_id;
    let path = format!("/api/v1/folios/{folio}/refunds");
    for turn in 1..=3 {
        let amount = json!({"amountMicro": "1000000", "currency": "AFN"});
        let body = json!({"amount": amount, "reason": "No hot water."});
        let key = format!("a-key-of-a-desktop-000{turn}");
        assert_eq!(platform.mutate(Billing, &path, manager, &key, &body).await.status(), 201);
        platform.pass(SignedDuration::from_secs(60));
    }
    let (_, path) = &routes(platform.demo.properties[0].id.as_str())[AUDIT_ROUTE];
    let response = platform.get(Audit, &format!("{path}&limit=2"), manager).await;
    let two: AuditEntries = response.json().await.unwrap();
    assert_eq!(two.items.len(), 2);
    assert!(two.items[0].at > two.items[1].at);
}

#[tokio::test]
async fn suggestions_are_listed_until_they_expire() {
    let platform = platform::start().await;
    for property in &platform.demo.properties {
        let advice: Suggestions = read(&platform, property.slug, SUGGESTIONS_ROUTE).await;
        assert!(!advice.items.is_empty());
        assert!(advice.items.iter().all(|item| (0.0..=1.0).contains(&item.confidence)));
        assert!(advice.items.iter().all(|item| item.expires_at > advice.as_of));
    }
    platform.pass(SignedDuration::from_hours(49));
    let later: Suggestions = read(&platform, "kabul", SUGGESTIONS_ROUTE).await;
    assert_eq!(later.items, []);
}

#[tokio::test]
async fn the_cursors_of_a_propertys_desktops_move_on() {
    let platform = platform::start().await;
    let before: SyncCursors = read(&platform, "kabul", CURSORS_ROUTE).await;
    let kabul = platform.demo.properties[0].id;
    let here =
        platform.demo.operators.iter().filter(|operator| operator.property_ids.contains(&kabul));
    assert_eq!(before.items.len(), here.count());
    assert!(before.items.iter().all(|item| item.last_pull_at <= before.as_of));
    platform.pass(SignedDuration::from_mins(10));
    let after: SyncCursors = read(&platform, "kabul", CURSORS_ROUTE).await;
    for (before, after) in before.items.iter().zip(&after.items) {
        assert_eq!(before.device_id, after.device_id);
        assert!(before.version < after.version && before.last_pull_at < after.last_pull_at);
    }
}

#[tokio::test]
async fn every_read_can_be_made_to_fail() {
    let platform = platform::start().await;
    let operator = platform.operator("frontdesk", "kabul");
    for (upstream, path) in routes(platform.demo.properties[0].id.as_str()) {
        platform.fail(json!({"upstream": upstream.name(), "kind": "status", "status": 503})).await;
        assert_eq!(platform.get(upstream, &path, operator).await.status(), 503, "{path}");
        platform.heal().await;
        assert_eq!(platform.get(upstream, &path, operator).await.status(), 200, "{path}");
    }
    let drift = json!({"upstream": "maintenance", "kind": "drift"});
    platform.fail(drift).await;
    let (_, board) = &routes(platform.demo.properties[0].id.as_str())[BOARD_ROUTE];
    let drifted = platform.get(Maintenance, board, operator).await;
    assert!(drifted.json::<MaintenanceBoard>().await.is_err());
}
