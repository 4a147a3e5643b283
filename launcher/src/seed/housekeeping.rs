//! Demo data of housekeeping: rooms, their states, and the day's tasks.

use contracts::upstream::housekeeping::TaskKind;
use jiff::Timestamp;
use serde_json::json;
use stand_ins::demo::{DemoData, Reservation, Task};

use super::{Batch, properties};

pub(super) fn batches(house: &DemoData) -> Vec<Batch> {
    vec![
        properties("housekeeping.properties", house),
        Batch::new("housekeeping.rooms", &house.rooms, |room| {
            json!({
                "tenant_id": room.tenant_id, "id": room.id, "property_id": room.property_id,
                "number": room.number, "floor": room.floor, "created_at": house.now,
            })
        }),
        Batch::new("housekeeping.room_status", &house.room_states, |state| {
            json!({
                "tenant_id": state.tenant_id, "room_id": state.room_id,
                "property_id": state.property_id, "status": state.status, "since": state.since,
                "version": 0,
            })
        }),
        tasks(house),
    ]
}

fn tasks(house: &DemoData) -> Batch {
    Batch::new("housekeeping.housekeeping_tasks", &house.tasks, |task| {
        let turnover = Turnover::of(house, task);
        json!({
            "id": task.id, "tenant_id": task.tenant_id, "property_id": task.property_id,
            "room_id": task.room_id, "reservation_id": task.reservation_id,
            "kind": task.kind, "priority": task.priority, "status": task.status,
            "assigned_staff_id": task.assigned_to, "scheduled_for": task.scheduled_for,
            "checked_out_at": turnover.left, "next_arrival_at": turnover.next_arrival,
            "room_ready_at": turnover.ready,
            "source": "event", "started_at": task.started_at, "ended_at": task.completed_at,
            "created_at": task.created_at, "updated_at": house.now, "version": 0,
        })
    })
}

/// Timestamps that only turnover tasks have.
#[derive(Default)]
struct Turnover {
    left: Option<Timestamp>,
    next_arrival: Option<Timestamp>,
    ready: Option<Timestamp>,
}

impl Turnover {
    fn of(house: &DemoData, task: &Task) -> Self {
        if task.kind != TaskKind::Turnover {
            return Self::default();
        }
        let in_room =
            || house.reservations.iter().filter(|stay| stay.room_id == Some(task.room_id));
        let left = in_room().map(|stay| stay.leaves_at).filter(|at| *at <= task.created_at).max();
        let comes = |stay: &Reservation| stay.is_live() && stay.arrives_at > task.created_at;
        let next_arrival = in_room().filter(|stay| comes(stay)).map(|stay| stay.arrives_at).min();
        Self { left: left.or(Some(task.created_at)), next_arrival, ready: task.completed_at }
    }
}
