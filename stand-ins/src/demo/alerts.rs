//! Alerts for the front desk that follow from the demo data: closed rooms, late turnovers, arrivals
//! without a room.

use contracts::upstream::housekeeping::{TaskPriority, TaskStatus};
use contracts::upstream::notification::{Alert, Severity};
use jiff::Timestamp;

use super::housekeeping::Task;
use super::properties::{Closed, Property, Room};
use super::reservations::Reservation;
use super::seed::{self, plus_days, plus_minutes};
use super::{DemoData, OfProperty};

/// The alerts of one property, newest first.
pub(super) fn build(demo: &DemoData, property: &Property) -> Vec<OfProperty<Alert>> {
    let closed =
        demo.rooms_of(property.id).filter_map(|room| closed_room(property, room, demo.now));
    let late = demo.tasks.iter().filter(|task| task.property_id == property.id);
    let late = late.filter_map(|task| late_turnover(demo, task));
    let homeless = demo.reservations.iter().filter(|stay| stay.property_id == property.id);
    let homeless = homeless.filter_map(|stay| without_room(property, stay, demo.now));
    let mut alerts: Vec<_> = closed.chain(late).chain(homeless).collect();
    alerts.sort_by_key(|alert| std::cmp::Reverse((alert.raised_at, alert.alert_id)));
    let property_id = property.id;
    alerts.into_iter().map(|alert| OfProperty { property_id, item: alert }).collect()
}

fn closed_room(property: &Property, room: &Room, now: Timestamp) -> Option<Alert> {
    let (severity, state) = match room.closed? {
        Closed::OutOfOrder => (Severity::Warning, "out of order"),
        Closed::OutOfService => (Severity::Info, "out of service"),
    };
    let day = plus_days(property.today(now), -3);
    Some(Alert {
        alert_id: seed::id(day, &format!("closed/{}", room.id)),
        severity,
        title: format!("Room {} is {state}", room.number),
        body: "Ask maintenance when it will be available again.".to_owned(),
        raised_at: seed::instant(day.at(10, 5, 0, 0), &property.zone()).into(),
    })
}

fn late_turnover(demo: &DemoData, task: &Task) -> Option<Alert> {
    let open = !matches!(task.status, TaskStatus::Completed | TaskStatus::Cancelled);
    if !open || task.priority != TaskPriority::Urgent {
        return None;
    }
    let room = demo.rooms.iter().find(|room| room.id == task.room_id)?;
    Some(Alert {
        alert_id: seed::id(seed::OPENING_DAY, &format!("late/{}", task.id)),
        severity: Severity::Critical,
        title: format!("Room {} is not ready and its guest arrives soon", room.number),
        body: "Send a second housekeeper, or give the guest another room.".to_owned(),
        raised_at: plus_minutes(task.created_at, 30).min(demo.now).into(),
    })
}

fn without_room(property: &Property, stay: &Reservation, now: Timestamp) -> Option<Alert> {
    let today = property.today(now);
    let waiting = stay.check_in == today && stay.is_live() && stay.room_id.is_none();
    waiting.then(|| Alert {
        alert_id: seed::id(today, &format!("without-room/{}", stay.id)),
        severity: Severity::Warning,
        title: format!("{} arrives today and has no room", stay.code),
        body: format!("{} is expected. Choose a room.", stay.guest_name),
        raised_at: seed::instant(today.at(0, 0, 0, 0), &property.zone()).into(),
    })
}
