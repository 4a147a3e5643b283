//! What housekeeping has done and has to do at one moment: the state of every room, and the
//! tasks of the day that explain it.

use contracts::id::{HousekeepingTaskId, PropertyId, ReservationId, RoomId, StaffId, TenantId};
use contracts::upstream::housekeeping::{RoomStatus, TaskStatus};
use contracts::upstream::reservation::ReservationState;
use jiff::Timestamp;
use jiff::civil::Date;
use serde::Serialize;

use super::places::{Closed, Property, Room};
use super::seed::{self, between, chance, plus_days, plus_minutes};
use super::staff::Staffing;
use super::stays::Reservation;

#[derive(Debug, Clone, Serialize)]
pub struct RoomState {
    pub tenant_id: TenantId,
    pub property_id: PropertyId,
    pub room_id: RoomId,
    pub status: RoomStatus,
    pub since: Timestamp,
    /// Whether a guest lives in it.
    pub occupied: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskKind {
    Turnover,
    MidStayClean,
    DeepClean,
}

impl TaskKind {
    /// As the wire and the database have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Turnover => "turnover",
            Self::MidStayClean => "mid_stay_clean",
            Self::DeepClean => "deep_clean",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    Low,
    Normal,
    High,
    Urgent,
}

impl Priority {
    /// As the wire and the database have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
            Self::Urgent => "urgent",
        }
    }
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
    pub priority: Priority,
    pub assigned_to: Option<StaffId>,
    pub created_at: Timestamp,
    pub scheduled_for: Timestamp,
    pub started_at: Option<Timestamp>,
    pub completed_at: Option<Timestamp>,
}

/// The instants a task passes through.
struct Course {
    kind: TaskKind,
    created: Timestamp,
    assigned: Timestamp,
    started: Timestamp,
    completed: Timestamp,
}

impl Course {
    /// A guest has left: someone comes within the next hour and a half.
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

    /// The guest stays: the night audit makes the task, the morning gives it to someone.
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

/// The rooms and tasks of one property at `now`.
pub(super) struct Floor<'a> {
    pub(super) property: &'a Property,
    pub(super) staffing: &'a Staffing,
    pub(super) now: Timestamp,
}

impl Floor<'_> {
    /// A room's state and what is to be done in it. `stays` are those of this room.
    pub(super) fn room(&self, room: &Room, stays: &[&Reservation]) -> (RoomState, Option<Task>) {
        let today = self.property.today(self.now);
        if let Some(closed) = room.closed {
            return (self.closed(room, closed, today), None);
        }
        let left = stays
            .iter()
            .find(|stay| stay.check_out == today && stay.state == ReservationState::CheckedOut);
        let guest = stays.iter().find(|stay| stay.is_in_house());
        match (left, guest) {
            (_, Some(guest)) if guest.check_in == today => (just_arrived(room, guest), None),
            (_, Some(guest)) if guest.check_out == today => (self.due_out(room, today), None),
            (_, Some(guest)) => self.staying(room, guest, today),
            (Some(left), None) => self.turning_over(room, left, next_arrival(stays, today)),
            (None, None) => self.vacant(room, today, next_arrival(stays, today).is_some()),
        }
    }

    fn closed(&self, room: &Room, closed: Closed, today: Date) -> RoomState {
        let status = match closed {
            Closed::OutOfOrder => RoomStatus::OutOfOrder,
            Closed::OutOfService => RoomStatus::OutOfService,
        };
        state(room, status, self.at(plus_days(today, -3), 10), false)
    }

    fn due_out(&self, room: &Room, today: Date) -> RoomState {
        state(room, RoomStatus::Clean, self.at(plus_days(today, -1), 15), true)
    }

    fn staying(&self, room: &Room, guest: &Reservation, today: Date) -> (RoomState, Option<Task>) {
        let label = format!("{}/{today}", guest.id);
        let course = Course::mid_stay(&label, today, self.property);
        let (status, since) = match course.status(&label, self.now) {
            TaskStatus::Completed => (RoomStatus::Clean, course.completed),
            TaskStatus::InProgress | TaskStatus::Paused => (RoomStatus::Cleaning, course.started),
            _ => (RoomStatus::Dirty, course.created),
        };
        let task = self.task(room, &course, &label, Some(guest.id), Priority::Normal);
        (state(room, status, since, true), Some(task))
    }

    fn turning_over(
        &self,
        room: &Room,
        left: &Reservation,
        next: Option<&Reservation>,
    ) -> (RoomState, Option<Task>) {
        let label = left.id.to_string();
        let course = Course::turnover(&label, left.leaves_at);
        let inspected = plus_minutes(course.completed, 8);
        let ready = plus_minutes(course.completed, 15);
        let (status, since) = match self.now {
            now if now >= ready => (RoomStatus::Ready, ready),
            now if now >= inspected => (RoomStatus::Inspected, inspected),
            now if now >= course.completed => (RoomStatus::Clean, course.completed),
            now if now >= course.started => (RoomStatus::Cleaning, course.started),
            _ => (RoomStatus::Dirty, left.leaves_at),
        };
        let priority = match next {
            Some(next) if next.arrives_at < plus_minutes(self.now, 90) => Priority::Urgent,
            Some(_) => Priority::High,
            None => Priority::Normal,
        };
        let task = self.task(room, &course, &label, Some(left.id), priority);
        (state(room, status, since, false), Some(task))
    }

    /// Empty since before today; now and then one gets a deep clean.
    fn vacant(&self, room: &Room, today: Date, expected: bool) -> (RoomState, Option<Task>) {
        let label = format!("{}/{today}", room.id);
        let since = self.at(plus_days(today, -1), 14);
        if expected || !chance(&format!("deep-clean/{label}"), 20) {
            return (state(room, RoomStatus::Ready, since, false), None);
        }
        let course =
            Course { kind: TaskKind::DeepClean, ..Course::mid_stay(&label, today, self.property) };
        let (status, since) = match course.status(&label, self.now) {
            TaskStatus::InProgress | TaskStatus::Paused => (RoomStatus::Cleaning, course.started),
            TaskStatus::Completed => (RoomStatus::Clean, course.completed),
            _ => (RoomStatus::Ready, since),
        };
        let task = self.task(room, &course, &label, None, Priority::Low);
        (state(room, status, since, false), Some(task))
    }

    fn task(
        &self,
        room: &Room,
        course: &Course,
        label: &str,
        reservation_id: Option<ReservationId>,
        priority: Priority,
    ) -> Task {
        let status = course.status(label, self.now);
        let assigned_to = (status != TaskStatus::Pending).then(|| self.worker(label, course));
        Task {
            id: seed::id(self.property.today(course.created), &format!("task/{label}")),
            tenant_id: room.tenant_id,
            property_id: room.property_id,
            room_id: room.id,
            reservation_id,
            kind: course.kind,
            status,
            priority,
            assigned_to: assigned_to.flatten(),
            created_at: course.created,
            scheduled_for: course.started,
            started_at: (course.started <= self.now).then_some(course.started),
            completed_at: (course.completed <= self.now).then_some(course.completed),
        }
    }

    fn worker(&self, label: &str, course: &Course) -> Option<StaffId> {
        let on = self.staffing.housekeepers_at(self.property, course.started);
        let turn = seed::roll(&format!("worker/{label}")) as usize;
        on.get(turn % on.len().max(1)).copied()
    }

    fn at(&self, day: Date, hour: i8) -> Timestamp {
        seed::instant(day.at(hour, 0, 0, 0), &self.property.zone())
    }
}

fn just_arrived(room: &Room, guest: &Reservation) -> RoomState {
    state(room, RoomStatus::Ready, plus_minutes(guest.arrives_at, -35), true)
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
