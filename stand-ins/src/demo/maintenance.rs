//! Work orders of the last days, and the work orders of closed rooms. Like a reservation, a work order
//! depends on its room and day alone; only its state changes with time.

use contracts::id::StaffId;
use contracts::upstream::maintenance::{
    WorkOrder, WorkOrderCategory, WorkOrderSeverity, WorkOrderState,
};
use jiff::Timestamp;
use jiff::civil::Date;

use super::OfProperty;
use super::properties::{Closed, Property, Room};
use super::seed::{self, OPENING_DAY, between, chance, pick, plus_days, plus_minutes};
use super::staff::Staffing;

/// Faults were reported on this many days before today.
const FAULT_DAYS: i64 = 4;

#[derive(Debug)]
struct Fault(WorkOrderCategory, WorkOrderSeverity, &'static str);

const ROOM_FAULTS: &[&Fault] = &[
    &Fault(WorkOrderCategory::Plumbing, WorkOrderSeverity::High, "The shower does not drain"),
    &Fault(WorkOrderCategory::Plumbing, WorkOrderSeverity::Normal, "A tap drips"),
    &Fault(WorkOrderCategory::Hvac, WorkOrderSeverity::High, "The heating stays cold"),
    &Fault(WorkOrderCategory::Electrical, WorkOrderSeverity::Normal, "A bedside lamp is dead"),
    &Fault(WorkOrderCategory::Lock, WorkOrderSeverity::Critical, "The door does not lock"),
    &Fault(WorkOrderCategory::It, WorkOrderSeverity::Low, "The television has no signal"),
    &Fault(WorkOrderCategory::Other, WorkOrderSeverity::Low, "The wardrobe door hangs loose"),
];
const PROPERTY_FAULTS: &[&Fault] = &[
    &Fault(WorkOrderCategory::Generator, WorkOrderSeverity::High, "The generator starts late"),
    &Fault(WorkOrderCategory::Water, WorkOrderSeverity::High, "Low pressure on the top floor"),
    &Fault(WorkOrderCategory::It, WorkOrderSeverity::Normal, "The lobby's Wi-Fi drops out"),
    &Fault(WorkOrderCategory::Electrical, WorkOrderSeverity::Low, "A corridor light flickers"),
];
const OUT_OF_ORDER_FAULT: Fault = Fault(
    WorkOrderCategory::Plumbing,
    WorkOrderSeverity::High,
    "Water damage behind the bathroom wall",
);
const OUT_OF_SERVICE_FAULT: Fault =
    Fault(WorkOrderCategory::Hvac, WorkOrderSeverity::Normal, "The air conditioner rattles");

/// When a work order reaches each state.
struct WorkOrderTimeline {
    reported: Timestamp,
    assigned: Timestamp,
    started: Timestamp,
    resolved: Timestamp,
    verified: Timestamp,
}

impl WorkOrderTimeline {
    /// Reported during the day, resolved within hours.
    fn of(label: &str, day: Date, property: &Property) -> Self {
        let minutes = |what, low, high| between(&format!("{what}/{label}"), low, high);
        let seven = seed::instant(day.at(7, 0, 0, 0), &property.zone());
        let reported = plus_minutes(seven, minutes("reported", 0, 14 * 60));
        let assigned = plus_minutes(reported, minutes("given", 10, 60));
        let started = plus_minutes(assigned, minutes("begun", 15, 300));
        let resolved = plus_minutes(started, minutes("mended", 20, 200));
        let verified = plus_minutes(resolved, minutes("seen", 30, 600));
        Self { reported, assigned, started, resolved, verified }
    }

    /// The state at `now`, and since when. A few are blocked, and a few cancelled.
    fn at(&self, label: &str, now: Timestamp) -> (WorkOrderState, Timestamp) {
        use WorkOrderState::{Assigned, Blocked, Cancelled, InProgress, Open, Resolved, Verified};
        let waits = chance(&format!("waits/{label}"), 15);
        match now {
            _ if now < self.assigned => (Open, self.reported),
            _ if chance(&format!("called-off/{label}"), 6) => (Cancelled, self.assigned),
            _ if now < self.started => (Assigned, self.assigned),
            _ if now >= self.resolved && waits => (Blocked, self.resolved),
            _ if now < self.resolved => (InProgress, self.started),
            _ if now < self.verified => (Resolved, self.resolved),
            _ => (Verified, self.verified),
        }
    }
}

/// The work orders of one property, closed rooms first.
pub(super) fn build(
    property: &Property,
    rooms: &[Room],
    staffing: &Staffing,
    now: Timestamp,
) -> Vec<OfProperty<WorkOrder>> {
    let builder = WorkOrderBuilder { property, technicians: staffing.technicians(property), now };
    let today = property.today(now);
    let closed = rooms.iter().filter_map(|room| builder.closed(room, today));
    let days = (0..=FAULT_DAYS).map(|back| plus_days(today, -back));
    let possible = days.flat_map(|day| PossibleFault::on(day, rooms));
    let orders = closed.chain(possible.filter_map(|possible| builder.broken(&possible)));
    orders.map(|order| OfProperty { property_id: property.id, item: order }).collect()
}

/// A fault that may occur on a day.
struct PossibleFault<'a> {
    label: String,
    day: Date,
    fault: &'static Fault,
    room: Option<&'a Room>,
    /// Its probability.
    percent: i64,
}

impl<'a> PossibleFault<'a> {
    fn on(day: Date, rooms: &'a [Room]) -> Vec<Self> {
        let open = rooms.iter().filter(|room| room.closed.is_none());
        let in_rooms = open.map(|room| {
            let label = format!("{}/{day}", room.id);
            let fault = pick(&format!("fault/{label}"), ROOM_FAULTS);
            Self { label, day, fault, room: Some(room), percent: 3 }
        });
        let in_property = PROPERTY_FAULTS.iter().enumerate().map(|(turn, fault)| Self {
            label: format!("{turn}/{day}"),
            day,
            fault,
            room: None,
            percent: 12,
        });
        in_rooms.chain(in_property).collect()
    }
}

/// Makes the work orders of one property at `now`.
struct WorkOrderBuilder<'a> {
    property: &'a Property,
    technicians: Vec<StaffId>,
    now: Timestamp,
}

impl WorkOrderBuilder<'_> {
    fn broken(&self, possible: &PossibleFault<'_>) -> Option<WorkOrder> {
        let label = format!("{}/{}", self.property.slug, possible.label);
        let timeline = WorkOrderTimeline::of(&label, possible.day, self.property);
        if timeline.reported > self.now || !chance(&format!("breaks/{label}"), possible.percent) {
            return None;
        }
        let (state, since) = timeline.at(&label, self.now);
        let order = self.order(&label, possible.fault, timeline.reported);
        let taken = !matches!(state, WorkOrderState::Open | WorkOrderState::Cancelled);
        Some(WorkOrder {
            work_order_id: seed::id(possible.day, &format!("fault/{label}")),
            room_id: possible.room.map(|room| room.id),
            room_number: possible.room.map(|room| room.number.clone()),
            state,
            since: since.into(),
            assigned_to: order.assigned_to.filter(|_| taken),
            ..order
        })
    }

    /// The work order of a room that was closed three days ago.
    fn closed(&self, room: &Room, today: Date) -> Option<WorkOrder> {
        let closed = room.closed?;
        let at = |day, hour| {
            seed::instant(plus_days(today, day).at(hour, 0, 0, 0), &self.property.zone())
        };
        let (fault, state) = match closed {
            Closed::OutOfOrder => (&OUT_OF_ORDER_FAULT, WorkOrderState::InProgress),
            Closed::OutOfService => (&OUT_OF_SERVICE_FAULT, WorkOrderState::Assigned),
        };
        let order = self.order(&format!("closed/{}", room.id), fault, at(-3, 10));
        Some(WorkOrder {
            room_id: Some(room.id),
            room_number: Some(room.number.clone()),
            state,
            room_out_of_order: closed == Closed::OutOfOrder,
            due_at: at(2, 18).into(),
            ..order
        })
    }

    fn order(&self, label: &str, fault: &Fault, reported_at: Timestamp) -> WorkOrder {
        let &Fault(category, severity, title) = fault;
        let turn = seed::roll(&format!("technician/{label}")) as usize;
        WorkOrder {
            work_order_id: seed::id(OPENING_DAY, label),
            room_id: None,
            room_number: None,
            category,
            severity,
            title: title.to_owned(),
            state: WorkOrderState::Open,
            since: reported_at.into(),
            room_out_of_order: false,
            assigned_to: self.technicians.get(turn % self.technicians.len().max(1)).copied(),
            reported_at: reported_at.into(),
            due_at: plus_minutes(reported_at, 60 * hours_granted(severity)).into(),
        }
    }
}

fn hours_granted(severity: WorkOrderSeverity) -> i64 {
    match severity {
        WorkOrderSeverity::Critical => 2,
        WorkOrderSeverity::High => 6,
        WorkOrderSeverity::Normal => 24,
        WorkOrderSeverity::Low => 72,
    }
}
