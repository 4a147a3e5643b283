//! Demo data of housekeeping: rooms, their states, and the day's tasks.

use contracts::upstream::housekeeping::TaskKind;
use jiff::Timestamp;
use serde_json::json;
use stand_ins::demo::{DemoData, Reservation, Task};

use super::Batch;

pub(super) fn batches(house: &DemoData) -> Vec<Batch> {
    vec![
        Batch::of("housekeeping.properties", &house.properties, house),
        Batch::of("housekeeping.rooms", &house.rooms, house),
        Batch::of("housekeeping.room_status", &house.room_states, house),
        Batch::with("housekeeping.housekeeping_tasks", &house.tasks, house, |task| {
            let turnover = Turnover::of(house, task);
            json!({
                "assigned_staff_id": task.assigned_to, "checked_out_at": turnover.left,
                "next_arrival_at": turnover.next_arrival, "room_ready_at": turnover.ready,
                "source": "event", "ended_at": task.completed_at,
            })
        }),
    ]
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
