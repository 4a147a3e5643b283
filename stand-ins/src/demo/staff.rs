//! Departments, positions, people, shifts, assignments and clock entries.

use contracts::id::{
    AssignmentId, ClockEntryId, DepartmentId, DeviceId, PositionId, PropertyId, ShiftId, StaffId,
    TenantId,
};
use contracts::upstream::staff::ShiftStatus;
use jiff::Timestamp;
use jiff::civil::Date;
use serde::Serialize;

use super::names;
use super::properties::{Property, Tenant};
use super::seed::{self, OPENING_DAY, between, chance, days_between, plus_days, plus_minutes};

/// Shifts are planned from this many days before today …
const SHIFTS_PAST: i64 = 2;
/// … to this many days after it.
const SHIFTS_FUTURE: i64 = 14;

#[derive(Debug, Clone, Serialize)]
pub struct Department {
    pub id: DepartmentId,
    pub tenant_id: TenantId,
    pub property_id: PropertyId,
    pub name: &'static str,
}

/// A job title; shared by all properties of a tenant.
#[derive(Debug, Clone, Serialize)]
pub struct Position {
    pub id: PositionId,
    pub tenant_id: TenantId,
    pub name: &'static str,
}

#[derive(Debug, Clone, Serialize)]
pub struct StaffMember {
    pub id: StaffId,
    pub tenant_id: TenantId,
    pub department_id: DepartmentId,
    pub position_id: PositionId,
    pub display_name: String,
    #[serde(skip)]
    rota: Rota,
    #[serde(skip)]
    turn: i64,
}

/// A shift of one department.
#[derive(Debug, Clone, Serialize)]
pub struct Shift {
    pub id: ShiftId,
    pub tenant_id: TenantId,
    pub property_id: PropertyId,
    pub department_id: DepartmentId,
    /// The local date on which it begins.
    pub date: Date,
    pub starts_at: Timestamp,
    pub ends_at: Timestamp,
    /// People it needs.
    pub required: u32,
    pub status: ShiftStatus,
}

/// A person's primary assignment to a shift.
#[derive(Debug, Clone, Serialize)]
pub struct Assignment {
    pub id: AssignmentId,
    pub tenant_id: TenantId,
    pub shift_id: ShiftId,
    pub staff_id: StaffId,
    pub starts_at: Timestamp,
    pub ends_at: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Punch {
    In,
    Out,
}

/// One punch of the clock.
#[derive(Debug, Clone, Serialize)]
pub struct ClockEntry {
    pub id: ClockEntryId,
    pub tenant_id: TenantId,
    pub property_id: PropertyId,
    pub staff_id: StaffId,
    /// The shared clock beside the staff entrance.
    pub device_id: DeviceId,
    pub punch: Punch,
    pub at: Timestamp,
}

/// A shift of a team: name, first hour, hours.
type Turn = (&'static str, i8, i64);

#[derive(Debug, Clone, Copy)]
enum Rota {
    Office,
    Daytime,
    RoundTheClock,
}

impl Rota {
    fn turns(self) -> &'static [Turn] {
        match self {
            Self::Office => &[("Day", 9, 8)],
            Self::Daytime => &[("Morning", 7, 8), ("Evening", 15, 8)],
            Self::RoundTheClock => &[("Morning", 7, 8), ("Evening", 15, 8), ("Night", 23, 8)],
        }
    }
}

/// Department, position, rota, and people per twelve rooms.
const TEAMS: &[(&str, &str, Rota, usize)] = &[
    ("Front Desk", "Front Desk Manager", Rota::Office, 0),
    ("Front Desk", "Receptionist", Rota::RoundTheClock, 2),
    ("Food and Beverage", "Cook", Rota::Daytime, 1),
    ("Food and Beverage", "Waiter", Rota::Daytime, 1),
    ("Housekeeping", "Housekeeping Supervisor", Rota::Daytime, 1),
    ("Housekeeping", HOUSEKEEPER, Rota::Daytime, 2),
    ("Maintenance", "Maintenance Lead", Rota::Office, 0),
    ("Maintenance", TECHNICIAN, Rota::RoundTheClock, 2),
    ("Management", "General Manager", Rota::Office, 0),
    ("Security", "Guard", Rota::RoundTheClock, 2),
];
const HOUSEKEEPER: &str = "Housekeeper";
const TECHNICIAN: &str = "Technician";

/// The staff of a property, their shifts and clock entries.
#[derive(Debug, Default)]
pub(super) struct Staffing {
    pub(super) departments: Vec<Department>,
    pub(super) members: Vec<StaffMember>,
    pub(super) shifts: Vec<Shift>,
    pub(super) assignments: Vec<Assignment>,
    pub(super) clock: Vec<ClockEntry>,
}

pub(super) fn positions(tenant: &Tenant) -> Vec<Position> {
    TEAMS.iter().map(|&(_, name, ..)| position(tenant.id, name)).collect()
}

fn position(tenant_id: TenantId, name: &'static str) -> Position {
    Position { id: seed::id(OPENING_DAY, &format!("{tenant_id}/{name}")), tenant_id, name }
}

pub(super) fn build(property: &Property, rooms: usize, now: Timestamp) -> Staffing {
    let mut staffing = Staffing { departments: departments(property), ..Staffing::default() };
    for &(department, position, rota, per_dozen) in TEAMS {
        // Two per shift, so that one can have a day off.
        let least = if matches!(rota, Rota::RoundTheClock) { 6 } else { 1 };
        let count = (rooms * per_dozen / 12).max(least);
        let team = (0..count).map(|turn| member(property, department, position, rota, turn));
        staffing.members.extend(team);
    }
    let today = property.today(now);
    for day in -SHIFTS_PAST..=SHIFTS_FUTURE {
        staffing.plan(property, plus_days(today, day), now);
    }
    staffing
}

fn departments(property: &Property) -> Vec<Department> {
    let mut names: Vec<_> = TEAMS.iter().map(|&(name, ..)| name).collect();
    names.dedup();
    let make = |name| Department {
        id: department_id(property, name),
        tenant_id: property.tenant_id,
        property_id: property.id,
        name,
    };
    names.into_iter().map(make).collect()
}

fn department_id(property: &Property, name: &str) -> DepartmentId {
    seed::id(OPENING_DAY, &format!("{}/{name}", property.slug))
}

fn member(
    property: &Property,
    department: &str,
    job: &'static str,
    rota: Rota,
    turn: usize,
) -> StaffMember {
    let label = format!("{}/{job}/{turn}", property.slug);
    let (given, family) = names::local(property.country, &format!("staff/{label}"));
    StaffMember {
        id: seed::id(OPENING_DAY, &label),
        tenant_id: property.tenant_id,
        department_id: department_id(property, department),
        position_id: position(property.tenant_id, job).id,
        display_name: format!("{given} {family}"),
        rota,
        turn: turn as i64,
    }
}

impl StaffMember {
    fn turn(&self) -> Turn {
        let turns = self.rota.turns();
        turns[self.turn as usize % turns.len()]
    }

    /// Everyone has one day off a week; people of the same shift and position have different ones.
    fn works_on(&self, day: Date) -> bool {
        let team = between(&format!("off/{}", self.position_id), 0, 6);
        (2 * self.turn + team + days_between(OPENING_DAY, day)).rem_euclid(7) != 0
    }
}

impl Staffing {
    fn plan(&mut self, property: &Property, day: Date, now: Timestamp) {
        for department in departments(property) {
            let team: Vec<_> = self.team(department.id);
            let mut turns: Vec<_> = team.iter().map(StaffMember::turn).collect();
            turns.sort_by_key(|turn| turn.1);
            turns.dedup();
            for turn in turns {
                let on: Vec<_> = team.iter().filter(|member| member.turn() == turn).collect();
                let shift = shift(property, &department, turn, day, on.len(), now);
                for member in on.into_iter().filter(|member| member.works_on(day)) {
                    self.assignments.push(assignment(&shift, member));
                    self.clock.extend(punches(property, &shift, member, now));
                }
                self.shifts.push(shift);
            }
        }
    }

    fn team(&self, department: DepartmentId) -> Vec<StaffMember> {
        self.members.iter().filter(|member| member.department_id == department).cloned().collect()
    }

    /// The housekeepers whose shift runs at `at`.
    pub(super) fn housekeepers_at(&self, property: &Property, at: Timestamp) -> Vec<StaffId> {
        let job = position(property.tenant_id, HOUSEKEEPER).id;
        let running = self.assignments.iter().filter(|a| a.starts_at <= at && at < a.ends_at);
        let is_housekeeper = |id: &StaffId| {
            self.members.iter().any(|member| member.id == *id && member.position_id == job)
        };
        running.map(|assignment| assignment.staff_id).filter(is_housekeeper).collect()
    }

    pub(super) fn technicians(&self, property: &Property) -> Vec<StaffId> {
        let job = position(property.tenant_id, TECHNICIAN).id;
        let team = self.members.iter().filter(|member| member.position_id == job);
        team.map(|member| member.id).collect()
    }
}

fn shift(
    property: &Property,
    department: &Department,
    turn: Turn,
    date: Date,
    team: usize,
    now: Timestamp,
) -> Shift {
    let (name, hour, hours) = turn;
    let starts_at = seed::instant(date.at(hour, 0, 0, 0), &property.zone());
    let ends_at = plus_minutes(starts_at, hours * 60);
    let status = match now {
        _ if now < starts_at => ShiftStatus::Scheduled,
        _ if now < ends_at => ShiftStatus::InProgress,
        _ => ShiftStatus::Completed,
    };
    Shift {
        id: seed::id(date, &format!("{}/{}/{name}/{date}", property.slug, department.name)),
        tenant_id: property.tenant_id,
        property_id: property.id,
        department_id: department.id,
        date,
        starts_at,
        ends_at,
        // With one day off in seven, a team of five or more plans for one fewer.
        required: (team - team / 5) as u32,
        status,
    }
}

fn assignment(shift: &Shift, member: &StaffMember) -> Assignment {
    Assignment {
        id: seed::id(shift.date, &format!("{}/{}", shift.id, member.id)),
        tenant_id: shift.tenant_id,
        shift_id: shift.id,
        staff_id: member.id,
        starts_at: shift.starts_at,
        ends_at: shift.ends_at,
    }
}

/// Punches in near the start of the shift and out near its end, up to `now`. A few people are absent.
fn punches(
    property: &Property,
    shift: &Shift,
    member: &StaffMember,
    now: Timestamp,
) -> Vec<ClockEntry> {
    let label = format!("{}/{}", shift.id, member.id);
    if chance(&format!("absent/{label}"), 4) {
        return Vec::new();
    }
    let come = plus_minutes(shift.starts_at, between(&format!("in/{label}"), -9, 12));
    let go = plus_minutes(shift.ends_at, between(&format!("out/{label}"), -3, 15));
    let entry = |punch, name, at| ClockEntry {
        id: seed::id(shift.date, &format!("{label}/{name}")),
        tenant_id: shift.tenant_id,
        property_id: shift.property_id,
        staff_id: member.id,
        device_id: seed::id(OPENING_DAY, &format!("{}/clock", property.slug)),
        punch,
        at,
    };
    let both = [entry(Punch::In, "in", come), entry(Punch::Out, "out", go)];
    both.into_iter().filter(|entry| entry.at <= now).collect()
}
