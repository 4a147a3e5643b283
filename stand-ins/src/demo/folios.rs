//! Folios of the guests in house: charges and payments.

use contracts::id::{FolioId, PropertyId, RequestId, ReservationId, TenantId};
use contracts::money::{Currency, Money};
use contracts::upstream::billing::{FolioCharge, FolioPayment, PaymentMethod};
use jiff::Timestamp;
use jiff::civil::Date;
use serde::Serialize;

use super::properties::Property;
use super::reservations::Reservation;
use super::seed::{self, chance, days_between, pick, plus_days};

/// The account of one stay.
#[derive(Debug, Clone, Serialize)]
pub struct Folio {
    pub id: FolioId,
    pub tenant_id: TenantId,
    pub property_id: PropertyId,
    pub reservation_id: ReservationId,
    pub guest_name: String,
    /// When the balance is due.
    pub due_on: Date,
    pub currency: Currency,
    /// The nights so far, tonight included.
    pub charges: Vec<FolioCharge>,
    pub payments: Vec<FolioPayment>,
    pub opened_at: Timestamp,
}

impl Folio {
    pub fn charged(&self) -> Money {
        self.sum(self.charges.iter().map(|charge| &charge.amount))
    }

    pub fn paid(&self) -> Money {
        self.sum(self.payments.iter().map(|payment| &payment.amount))
    }

    /// The sum of amounts in the folio's currency.
    pub fn sum<'a>(&self, amounts: impl Iterator<Item = &'a Money>) -> Money {
        let amount_micro = amounts.map(|money| money.amount_micro).sum();
        Money { amount_micro, currency: self.currency }
    }
}

/// The folio of a stay; `None` unless the guest is in house.
pub fn of_stay(property: &Property, stay: &Reservation, now: Timestamp) -> Option<Folio> {
    if !stay.is_in_house() {
        return None;
    }
    let nights = days_between(stay.check_in, stay.check_out);
    let spent = (days_between(stay.check_in, property.today(now)) + 1).clamp(1, nights);
    let opened_at = stay.arrives_at.min(now);
    // Cumulative, so that the nights add up to the total despite rounding.
    let up_to = |night: i64| stay.total.amount_micro / 1_000_000 * night / nights;
    let charge = |night: i64| FolioCharge {
        charge_id: own_id("chg", stay, night),
        date: plus_days(stay.check_in, night).into(),
        description: "Room, one night".to_owned(),
        amount: property.money(up_to(night + 1) - up_to(night)),
    };
    // Some guests pay everything on arrival, the others the first night.
    let paid = if chance(&format!("prepaid/{}", stay.id), 40) { nights } else { 1 };
    let payment = FolioPayment {
        payment_id: own_id("fpm", stay, 0),
        method: method(stay),
        amount: property.money(up_to(paid)),
        paid_at: opened_at.into(),
    };
    Some(Folio {
        id: seed::id(stay.check_in, &format!("folio/{}", stay.id)),
        tenant_id: stay.tenant_id,
        property_id: stay.property_id,
        reservation_id: stay.id,
        guest_name: stay.guest_name.clone(),
        due_on: stay.check_out,
        currency: property.currency(),
        charges: (0..spent).map(charge).collect(),
        payments: vec![payment],
        opened_at,
    })
}

fn method(stay: &Reservation) -> PaymentMethod {
    use PaymentMethod::{BankTransfer, Card, Cash};
    *pick(&format!("pays/{}", stay.id), &[&Cash, &Cash, &Card, &BankTransfer])
}

/// An id of a kind that only billing uses and that has no type.
fn own_id(prefix: &str, stay: &Reservation, turn: i64) -> String {
    let id: RequestId = seed::id(stay.check_in, &format!("{prefix}/{}/{turn}", stay.id));
    id.as_str().replacen("req", prefix, 1)
}
