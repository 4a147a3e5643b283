//! analytics: yesterday's closed business day, computed from the stays of that night.

use contracts::money::Money;
use contracts::upstream::analytics::Kpis;
use contracts::upstream::reservation::ReservationState;
use jiff::civil::Date;
use service_kit::extract::Json;

use super::PropertyRead;
use crate::demo::{DemoData, Property, properties::Closed, rates};

pub(super) async fn kpis(PropertyRead { platform, property, now }: PropertyRead) -> Json<Kpis> {
    let today = property.today(now);
    let night = Night::of(&platform.demo, &property, today.yesterday().unwrap_or(today));
    Json(Kpis {
        property_id: property.id,
        as_of: now.into(),
        business_date: night.date.into(),
        occupancy_percent: night.occupancy_percent(),
        adr: night.revenue_per(night.sold),
        rev_par: night.revenue_per(night.available),
    })
}

/// Sales of one night.
struct Night {
    date: Date,
    /// Rooms sold.
    sold: i64,
    /// Rooms that could be sold.
    available: i64,
    revenue: Money,
}

impl Night {
    fn of(demo: &DemoData, property: &Property, date: Date) -> Self {
        let rooms = demo.rooms_of(property.id);
        let available = rooms.filter(|room| room.closed != Some(Closed::OutOfOrder)).count() as i64;
        let stays = demo.stays_of(property.id).filter(|stay| {
            stay.is_live() && stay.spends(date) && stay.state != ReservationState::Held
        });
        let rates: Vec<_> = stays
            .filter_map(|stay| demo.room_types.iter().find(|kind| kind.id == stay.room_type_id))
            .map(|kind| rates::of_night(property, kind, date).amount_micro)
            .collect();
        let revenue = Money { amount_micro: rates.iter().sum(), currency: property.currency() };
        Self { date, sold: rates.len() as i64, available, revenue }
    }

    /// With one decimal.
    fn occupancy_percent(&self) -> f64 {
        (1000.0 * self.sold as f64 / self.available.max(1) as f64).round() / 10.0
    }

    fn revenue_per(&self, rooms: i64) -> Money {
        let amount_micro = self.revenue.amount_micro / rooms.max(1);
        Money { amount_micro, currency: self.revenue.currency }
    }
}
