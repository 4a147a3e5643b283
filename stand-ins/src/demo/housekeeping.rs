//! The state of every room, and the tasks of the day that explain it.

use contracts::id::{HousekeepingTaskId, PropertyId, ReservationId, RoomId, StaffId, TenantId};
use contracts::upstream::housekeeping::{RoomStatus, TaskKind, TaskPriority, TaskStatus};
use contracts::upstream::reservation::ReservationState;
use jiff::Timestamp;
use jiff::civil::Date;
use serde::Serialize;

use super::properties::{Closed, Property, Room};
use super::reservations::Reservation;
use super::seed::{self, between, chance, plus_days, plus_minutes};
use super::staff::Staffing;

#[derive(Debug, Clone, Serialize)]
pub struct RoomState {
    pub tenant_id: TenantId,
    pub property_id: PropertyId,
    pub room_id: RoomId,
    pub status: RoomStatus,
    pub since: Timestamp,
    /// Whether a guest is in it.
    pub occupied: bool,
}

#[derive(Debug, Clone, Serialize)]
pub struct Task {
    pub id: HousekeepingTaskId,
    pub tenant_id: TenantId,
    pub property_id: PropertyId,
    pub room_id: RoomId,
    pub reservation_id: Option<ReservationId>,
    pub kind: TaskKind,
    pub status: TaskStatus,
    pub priority: TaskPriority,
    pub assigned_to: Option<StaffId>,
    pub created_at: Timestamp,
    pub scheduled_for: Timestamp,
    pub started_at: Option<Timestamp>,
    pub completed_at: Option<Timestamp>,
}

/// When a task reaches each status.
struct TaskTimeline {
    kind: TaskKind,
    created: Timestamp,
    assigned: Timestamp,
    started: Timestamp,
    completed: Timestamp,
}

impl TaskTimeline {
    /// After a departure: cleaning starts within 100 minutes.
    fn turnover(label: &str, left: Timestamp) -> Self {
        let started = plus_minutes(left, between(&format!("turnover/{label}"), 20, 100));
        Self {
            kind: TaskKind::Turnover,
            created: left,
            assigned: plus_minutes(left, 12),
            started,
            completed: plus_minutes(started, 35),
        }
    }

    /// During a stay: created at midnight, assigned in the morning.
    fn mid_stay(label: &str, today: Date, property: &Property) -> Self {
        let zone = property.zone();
        let nine = seed::instant(today.at(9, 0, 0, 0), &zone);
        let started = plus_minutes(nine, between(&format!("mid-stay/{label}"), 0, 330));
        Self {
            kind: TaskKind::MidStayClean,
            created: seed::instant(today.at(0, 0, 0, 0), &zone),
            assigned: plus_minutes(nine, -90),
            started,
            completed: plus_minutes(started, 30),
        }
    }

    fn status(&self, label: &str, now: Timestamp) -> TaskStatus {
        match now {
            _ if now < self.assigned => TaskStatus::Pending,
            _ if now < self.started => TaskStatus::Assigned,
            _ if now < self.completed && chance(&format!("paused/{label}"), 10) => {
                TaskStatus::Paused
            }
            _ if now < self.completed => TaskStatus::InProgress,
            _ => TaskStatus::Completed,
        }
    }
}

/// Computes the rooms and tasks of one property at `now`.
pub(super) struct RoomPlanner<'a> {
    pub(super) property: &'a Property,
    pub(super) staffing: &'a Staffing,
    pub(super) now: Timestamp,
}

impl RoomPlanner<'_> {
    /// The state of a room and its task, if any. `stays` are those of the room.
    pub(super) fn room(&self, room: &Room, stays: &[&Reservation]) -> (RoomState, Option<Task>) {
        let today = self.property.today(self.now);
        if let Some(closed) = room.closed {
            let status = match closed {
                Closed::OutOfOrder => RoomStatus::OutOfOrder,
                Closed::OutOfService => RoomStatus::OutOfService,
            };
            return (state(room, status, self.at(plus_days(today, -3), 10), false), None);
        }
        let left = stays
            .iter()
            .find(|stay| stay.check_out == today && stay.state == ReservationState::CheckedOut);
        let guest = stays.iter().find(|stay| stay.is_in_house());
        match (left, guest) {
            (_, Some(guest)) if guest.check_in == today => {
                let cleaned = plus_minutes(guest.arrives_at, -35);
                (state(room, RoomStatus::Ready, cleaned, true), None)
            }
            (_, Some(guest)) if guest.check_out == today => {
                (state(room, RoomStatus::Clean, self.at(plus_days(today, -1), 15), true), None)
            }
            (_, Some(guest)) => self.staying(room, guest, today),
            (Some(left), None) => self.turning_over(room, left, next_arrival(stays, today)),
            (None, None) => self.vacant(room, today, next_arrival(stays, today).is_some()),
        }
    }

    fn staying(&self, room: &Room, guest: &Reservation, today: Date) -> (RoomState, Option<Task>) {
        let label = format!("{}/{today}", guest.id);
        let timeline = TaskTimeline::mid_stay(&label, today, self.property);
        let (status, since) = match timeline.status(&label, self.now) {
            TaskStatus::Completed => (RoomStatus::Clean, timeline.completed),
            TaskStatus::InProgress | TaskStatus::Paused => (RoomStatus::Cleaning, timeline.started),
            _ => (RoomStatus::Dirty, timeline.created),
        };
        let task = self.task(room, &timeline, &label, Some(guest.id), TaskPriority::Normal);
        (state(room, status, since, true), Some(task))
    }

    fn turning_over(
        &self,
        room: &Room,
        left: &Reservation,
        next: Option<&Reservation>,
    ) -> (RoomState, Option<Task>) {
        let label = left.id.to_string();
        let timeline = TaskTimeline::turnover(&label, left.leaves_at);
        let inspected = plus_minutes(timeline.completed, 8);
        let ready = plus_minutes(timeline.completed, 15);
        let (status, since) = match self.now {
            now if now >= ready => (RoomStatus::Ready, ready),
            now if now >= inspected => (RoomStatus::Inspected, inspected),
            now if now >= timeline.completed => (RoomStatus::Clean, timeline.completed),
            now if now >= timeline.started => (RoomStatus::Cleaning, timeline.started),
            _ => (RoomStatus::Dirty, left.leaves_at),
        };
        let priority = match next {
            Some(next) if next.arrives_at < plus_minutes(self.now, 90) => TaskPriority::Urgent,
            Some(_) => TaskPriority::High,
            None => TaskPriority::Normal,
        };
        let task = self.task(room, &timeline, &label, Some(left.id), priority);
        (state(room, status, since, false), Some(task))
    }

    /// Vacant since before today; a few rooms get a deep clean.
    fn vacant(&self, room: &Room, today: Date, expected: bool) -> (RoomState, Option<Task>) {
        let label = format!("{}/{today}", room.id);
        let since = self.at(plus_days(today, -1), 14);
        if expected || !chance(&format!("deep-clean/{label}"), 20) {
            return (state(room, RoomStatus::Ready, since, false), None);
        }
        let timeline = TaskTimeline {
            kind: TaskKind::DeepClean,
            ..TaskTimeline::mid_stay(&label, today, self.property)
        };
        let (status, since) = match timeline.status(&label, self.now) {
            TaskStatus::InProgress | TaskStatus::Paused => (RoomStatus::Cleaning, timeline.started),
            TaskStatus::Completed => (RoomStatus::Clean, timeline.completed),
            _ => (RoomStatus::Ready, since),
        };
        let task = self.task(room, &timeline, &label, None, TaskPriority::Low);
        (state(room, status, since, false), Some(task))
    }

    fn task(
        &self,
        room: &Room,
        timeline: &TaskTimeline,
        label: &str,
        reservation_id: Option<ReservationId>,
        priority: TaskPriority,
    ) -> Task {
        let status = timeline.status(label, self.now);
        let assigned_to = (status != TaskStatus::Pending).then(|| self.worker(label, timeline));
        Task {
            id: seed::id(self.property.today(timeline.created), &format!("task/{label}")),
            tenant_id: room.tenant_id,
            property_id: room.property_id,
            room_id: room.id,
            reservation_id,
            kind: timeline.kind,
            status,
            priority,
            assigned_to: assigned_to.flatten(),
            created_at: timeline.created,
            scheduled_for: timeline.started,
            started_at: (timeline.started <= self.now).then_some(timeline.started),
            completed_at: (timeline.completed <= self.now).then_some(timeline.completed),
        }
    }

    fn worker(&self, label: &str, timeline: &TaskTimeline) -> Option<StaffId> {
        let on = self.staffing.housekeepers_at(self.property, timeline.started);
        let turn = seed::roll(&format!("worker/{label}")) as usize;
        on.get(turn % on.len().max(1)).copied()
    }

    fn at(&self, day: Date, hour: i8) -> Timestamp {
        seed::instant(day.at(hour, 0, 0, 0), &self.property.zone())
    }
}

fn state(room: &Room, status: RoomStatus, since: Timestamp, occupied: bool) -> RoomState {
    RoomState {
        tenant_id: room.tenant_id,
        property_id: room.property_id,
        room_id: room.id,
        status,
        since,
        occupied,
    }
}

fn next_arrival<'a>(stays: &[&'a Reservation], today: Date) -> Option<&'a Reservation> {
    stays.iter().copied().find(|stay| stay.check_in == today && stay.is_live())
}
