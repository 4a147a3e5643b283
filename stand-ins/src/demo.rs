//! The demo house: two tenants with three hotels, their guests, staff and rooms at one moment.
//! A pure function of that moment, written by hand and by arithmetic; nobody in it is real.
//!
//! Ids and reservations do not depend on the moment it is made for, only states do: a house made
//! tomorrow is the same house one day later. The launcher's seed writes it into the databases of
//! inventory, housekeeping and staff; the stand-ins serve the rest from it.
//!
//! Not here: any I/O, and any change after the moment.

pub mod alerts;
pub mod desktops;
pub mod folios;
pub mod housekeeping;
pub mod inventory;
pub mod locks;
pub mod maintenance;
mod names;
pub mod operators;
pub mod places;
pub mod rates;
mod seed;
pub mod staff;
pub mod stays;
pub mod suggestions;

use contracts::id::{LockDeviceId, PropertyId, RoomId};
use jiff::Timestamp;
use serde::Serialize;

pub use alerts::Alert;
pub use folios::Folio;
pub use housekeeping::{RoomState, Task};
pub use inventory::{Allocation, Block, Night};
pub use locks::{Lock, RoomKey};
pub use maintenance::WorkOrder;
pub use operators::Operator;
pub use places::{Property, Room, RoomType, Tenant};
pub use staff::{Assignment, ClockEntry, Department, Position, Shift, StaffMember};
pub use stays::Reservation;
pub use suggestions::Suggestion;

/// Days of stays and of the ledger before today.
pub const PAST_DAYS: i64 = 7;
/// Days of stays and of the ledger from today on.
pub const FUTURE_DAYS: i64 = 30;

/// Everything, in flat lists that refer to each other by id: the shape of tables.
#[derive(Debug, Clone, Serialize)]
pub struct House {
    /// The moment it shows.
    pub now: Timestamp,
    pub tenants: Vec<Tenant>,
    pub properties: Vec<Property>,
    pub room_types: Vec<RoomType>,
    pub rooms: Vec<Room>,
    /// One for each room.
    pub locks: Vec<Lock>,
    pub operators: Vec<Operator>,
    pub reservations: Vec<Reservation>,
    /// One for each guest in the house.
    pub folios: Vec<Folio>,
    /// One for each guest in the house.
    pub keys: Vec<RoomKey>,
    pub allocations: Vec<Allocation>,
    pub blocks: Vec<Block>,
    /// One per room type and night, from [`PAST_DAYS`] back to [`FUTURE_DAYS`] ahead.
    pub nights: Vec<Night>,
    pub room_states: Vec<RoomState>,
    pub tasks: Vec<Task>,
    pub work_orders: Vec<WorkOrder>,
    pub departments: Vec<Department>,
    pub positions: Vec<Position>,
    pub staff: Vec<StaffMember>,
    pub shifts: Vec<Shift>,
    pub assignments: Vec<Assignment>,
    pub clock_entries: Vec<ClockEntry>,
    pub alerts: Vec<Alert>,
    pub suggestions: Vec<Suggestion>,
}

impl House {
    /// The house as it is at `now`. Each property has its own today.
    pub fn at(now: Timestamp) -> Self {
        let places = places::build();
        let mut house = Self {
            now,
            operators: operators::build(&places.tenants, &places.properties),
            positions: places.tenants.iter().flat_map(staff::positions).collect(),
            tenants: places.tenants,
            room_types: places.room_types,
            rooms: places.rooms,
            properties: Vec::new(),
            locks: Vec::new(),
            reservations: Vec::new(),
            folios: Vec::new(),
            keys: Vec::new(),
            allocations: Vec::new(),
            blocks: Vec::new(),
            nights: Vec::new(),
            room_states: Vec::new(),
            tasks: Vec::new(),
            work_orders: Vec::new(),
            departments: Vec::new(),
            staff: Vec::new(),
            shifts: Vec::new(),
            assignments: Vec::new(),
            clock_entries: Vec::new(),
            alerts: Vec::new(),
            suggestions: Vec::new(),
        };
        for property in places.properties {
            house.open(property);
        }
        house
    }

    pub fn property(&self, id: PropertyId) -> Option<&Property> {
        self.properties.iter().find(|property| property.id == id)
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

    fn open(&mut self, property: Property) {
        let lines = self.lines_of_stays(&property);
        self.work(&property, &lines);
        let stays: Vec<_> = lines.into_iter().flatten().collect();
        let now = self.now;
        self.folios.extend(stays.iter().filter_map(|stay| folios::of_stay(&property, stay, now)));
        self.keys.extend(stays.iter().filter_map(locks::of_stay));
        let doors = self.rooms_of(property.id).map(|room| locks::at_door(&property, room));
        let doors: Vec<_> = doors.collect();
        self.locks.extend(doors);
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

    /// The stays of each room of the property, room by room.
    fn lines_of_stays(&self, property: &Property) -> Vec<Vec<Reservation>> {
        let kind = |room: &Room| {
            let mut types = self.room_types.iter();
            types.find(|kind| kind.id == room.room_type_id).expect("every room has a type")
        };
        self.rooms_of(property.id)
            .map(|room| stays::of_room(property, kind(room), room, self.now))
            .collect()
    }

    /// Staff first: tasks are given to people on shift.
    fn work(&mut self, property: &Property, lines: &[Vec<Reservation>]) {
        let rooms: Vec<_> = self.rooms_of(property.id).cloned().collect();
        let staffing = staff::build(property, rooms.len(), self.now);
        let floor = housekeeping::Floor { property, staffing: &staffing, now: self.now };
        for (room, line) in rooms.iter().zip(lines) {
            let (state, task) = floor.room(room, &line.iter().collect::<Vec<_>>());
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
