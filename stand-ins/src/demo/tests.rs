use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use contracts::role::Role;
use contracts::upstream::housekeeping::{RoomStatus, TaskStatus};
use contracts::upstream::maintenance::WorkOrderState;
use contracts::upstream::reservation::ReservationState;

use super::staff::Punch;
use super::*;

/// The house every three hours of a week, so that each local hour and weekday is seen.
fn moments() -> impl Iterator<Item = &'static House> {
    static HOUSES: LazyLock<Vec<House>> = LazyLock::new(|| {
        let start: Timestamp = "2026-11-21T00:10:00Z".parse().unwrap();
        (0..56).map(|step| House::at(seed::plus_minutes(start, step * 180))).collect()
    });
    HOUSES.iter()
}

fn house() -> House {
    House::at("2026-11-21T09:00:00Z".parse().unwrap())
}

#[test]
fn it_has_two_tenants_three_properties_and_120_rooms() {
    let house = house();
    assert_eq!((house.tenants.len(), house.properties.len(), house.rooms.len()), (2, 3, 120));
    let zones: Vec<_> = house.properties.iter().map(|property| property.time_zone).collect();
    assert_eq!(zones, ["Asia/Kabul", "Asia/Dushanbe", "Asia/Tehran"]);
    let doors: BTreeSet<_> =
        house.rooms.iter().map(|room| (room.property_id, room.number.clone())).collect();
    assert_eq!(doors.len(), 120, "two rooms share a number");
}

#[test]
fn every_tenant_has_an_operator_of_every_role_and_no_two_share_a_name() {
    let house = house();
    for tenant in &house.tenants {
        let own = || house.operators.iter().filter(|operator| operator.tenant_id == tenant.id);
        for role in Role::ALL {
            assert!(own().any(|operator| operator.roles.contains(&role)), "{role:?}");
        }
        assert!(own().all(|operator| {
            operator
                .property_ids
                .iter()
                .all(|&id| house.property(id).unwrap().tenant_id == tenant.id)
        }));
    }
    let names: BTreeSet<_> = house.operators.iter().map(|operator| &operator.username).collect();
    let devices: BTreeSet<_> = house.operators.iter().map(|operator| operator.device_id).collect();
    assert_eq!((names.len(), devices.len()), (house.operators.len(), house.operators.len()));
}

#[test]
fn it_is_the_same_on_every_run_and_the_same_house_a_day_later() {
    let today = house();
    assert_eq!(serde_json::to_value(&today).unwrap(), serde_json::to_value(house()).unwrap());
    let tomorrow = House::at(seed::plus_minutes(today.now, 24 * 60));
    let later: BTreeMap<_, _> = tomorrow.reservations.iter().map(|stay| (stay.id, stay)).collect();
    let edge = seed::plus_days(today.properties[0].today(today.now), 1 - PAST_DAYS);
    for stay in today.reservations.iter().filter(|stay| stay.check_out > edge) {
        let same = later.get(&stay.id).unwrap_or_else(|| panic!("{} is gone", stay.code));
        assert_eq!((same.check_in, same.check_out), (stay.check_in, stay.check_out));
        assert_eq!((&same.guest_name, &same.code), (&stay.guest_name, &stay.code));
    }
}

fn unique<T: Ord>(mut ids: impl Iterator<Item = T>) {
    let mut seen = BTreeSet::new();
    assert!(ids.all(|id| seen.insert(id)));
}

#[test]
fn ids_are_unique_within_their_kind() {
    let house = house();
    unique(house.reservations.iter().map(|stay| stay.id));
    unique(house.reservations.iter().map(|stay| &stay.code));
    unique(house.allocations.iter().map(|allocation| allocation.id));
    unique(house.tasks.iter().map(|task| task.id));
    unique(house.locks.iter().map(|lock| lock.id));
    unique(house.keys.iter().map(|key| key.id));
    unique(house.staff.iter().map(|member| member.id));
    unique(house.shifts.iter().map(|shift| shift.id));
    unique(house.assignments.iter().map(|assignment| assignment.id));
    unique(house.clock_entries.iter().map(|entry| entry.id));
    unique(house.alerts.iter().map(|alert| alert.id));
    unique(house.departments.iter().map(|department| department.id));
    unique(house.positions.iter().map(|position| position.id));
}

#[test]
fn no_room_is_given_twice_for_a_night() {
    for house in moments() {
        let mut taken = BTreeSet::new();
        for stay in house.reservations.iter().filter(|stay| stay.is_live()) {
            let Some(room) = stay.room_id else { continue };
            let mut night = stay.check_in;
            while night < stay.check_out {
                assert!(taken.insert((room, night)), "{room} on {night}");
                night = seed::plus_days(night, 1);
            }
        }
    }
}

#[test]
fn the_ledger_of_nights_agrees_with_the_allocations_and_never_oversells() {
    let house = house();
    let mut sold = BTreeMap::new();
    for allocation in &house.allocations {
        let state = allocation.state.name();
        if matches!(state, "released" | "expired") {
            continue;
        }
        let mut night = allocation.check_in;
        while night < allocation.check_out {
            let (held, committed) = sold.entry((allocation.room_type_id, night)).or_insert((0, 0));
            *(if state == "held" { held } else { committed }) += 1;
            night = seed::plus_days(night, 1);
        }
    }
    assert_eq!(house.nights.len() as i64, 11 * (PAST_DAYS + FUTURE_DAYS));
    for night in &house.nights {
        let expected = sold.get(&(night.room_type_id, night.date)).copied().unwrap_or_default();
        assert_eq!((night.held, night.committed), expected);
        assert!(night.held + night.committed + night.oos_blocked <= night.total);
    }
    let share = |f: fn(&Night) -> u32| house.nights.iter().map(f).map(f64::from).sum::<f64>();
    let full = share(|night| night.committed + night.held) / share(|night| night.total);
    assert!((0.55..0.9).contains(&full), "{full} of the house is sold");
}

#[test]
fn every_moment_has_guests_work_and_people_on_duty() {
    for house in moments() {
        for property in &house.properties {
            let today = property.today(house.now);
            let stays = || house.stays_of(property.id).filter(|stay| stay.is_live());
            assert!(stays().any(|stay| stay.check_in == today), "nobody arrives at {}", house.now);
            assert!(stays().any(|stay| stay.check_out == today), "nobody leaves at {}", house.now);
            assert!(stays().filter(|stay| stay.is_in_house()).count() > 5);
            let present = |punch| {
                let own = house.clock_entries.iter().filter(|e| e.property_id == property.id);
                own.filter(|entry| entry.punch == punch).count()
            };
            assert!(present(Punch::In) > present(Punch::Out), "nobody on duty at {}", house.now);
            assert!(house.tasks.iter().any(|task| task.property_id == property.id));
        }
    }
}

#[test]
fn rooms_tasks_and_guests_tell_the_same_story() {
    for house in moments() {
        assert_eq!(house.room_states.len(), house.rooms.len());
        let states: BTreeMap<_, _> =
            house.room_states.iter().map(|state| (state.room_id, state)).collect();
        for state in &house.room_states {
            let guests = house.reservations.iter();
            let guests = guests.filter(|s| s.room_id == Some(state.room_id) && s.is_in_house());
            assert_eq!(guests.count(), usize::from(state.occupied), "room {}", state.room_id);
            assert!(state.since <= house.now, "a state from the future");
        }
        for task in &house.tasks {
            assert!(task.created_at <= house.now);
            let status = states[&task.room_id].status;
            match task.status {
                TaskStatus::InProgress | TaskStatus::Paused => {
                    assert_eq!(status, RoomStatus::Cleaning);
                    assert!(task.started_at.is_some() && task.assigned_to.is_some());
                }
                TaskStatus::Completed => {
                    assert!(!matches!(status, RoomStatus::Dirty | RoomStatus::Cleaning));
                }
                _ => assert!(task.started_at.is_none()),
            }
        }
    }
}

#[test]
fn a_guest_in_the_house_has_a_room_and_a_held_one_has_none() {
    for house in moments() {
        for stay in &house.reservations {
            match stay.state {
                ReservationState::CheckedIn | ReservationState::InHouse => {
                    assert!(stay.room_id.is_some());
                    assert!(stay.arrives_at <= house.now && house.now < stay.leaves_at);
                }
                ReservationState::Held => assert!(stay.room_id.is_none()),
                _ => {}
            }
        }
    }
}

#[test]
fn nobody_is_planned_twice_at_once() {
    let house = house();
    let mut by_person: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for assignment in &house.assignments {
        let plan = by_person.entry(assignment.staff_id).or_default();
        plan.push((assignment.starts_at, assignment.ends_at));
    }
    for plan in by_person.values_mut() {
        plan.sort_unstable();
        assert!(plan.windows(2).all(|pair| pair[0].1 <= pair[1].0));
    }
}

#[test]
fn every_guest_in_the_house_has_one_folio_and_has_paid_something() {
    for house in moments() {
        let guests: Vec<_> = house.reservations.iter().filter(|stay| stay.is_in_house()).collect();
        assert_eq!(house.folios.len(), guests.len());
        let ids: BTreeSet<_> = house.folios.iter().map(|folio| folio.id).collect();
        assert_eq!(ids.len(), guests.len());
        for (folio, guest) in house.folios.iter().zip(guests) {
            assert_eq!((folio.reservation_id, folio.tenant_id), (guest.id, guest.tenant_id));
            assert!(folio.paid().amount_micro > 0 && folio.charged().amount_micro > 0);
            assert!(folio.charged().amount_micro <= guest.total.amount_micro);
            assert_eq!((folio.charges[0].date, folio.due_on), (guest.check_in, guest.check_out));
            assert!(folio.charges.iter().all(|charge| charge.date < guest.check_out));
        }
    }
}

#[test]
fn work_orders_are_of_the_past_and_those_that_close_a_room_are_pending() {
    let mut states = BTreeSet::new();
    for house in moments() {
        unique(house.work_orders.iter().map(|order| order.id));
        for order in &house.work_orders {
            assert!(order.reported_at <= order.since && order.since <= house.now, "{order:?}");
            let taken = order.state.is_pending() && order.state != WorkOrderState::Open;
            assert!(!taken || order.assigned_to.is_some(), "{order:?}");
            states.insert(order.state);
        }
        for room in house.rooms.iter().filter(|room| room.closed.is_some()) {
            let why =
                house.work_orders.iter().find(|order| order.room_id == Some(room.id)).unwrap();
            assert!(why.state.is_pending() && why.due_at > house.now);
            assert_eq!(why.room_out_of_order, room.closed == Some(places::Closed::OutOfOrder));
        }
    }
    assert_eq!(states, BTreeSet::from(WorkOrderState::ALL), "a state is never seen");
}

#[test]
fn there_is_advice_at_every_moment_and_none_of_it_has_expired() {
    let mut kinds = BTreeSet::new();
    for house in moments() {
        unique(house.suggestions.iter().map(|suggestion| suggestion.id));
        assert!(house.suggestions.iter().all(|it| it.advice.expires_at > house.now));
        for property in &house.properties {
            let own = || house.suggestions.iter().filter(|it| it.property_id == property.id);
            assert!((1..25).contains(&own().count()), "{} pieces of advice", own().count());
            assert!(own().is_sorted_by(|a, b| a.advice.confidence >= b.advice.confidence));
            kinds.extend(own().map(|suggestion| format!("{:?}", suggestion.advice.kind)));
        }
    }
    assert_eq!(kinds.len(), 3, "{kinds:?}");
}

#[test]
fn every_room_has_a_lock_and_every_guest_in_the_house_a_key_to_it() {
    let house = house();
    assert!(house.rooms.iter().all(|room| house.locks.iter().any(|it| it.room_id == room.id)));
    assert_eq!(house.locks.len(), house.rooms.len());
    let guests: Vec<_> = house.reservations.iter().filter(|stay| stay.is_in_house()).collect();
    assert_eq!(house.keys.len(), guests.len());
    for (key, guest) in house.keys.iter().zip(guests) {
        assert_eq!((key.reservation_id, Some(key.room_id)), (guest.id, guest.room_id));
    }
}
