//! Idempotent mutations: check-ins and refunds.

use contracts::upstream::Upstream::{Billing, Reservation};
use contracts::upstream::billing::Refund;
use contracts::upstream::reservation::{CheckedIn, ReservationState, Stays};
use jiff::SignedDuration;
use serde_json::{Value, json};
use stand_ins::demo;

use crate::platform::{self, TestPlatform};

const IDEMPOTENCY_KEY: &str = "a-key-of-a-desktop-0001";
const OTHER_KEY: &str = "a-key-of-a-desktop-0002";

async fn code(response: reqwest::Response) -> (u16, String) {
    let status = response.status().as_u16();
    let problem: Value = response.json().await.unwrap();
    (status, problem["code"].as_str().unwrap_or_default().to_owned())
}

/// Confirmed reservations of today at Kabul, with or without a room.
fn arriving(platform: &TestPlatform, with_room: bool) -> demo::Reservation {
    let kabul = &platform.demo.properties[0];
    let today = kabul.today(platform.now());
    let mut stays = platform.demo.stays_of(kabul.id);
    let found = stays.find(|stay| {
        stay.state == ReservationState::Confirmed
            && stay.check_in == today
            && stay.room_id.is_some() == with_room
    });
    found.unwrap().clone()
}

fn path(stay: &demo::Reservation) -> String {
    format!("/api/v1/reservations/{}/check-in", stay.id)
}

async fn effects(platform: &TestPlatform, of: contracts::upstream::Upstream) -> Vec<Value> {
    let mut effects = platform.listed("effects", of).await;
    for effect in &mut effects {
        effect.as_object_mut().unwrap().remove("at");
    }
    effects
}

#[tokio::test]
async fn a_check_in_puts_the_guest_in_house_once() {
    let platform = platform::start_in_the_morning().await;
    let operator = platform.operator("frontdesk", "kabul");
    let stay = arriving(&platform, true);
    let path = path(&stay);
    let first = platform.mutate(Reservation, &path, operator, IDEMPOTENCY_KEY, &json!({})).await;
    assert_eq!(first.status(), 200);
    let first: CheckedIn = first.json().await.unwrap();
    assert_eq!((first.state, Some(first.room_id)), (ReservationState::InHouse, stay.room_id));
    platform.pass(SignedDuration::from_secs(30));
    let again = platform.mutate(Reservation, &path, operator, IDEMPOTENCY_KEY, &json!({})).await;
    assert_eq!(again.headers()["idempotency-replayed"], "true");
    assert_eq!(again.json::<CheckedIn>().await.unwrap(), first);
    assert_eq!(
        effects(&platform, Reservation).await,
        [json!({
            "upstream": "reservation", "tenantId": stay.tenant_id, "action": "reservation.checked_in",
            "subject": stay.id, "idempotencyKey": IDEMPOTENCY_KEY,
        })]
    );
    let list = format!("/api/v1/reservations/arrivals?propertyId={}", stay.property_id);
    let arrivals: Stays = platform.get(Reservation, &list, operator).await.json().await.unwrap();
    let shown = arrivals.items.iter().find(|item| item.reservation_id == stay.id).unwrap();
    assert_eq!(shown.state, ReservationState::InHouse);
    let twice = platform.mutate(Reservation, &path, operator, OTHER_KEY, &json!({})).await;
    assert_eq!(code(twice).await, (409, "MELMASTOON.RESERVATION.NOT_ARRIVING".to_owned()));
}

#[tokio::test]
async fn a_check_in_without_a_room_requires_one() {
    let platform = platform::start_in_the_morning().await;
    let operator = platform.operator("frontdesk", "kabul");
    let stay = arriving(&platform, false);
    let path = path(&stay);
    let required = (422, "MELMASTOON.RESERVATION.ROOM_REQUIRED".to_owned());
    let elsewhere = platform.demo.rooms.iter().find(|room| room.property_id != stay.property_id);
    let closed = platform.demo.rooms_of(stay.property_id).find(|room| room.closed.is_some());
    for body in
        [json!({}), json!({"roomId": elsewhere.unwrap().id}), json!({"roomId": closed.unwrap().id})]
    {
        let response = platform.mutate(Reservation, &path, operator, IDEMPOTENCY_KEY, &body).await;
        assert_eq!(code(response).await, required, "{body}");
    }
    let room = platform.demo.rooms_of(stay.property_id).find(|room| room.closed.is_none()).unwrap();
    let body = json!({"roomId": room.id});
    // Refused requests had no effect, so they did not use up the key.
    let response = platform.mutate(Reservation, &path, operator, IDEMPOTENCY_KEY, &body).await;
    assert_eq!(response.json::<CheckedIn>().await.unwrap().room_id, room.id);
}

#[tokio::test]
async fn another_tenants_reservation_does_not_exist_and_one_out_of_scope_is_forbidden() {
    let platform = platform::start_in_the_morning().await;
    let stay = arriving(&platform, true);
    for (slug, status) in [("shiraz", 404), ("dushanbe", 403)] {
        let who = platform.operator("frontdesk", slug);
        let response =
            platform.mutate(Reservation, &path(&stay), who, IDEMPOTENCY_KEY, &json!({})).await;
        assert_eq!(response.status(), status, "{slug}");
    }
    assert!(effects(&platform, Reservation).await.is_empty());
}

#[tokio::test]
async fn a_mutation_needs_a_valid_key_and_body() {
    let platform = platform::start_in_the_morning().await;
    let operator = platform.operator("frontdesk", "kabul");
    let path = path(&arriving(&platform, true));
    let token = platform.request_token(Reservation, operator);
    let post = platform.post(Reservation, &path).header("authorization", token).json(&json!({}));
    let (status, _) = code(post.send().await.unwrap()).await;
    assert_eq!(status, 400, "without a key");
    for key in ["short", "with a space in it", &"k".repeat(129)] {
        let response = platform.mutate(Reservation, &path, operator, key, &json!({})).await;
        assert_eq!(response.status(), 400, "{key}");
    }
    for body in [json!({"roomId": "207"}), json!({"room": "207"}), json!("207")] {
        let response = platform.mutate(Reservation, &path, operator, IDEMPOTENCY_KEY, &body).await;
        assert_eq!(response.status(), 400, "{body}");
    }
}

/// A folio at Kabul as the control listener shows it, and the route of its refunds.
async fn folio(platform: &TestPlatform) -> (Value, String) {
    let kabul = platform.demo.properties[0].id;
    let url = format!("http://{}/demo/folios?propertyId={kabul}", platform.running.control);
    let body: Value = platform.http.get(url).send().await.unwrap().json().await.unwrap();
    let folio = body["items"][0].clone();
    let path = format!("/api/v1/folios/{}/refunds", folio["folioId"].as_str().unwrap());
    (folio, path)
}

fn micro(money: &Value) -> i64 {
    money["amountMicro"].as_str().unwrap().parse().unwrap()
}

fn refund_of(amount: i64, currency: &str) -> Value {
    json!({"amount": {"amountMicro": amount.to_string(), "currency": currency}, "reason": "No hot water."})
}

#[tokio::test]
async fn a_refund_is_paid_once_and_another_body_under_its_key_is_refused() {
    let platform = platform::start().await;
    let operator = platform.operator("gm", "kabul");
    let (before, path) = folio(&platform).await;
    let body = refund_of(50_000_000, "AFN");
    let first = platform.mutate(Billing, &path, operator, IDEMPOTENCY_KEY, &body).await;
    assert_eq!(first.status(), 201);
    let first: Refund = first.json().await.unwrap();
    assert!(first.refund_id.starts_with("rfd_") && first.refund_id.len() == 30, "{first:?}");
    let again = platform.mutate(Billing, &path, operator, IDEMPOTENCY_KEY, &body).await;
    assert_eq!((again.status().as_u16(), again.json::<Refund>().await.unwrap()), (201, first));
    let other = platform
        .mutate(Billing, &path, operator, IDEMPOTENCY_KEY, &refund_of(60_000_000, "AFN"))
        .await;
    let reused = "MELMASTOON.GENERAL.IDEMPOTENCY_KEY_REUSED".to_owned();
    assert_eq!(code(other).await, (422, reused));
    assert_eq!(effects(&platform, Billing).await.len(), 1);
    let (after, _) = folio(&platform).await;
    assert_eq!(micro(&after["refunded"]), 50_000_000);
    assert_eq!(micro(&after["balance"]), micro(&before["balance"]) + 50_000_000);
}

#[tokio::test]
async fn of_the_same_refund_many_times_at_once_one_happens() {
    let platform = platform::start().await;
    let operator = platform.operator("gm", "kabul");
    let (_, path) = folio(&platform).await;
    let body = refund_of(1_000_000, "AFN");
    let all = (0..8).map(|_| platform.mutate(Billing, &path, operator, IDEMPOTENCY_KEY, &body));
    let all = futures_util::future::join_all(all).await;
    assert!(all.iter().all(|response| response.status() == 201));
    assert_eq!(effects(&platform, Billing).await.len(), 1);
}

#[tokio::test]
async fn a_refund_whose_answer_was_lost_is_not_paid_again() {
    let platform = platform::start().await;
    let operator = platform.operator("gm", "kabul");
    let (_, path) = folio(&platform).await;
    let body = refund_of(1_000_000, "AFN");
    platform.fail(json!({"upstream": "billing", "kind": "lost_answer", "times": 1})).await;
    let token = platform.request_token(Billing, operator);
    let lost = platform.post(Billing, &path).header("authorization", token);
    let lost = lost.header("idempotency-key", IDEMPOTENCY_KEY).json(&body).send().await;
    assert!(lost.is_err(), "the response arrived");
    let repeated = platform.mutate(Billing, &path, operator, IDEMPOTENCY_KEY, &body).await;
    assert_eq!((repeated.status().as_u16(), effects(&platform, Billing).await.len()), (201, 1));
}

#[tokio::test]
async fn a_refund_cannot_exceed_the_payments() {
    let platform = platform::start().await;
    let operator = platform.operator("gm", "kabul");
    let (folio, path) = folio(&platform).await;
    let paid = micro(&folio["paid"]);
    for (body, code_of) in [
        (refund_of(paid + 1, "AFN"), "REFUND_EXCEEDS_PAID"),
        (refund_of(i64::MAX, "AFN"), "REFUND_EXCEEDS_PAID"),
        (refund_of(0, "AFN"), "REFUND_INVALID"),
        (refund_of(-1, "AFN"), "REFUND_INVALID"),
        (refund_of(1, "TJS"), "REFUND_INVALID"),
    ] {
        let response = platform.mutate(Billing, &path, operator, IDEMPOTENCY_KEY, &body).await;
        assert_eq!(code(response).await, (422, format!("MELMASTOON.BILLING.{code_of}")), "{body}");
    }
    assert_eq!(
        platform
            .mutate(Billing, &path, operator, IDEMPOTENCY_KEY, &refund_of(paid, "AFN"))
            .await
            .status(),
        201
    );
    let more = platform.mutate(Billing, &path, operator, OTHER_KEY, &refund_of(1, "AFN")).await;
    assert_eq!(more.status(), 422);
    let stranger = platform.operator("gm", "shiraz");
    let hidden = platform.mutate(Billing, &path, stranger, OTHER_KEY, &refund_of(1, "AFN")).await;
    assert_eq!(hidden.status(), 404);
}

#[tokio::test]
async fn the_folios_of_a_property_are_listed() {
    let platform = platform::start().await;
    let operator = platform.operator("frontdesk", "kabul");
    let kabul = platform.demo.properties[0].id;
    let path = format!("/api/v1/folios?propertyId={kabul}");
    let list: Value = platform.get(Billing, &path, operator).await.json().await.unwrap();
    let in_house = platform.demo.stays_of(kabul).filter(|stay| stay.is_in_house()).count();
    assert_eq!(list["items"].as_array().unwrap().len(), in_house);
    let stranger = platform.operator("frontdesk", "shiraz");
    assert_eq!(platform.get(Billing, &path, stranger).await.status(), 404);
}
