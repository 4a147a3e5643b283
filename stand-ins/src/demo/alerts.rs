//! Alerts for the front desk that follow from the demo data: closed rooms, late turnovers, arrivals
//! without a room.

use contracts::id::{AlertId, PropertyId, TenantId};
use contracts::upstream::housekeeping::TaskStatus;
use contracts::upstream::notification::Severity;
use jiff::Timestamp;
use serde::Serialize;

use super::DemoData;
use super::housekeeping::{Priority, Task};
use super::properties::{Closed, Property, Room};
use super::reservations::Reservation;
use super::seed::{self, plus_days, plus_minutes};

#[derive(Debug, Clone, Serialize)]
pub struct Alert {
    pub id: AlertId,
    pub tenant_id: TenantId,
    pub property_id: PropertyId,
    pub severity: Severity,
    pub title: String,
    pub body: String,
    pub raised_at: Timestamp,
}

/// The alerts of one property, newest first.
pub(super) fn build(demo: &DemoData, property: &Property) -> Vec<Alert> {
    let closed =
        demo.rooms_of(property.id).filter_map(|room| closed_room(property, room, demo.now));
    let late = demo.tasks.iter().filter(|task| task.property_id == property.id);
    let late = late.filter_map(|task| late_turnover(demo, task));
    let homeless = demo.reservations.iter().filter(|stay| stay.property_id == property.id);
    let homeless = homeless.filter_map(|stay| without_room(property, stay, demo.now));
    let mut alerts: Vec<_> = closed.chain(late).chain(homeless).collect();
    alerts.sort_by_key(|alert| std::cmp::Reverse((alert.raised_at, alert.id)));
    alerts
}

fn closed_room(property: &Property, room: &Room, now: Timestamp) -> Option<Alert> {
    let (severity, state) = match room.closed? {
        Closed::OutOfOrder => (Severity::Warning, "out of order"),
        Closed::OutOfService => (Severity::Info, "out of service"),
    };
    let day = plus_days(property.today(now), -3);
    Some(Alert {
        id: seed::id(day, &format!("closed/{}", room.id)),
        tenant_id: room.tenant_id,
        property_id: room.property_id,
        severity,
        title: format!("Room {} is {state}", room.number),
        body: "Ask maintenance when it will be available again.".to_owned(),
        raised_at: seed::instant(day.at(10, 5, 0, 0), &property.zone()),
    })
}

fn late_turnover(demo: &DemoData, task: &Task) -> Option<Alert> {
    let open = !matches!(task.status, TaskStatus::Completed | TaskStatus::Cancelled);
    if !open || task.priority != Priority::Urgent {
        return None;
    }
    let room = demo.rooms.iter().find(|room| room.id == task.room_id)?;
    Some(Alert {
        id: seed::id(seed::OPENING_DAY, &format!("late/{}", task.id)),
        tenant_id: task.tenant_id,
        property_id: task.property_id,
        severity: Severity::Critical,
        title: format!("Room {} is not ready and its guest arrives soon", room.number),
        body: "Send a second housekeeper, or give the guest another room.".to_owned(),
        raised_at: plus_minutes(task.created_at, 30).min(demo.now),
    })
}

fn without_room(property: &Property, stay: &Reservation, now: Timestamp) -> Option<Alert> {
    let today = property.today(now);
    let waiting = stay.check_in == today && stay.is_live() && stay.room_id.is_none();
    waiting.then(|| Alert {
        id: seed::id(today, &format!("without-room/{}", stay.id)),
        tenant_id: stay.tenant_id,
        property_id: stay.property_id,
        severity: Severity::Warning,
        title: format!("{} arrives today and has no room", stay.code),
        body: format!("{} is expected. Choose a room.", stay.guest_name),
        raised_at: seed::instant(today.at(0, 0, 0, 0), &property.zone()),
    })
}
