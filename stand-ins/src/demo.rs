//! The demo data: two tenants with three hotels, their guests, staff and rooms at one instant.
//! It is computed from that instant alone, and nobody in it is real.
//!
//! Ids and reservations are the same for every instant; only states differ, so data made tomorrow
//! describes the same hotels one day later. The launcher writes the parts of inventory, housekeeping
//! and staff into their databases; the stand-ins serve the rest.
//!
//! Not here: I/O, and changes after that instant.

pub mod alerts;
pub mod desktops;
pub mod folios;
pub mod housekeeping;
pub mod inventory;
pub mod locks;
pub mod maintenance;
mod names;
pub mod operators;
pub mod properties;
pub mod rates;
pub mod reservations;
mod seed;
pub mod staff;
pub mod suggestions;

use contracts::id::{LockDeviceId, OperatorId, PropertyId, RoomId};
use contracts::upstream::ai::Suggestion;
use contracts::upstream::lock::LockKey;
use contracts::upstream::maintenance::WorkOrder;
use contracts::upstream::notification::Alert;
use jiff::Timestamp;
use serde::Serialize;

pub use folios::Folio;
pub use housekeeping::{RoomState, Task};
pub use inventory::{Allocation, Block, Night};
pub use locks::Lock;
pub use operators::Operator;
pub use properties::{Property, Room, RoomType, Tenant};
pub use reservations::Reservation;
pub use staff::{Assignment, ClockEntry, Department, Position, Shift, StaffMember};

/// Days before today for which there are reservations and nights.
pub const PAST_DAYS: i64 = 7;
/// Days from today on for which there are reservations and nights.
pub const FUTURE_DAYS: i64 = 30;

/// An item at a property, as its upstream serves it.
#[derive(Debug, Clone, Serialize)]
pub struct OfProperty<T> {
    pub property_id: PropertyId,
    pub item: T,
}

/// All demo data, as flat lists that refer to each other by id, like tables.
#[derive(Debug, Clone, Default, Serialize)]
pub struct DemoData {
    /// The instant the data describes.
    pub now: Timestamp,
    pub tenants: Vec<Tenant>,
    pub properties: Vec<Property>,
    pub room_types: Vec<RoomType>,
    pub rooms: Vec<Room>,
    /// One for each room.
    pub locks: Vec<Lock>,
    pub operators: Vec<Operator>,
    pub reservations: Vec<Reservation>,
    /// One for each guest in house.
    pub folios: Vec<Folio>,
    /// One for each guest in house.
    pub keys: Vec<LockKey>,
    pub allocations: Vec<Allocation>,
    pub blocks: Vec<Block>,
    /// One per room type and night, from [`PAST_DAYS`] back to [`FUTURE_DAYS`] ahead.
    pub nights: Vec<Night>,
    pub room_states: Vec<RoomState>,
    pub tasks: Vec<Task>,
    pub work_orders: Vec<OfProperty<WorkOrder>>,
    pub departments: Vec<Department>,
    pub positions: Vec<Position>,
    pub staff: Vec<StaffMember>,
    pub shifts: Vec<Shift>,
    pub assignments: Vec<Assignment>,
    pub clock_entries: Vec<ClockEntry>,
    pub alerts: Vec<OfProperty<Alert>>,
    pub suggestions: Vec<OfProperty<Suggestion>>,
}

impl DemoData {
    /// Computes the data for `now`. Each property has its own local date.
    pub fn at(now: Timestamp) -> Self {
        let (mut demo, properties) = properties::build();
        demo.now = now;
        demo.operators = operators::build(&demo.tenants, &properties);
        demo.positions = demo.tenants.iter().flat_map(staff::positions).collect();
        for property in properties {
            demo.add_property(property);
        }
        demo
    }

    pub fn property(&self, id: PropertyId) -> Option<&Property> {
        self.properties.iter().find(|property| property.id == id)
    }

    pub fn operator(&self, id: OperatorId) -> Option<&Operator> {
        self.operators.iter().find(|operator| operator.id == id)
    }

    pub fn room(&self, id: RoomId) -> Option<&Room> {
        self.rooms.iter().find(|room| room.id == id)
    }

    pub fn lock(&self, id: LockDeviceId) -> Option<&Lock> {
        self.locks.iter().find(|lock| lock.id == id)
    }

    pub fn rooms_of(&self, property: PropertyId) -> impl Iterator<Item = &Room> {
        self.rooms.iter().filter(move |room| room.property_id == property)
    }

    pub fn room_types_of(&self, property: PropertyId) -> impl Iterator<Item = &RoomType> {
        self.room_types.iter().filter(move |room_type| room_type.property_id == property)
    }

    pub fn stays_of(&self, property: PropertyId) -> impl Iterator<Item = &Reservation> {
        self.reservations.iter().filter(move |stay| stay.property_id == property)
    }

    fn add_property(&mut self, property: Property) {
        let stays_by_room = self.stays_by_room(&property);
        self.add_staff_and_tasks(&property, &stays_by_room);
        let stays: Vec<_> = stays_by_room.into_iter().flatten().collect();
        let now = self.now;
        self.folios.extend(stays.iter().filter_map(|stay| folios::of_stay(&property, stay, now)));
        self.keys.extend(stays.iter().filter_map(locks::of_stay));
        let locks = self.rooms_of(property.id).map(|room| locks::of_room(&property, room));
        let locks: Vec<_> = locks.collect();
        self.locks.extend(locks);
        self.allocations.extend(stays.iter().map(inventory::allocation));
        self.blocks.extend(inventory::blocks(&property, &self.rooms, self.now));
        let nights = self.room_types_of(property.id).flat_map(|room_type| {
            inventory::nights(&property, room_type, &self.rooms, &stays, self.now)
        });
        let nights: Vec<_> = nights.collect();
        self.nights.extend(nights);
        self.reservations.extend(stays);
        self.alerts.extend(alerts::build(self, &property));
        self.suggestions.extend(suggestions::build(self, &property));
        self.properties.push(property);
    }

    /// The reservations of the property, one list per room.
    fn stays_by_room(&self, property: &Property) -> Vec<Vec<Reservation>> {
        let kind = |room: &Room| {
            let mut types = self.room_types.iter();
            types.find(|kind| kind.id == room.room_type_id).expect("every room has a type")
        };
        self.rooms_of(property.id)
            .map(|room| reservations::of_room(property, kind(room), room, self.now))
            .collect()
    }

    /// Adds staff first, because tasks are assigned to people on shift.
    fn add_staff_and_tasks(&mut self, property: &Property, stays_by_room: &[Vec<Reservation>]) {
        let rooms: Vec<_> = self.rooms_of(property.id).cloned().collect();
        let staffing = staff::build(property, rooms.len(), self.now);
        let planner = housekeeping::RoomPlanner { property, staffing: &staffing, now: self.now };
        for (room, stays) in rooms.iter().zip(stays_by_room) {
            let (state, task) = planner.room(room, &stays.iter().collect::<Vec<_>>());
            self.room_states.push(state);
            self.tasks.extend(task);
        }
        self.work_orders.extend(maintenance::build(property, &rooms, &staffing, self.now));
        self.departments.extend(staffing.departments);
        self.staff.extend(staffing.members);
        self.shifts.extend(staffing.shifts);
        self.assignments.extend(staffing.assignments);
        self.clock_entries.extend(staffing.clock);
    }
}

#[cfg(test)]
mod tests;
