//! Advice that follows from the house by rule: what sells out, what is to be mended before a guest
//! comes, which room is to be cleaned next. No model has a say in it.

use contracts::id::{PropertyId, SuggestionId, TenantId};
use contracts::upstream::ai::SuggestionKind;
use contracts::upstream::housekeeping::TaskStatus;
use jiff::Timestamp;
use jiff::civil::Date;
use serde::Serialize;

use super::House;
use super::housekeeping::{Priority, Task};
use super::inventory::Night;
use super::maintenance::WorkOrder;
use super::places::Property;
use super::seed::{self, days_between, plus_days, plus_minutes};
use super::stays::Reservation;

/// Nights ahead that are looked at for rates.
const NIGHTS: i64 = 7;
/// A night is scarce from this share of its rooms on.
const SCARCE: f64 = 0.85;

#[derive(Debug, Clone, Serialize)]
pub struct Suggestion {
    pub id: SuggestionId,
    pub tenant_id: TenantId,
    pub property_id: PropertyId,
    pub advice: Advice,
}

#[derive(Debug, Clone, Serialize)]
pub struct Advice {
    pub kind: SuggestionKind,
    pub title: String,
    pub rationale: String,
    /// 0 to 1
    pub confidence: f64,
    pub expires_at: Timestamp,
}

/// The advice for one property, the surest first.
pub(super) fn build(house: &House, property: &Property) -> Vec<Suggestion> {
    let desk = Adviser { house, property, today: property.today(house.now) };
    let nights = house.nights.iter().filter(|night| night.property_id == property.id);
    let orders = house.work_orders.iter().filter(|order| order.property_id == property.id);
    let tasks = house.tasks.iter().filter(|task| task.property_id == property.id);
    let mut all: Vec<_> = nights.filter_map(|night| desk.rate(night)).collect();
    all.extend(orders.filter_map(|order| desk.mend(order)));
    all.extend(desk.clean(tasks));
    all.retain(|suggestion| suggestion.advice.expires_at > house.now);
    all.sort_by(|a, b| b.advice.confidence.total_cmp(&a.advice.confidence).then(a.id.cmp(&b.id)));
    all
}

struct Adviser<'a> {
    house: &'a House,
    property: &'a Property,
    today: Date,
}

impl Adviser<'_> {
    fn rate(&self, night: &Night) -> Option<Suggestion> {
        let ahead = days_between(self.today, night.date);
        let (sold, rooms) = (night.held + night.committed, night.total - night.oos_blocked);
        let share = f64::from(sold) / f64::from(rooms.max(1));
        if !(1..=NIGHTS).contains(&ahead) || share < SCARCE {
            return None;
        }
        let mut types = self.house.room_types.iter();
        let kind = types.find(|kind| kind.id == night.room_type_id)?;
        let midnight = plus_days(self.today, 1).at(0, 0, 0, 0);
        let advice = Advice {
            kind: SuggestionKind::RateChange,
            title: format!("Raise {} by 8 percent for {}", kind.name, night.date),
            rationale: format!("{sold} of {rooms} rooms are sold {ahead} days ahead."),
            confidence: (share * 90.0).round() / 100.0,
            expires_at: seed::instant(midnight, &self.property.zone()),
        };
        Some(self.suggestion(&format!("rate/{}/{}", kind.id, night.date), advice))
    }

    /// What is broken in a room that someone comes to today.
    fn mend(&self, order: &WorkOrder) -> Option<Suggestion> {
        let coming = |stay: &&Reservation| {
            stay.room_id == order.room_id && stay.check_in == self.today && stay.is_live()
        };
        let room = self.house.room(order.room_id?)?;
        let guest = self.house.reservations.iter().find(coming)?;
        let advice = Advice {
            kind: SuggestionKind::MaintenancePriority,
            title: format!("Mend room {} first: {}", room.number, order.title),
            rationale: format!("{} is expected in it today.", guest.code),
            confidence: 0.8,
            expires_at: guest.arrives_at,
        };
        order.state.is_pending().then(|| self.suggestion(&format!("mend/{}", order.id), advice))
    }

    /// The one room that is to be cleaned before all others.
    fn clean<'t>(&self, tasks: impl Iterator<Item = &'t Task>) -> Option<Suggestion> {
        let waiting = tasks.filter(|task| {
            matches!(task.status, TaskStatus::Pending | TaskStatus::Assigned)
                && matches!(task.priority, Priority::Urgent | Priority::High)
        });
        let task = waiting
            .min_by_key(|task| (task.priority != Priority::Urgent, task.created_at, task.id))?;
        let room = self.house.room(task.room_id)?;
        let advice = Advice {
            kind: SuggestionKind::HousekeepingOrder,
            title: format!("Turn over room {} next", room.number),
            rationale: "A guest is expected in it today and nobody has begun.".to_owned(),
            confidence: 0.9,
            expires_at: plus_minutes(self.house.now, 90),
        };
        Some(self.suggestion(&format!("clean/{}", task.id), advice))
    }

    fn suggestion(&self, label: &str, advice: Advice) -> Suggestion {
        Suggestion {
            id: seed::id(self.today, label),
            tenant_id: self.property.tenant_id,
            property_id: self.property.id,
            advice,
        }
    }
}
