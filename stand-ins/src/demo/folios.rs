//! What the guests in the house owe and have paid.

use contracts::id::{FolioId, PropertyId, ReservationId, TenantId};
use contracts::money::Money;
use jiff::Timestamp;
use serde::Serialize;

use super::places::Property;
use super::seed::{self, chance, days_between};
use super::stays::Reservation;

/// The account of one stay.
#[derive(Debug, Clone, Serialize)]
pub struct Folio {
    pub id: FolioId,
    pub tenant_id: TenantId,
    pub property_id: PropertyId,
    pub reservation_id: ReservationId,
    pub guest_name: String,
    /// The nights so far, tonight included.
    pub charged: Money,
    pub paid: Money,
    pub opened_at: Timestamp,
}

/// The folio of a stay whose guest is in the house.
pub(super) fn of_stay(property: &Property, stay: &Reservation, now: Timestamp) -> Option<Folio> {
    if !stay.is_in_house() {
        return None;
    }
    let nights = days_between(stay.check_in, stay.check_out);
    let spent = (days_between(stay.check_in, property.today(now)) + 1).clamp(1, nights);
    // Some pay all of it when they come, the others a first night.
    let paid = if chance(&format!("prepaid/{}", stay.id), 40) { nights } else { 1 };
    let of_nights =
        |count: i64| property.money(stay.total.amount_micro / 1_000_000 * count / nights);
    Some(Folio {
        id: seed::id(stay.check_in, &format!("folio/{}", stay.id)),
        tenant_id: stay.tenant_id,
        property_id: stay.property_id,
        reservation_id: stay.id,
        guest_name: stay.guest_name.clone(),
        charged: of_nights(spent),
        paid: of_nights(paid),
        opened_at: stay.arrives_at,
    })
}
