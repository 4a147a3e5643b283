//! Suggestions made by rules from the demo data: rates of nights that sell out, repairs before an
//! arrival, and the room to clean next.

use contracts::upstream::ai::{Provenance, Suggestion, SuggestionKind};
use contracts::upstream::housekeeping::{TaskPriority, TaskStatus};
use contracts::upstream::maintenance::WorkOrder;
use jiff::civil::Date;

use super::housekeeping::Task;
use super::inventory::Night;
use super::properties::Property;
use super::reservations::Reservation;
use super::seed::{self, days_between, plus_days, plus_minutes};
use super::{DemoData, OfProperty};

/// Nights ahead for which rates are suggested.
const RATE_NIGHTS_AHEAD: i64 = 7;
/// Share of sold rooms from which a higher rate is suggested.
const SCARCE_SHARE: f64 = 0.85;

/// The suggestions for one property, highest confidence first.
pub(super) fn build(demo: &DemoData, property: &Property) -> Vec<OfProperty<Suggestion>> {
    let builder = SuggestionBuilder { demo, property, today: property.today(demo.now) };
    let nights = demo.nights.iter().filter(|night| night.property_id == property.id);
    let orders = demo.work_orders.iter().filter(|order| order.property_id == property.id);
    let tasks = demo.tasks.iter().filter(|task| task.property_id == property.id);
    let mut all: Vec<_> = nights.filter_map(|night| builder.rate(night)).collect();
    all.extend(orders.filter_map(|one| builder.repair(&one.item)));
    all.extend(builder.clean(tasks));
    all.retain(|suggestion| *suggestion.expires_at > demo.now);
    all.sort_by(|a, b| {
        b.confidence.total_cmp(&a.confidence).then(a.suggestion_id.cmp(&b.suggestion_id))
    });
    let property_id = property.id;
    all.into_iter().map(|suggestion| OfProperty { property_id, item: suggestion }).collect()
}

struct SuggestionBuilder<'a> {
    demo: &'a DemoData,
    property: &'a Property,
    today: Date,
}

impl SuggestionBuilder<'_> {
    fn rate(&self, night: &Night) -> Option<Suggestion> {
        let ahead = days_between(self.today, night.date);
        let (sold, rooms) = (night.held + night.committed, night.total - night.oos_blocked);
        let share = f64::from(sold) / f64::from(rooms.max(1));
        if !(1..=RATE_NIGHTS_AHEAD).contains(&ahead) || share < SCARCE_SHARE {
            return None;
        }
        let mut types = self.demo.room_types.iter();
        let kind = types.find(|kind| kind.id == night.room_type_id)?;
        let midnight = plus_days(self.today, 1).at(0, 0, 0, 0);
        Some(Suggestion {
            suggestion_id: seed::id(self.today, &format!("rate/{}/{}", kind.id, night.date)),
            kind: SuggestionKind::RateChange,
            title: format!("Raise {} by 8 percent for {}", kind.name, night.date),
            rationale: format!("{sold} of {rooms} rooms are sold {ahead} days ahead."),
            confidence: (share * 90.0).round() / 100.0,
            expires_at: seed::instant(midnight, &self.property.zone()).into(),
            provenance: by_rule(),
        })
    }

    /// Suggests to repair a room whose guest arrives today.
    fn repair(&self, order: &WorkOrder) -> Option<Suggestion> {
        let coming = |stay: &&Reservation| {
            stay.room_id == order.room_id && stay.check_in == self.today && stay.is_live()
        };
        let room = self.demo.room(order.room_id?)?;
        let guest = self.demo.reservations.iter().find(coming)?;
        order.state.is_pending().then(|| Suggestion {
            suggestion_id: seed::id(self.today, &format!("mend/{}", order.work_order_id)),
            kind: SuggestionKind::MaintenancePriority,
            title: format!("Repair room {} first: {}", room.number, order.title),
            rationale: format!("{} is expected in it today.", guest.code),
            confidence: 0.8,
            expires_at: guest.arrives_at.into(),
            provenance: by_rule(),
        })
    }

    /// Suggests which room to clean next.
    fn clean<'t>(&self, tasks: impl Iterator<Item = &'t Task>) -> Option<Suggestion> {
        let waiting = tasks.filter(|task| {
            matches!(task.status, TaskStatus::Pending | TaskStatus::Assigned)
                && matches!(task.priority, TaskPriority::Urgent | TaskPriority::High)
        });
        let task = waiting
            .min_by_key(|task| (task.priority != TaskPriority::Urgent, task.created_at, task.id))?;
        let room = self.demo.room(task.room_id)?;
        Some(Suggestion {
            suggestion_id: seed::id(self.today, &format!("clean/{}", task.id)),
            kind: SuggestionKind::HousekeepingOrder,
            title: format!("Turn over room {} next", room.number),
            rationale: "A guest is expected in it today and cleaning has not started.".to_owned(),
            confidence: 0.9,
            expires_at: plus_minutes(self.demo.now, 90).into(),
            provenance: by_rule(),
        })
    }
}

fn by_rule() -> Provenance {
    Provenance { model: "rules".to_owned(), version: "1".to_owned() }
}
