use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use contracts::role::Role;
use contracts::upstream::housekeeping::{RoomStatus, TaskStatus};
use contracts::upstream::maintenance::WorkOrderState;
use contracts::upstream::reservation::ReservationState;

use super::inventory::AllocationState;
use super::staff::Punch;
use super::*;

/// The data every three hours of a week, so that each local hour and weekday is covered, and every ten
/// minutes of the hours in which the properties' days end.
fn moments() -> impl Iterator<Item = &'static DemoData> {
    static SNAPSHOTS: LazyLock<Vec<DemoData>> = LazyLock::new(|| {
        let start: Timestamp = "2026-11-21T00:10:00Z".parse().unwrap();
        let week = (0..56).map(|step| step * 180);
        let midnights = (0..18).map(|step| 18 * 60 + step * 10);
        week.chain(midnights)
            .map(|minutes| DemoData::at(seed::plus_minutes(start, minutes)))
            .collect()
    });
    SNAPSHOTS.iter()
}

fn demo_data() -> DemoData {
    DemoData::at("2026-11-21T09:00:00Z".parse().unwrap())
}

#[test]
fn it_has_two_tenants_three_properties_and_120_rooms() {
    let demo = demo_data();
    assert_eq!((demo.tenants.len(), demo.properties.len(), demo.rooms.len()), (2, 3, 120));
    let zones: Vec<_> = demo.properties.iter().map(|property| property.time_zone).collect();
    assert_eq!(zones, ["Asia/Kabul", "Asia/Dushanbe", "Asia/Tehran"]);
    let numbers: BTreeSet<_> =
        demo.rooms.iter().map(|room| (room.property_id, room.number.clone())).collect();
    assert_eq!(numbers.len(), 120, "two rooms share a number");
}

#[test]
fn every_tenant_has_an_operator_of_every_role_and_no_two_share_a_name() {
    let demo = demo_data();
    for tenant in &demo.tenants {
        let own = || demo.operators.iter().filter(|operator| operator.tenant_id == tenant.id);
        for role in Role::ALL {
            assert!(own().any(|operator| operator.roles.contains(role)), "{role:?}");
        }
        assert!(own().all(|operator| {
            operator
                .property_ids
                .iter()
                .all(|&id| demo.property(id).unwrap().tenant_id == tenant.id)
        }));
    }
    let names: BTreeSet<_> = demo.operators.iter().map(|operator| &operator.username).collect();
    let devices: BTreeSet<_> = demo.operators.iter().map(|operator| operator.device_id).collect();
    assert_eq!((names.len(), devices.len()), (demo.operators.len(), demo.operators.len()));
}

#[test]
fn data_is_the_same_on_every_run_and_a_day_later() {
    let today = demo_data();
    assert_eq!(serde_json::to_value(&today).unwrap(), serde_json::to_value(demo_data()).unwrap());
    let tomorrow = DemoData::at(seed::plus_minutes(today.now, 24 * 60));
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
    let demo = demo_data();
    unique(demo.reservations.iter().map(|stay| stay.id));
    unique(demo.reservations.iter().map(|stay| &stay.code));
    unique(demo.allocations.iter().map(|allocation| allocation.id));
    unique(demo.tasks.iter().map(|task| task.id));
    unique(demo.locks.iter().map(|lock| lock.id));
    unique(demo.keys.iter().map(|key| key.key_credential_id));
    unique(demo.staff.iter().map(|member| member.id));
    unique(demo.shifts.iter().map(|shift| shift.id));
    unique(demo.assignments.iter().map(|assignment| assignment.id));
    unique(demo.clock_entries.iter().map(|entry| entry.id));
    unique(demo.alerts.iter().map(|one| one.item.alert_id));
    unique(demo.departments.iter().map(|department| department.id));
    unique(demo.positions.iter().map(|position| position.id));
}

#[test]
fn no_room_is_given_twice_for_a_night() {
    for demo in moments() {
        let mut taken = BTreeSet::new();
        for stay in demo.reservations.iter().filter(|stay| stay.is_live()) {
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
fn nights_agree_with_the_allocations_and_never_oversells() {
    let demo = demo_data();
    let mut sold = BTreeMap::new();
    for allocation in &demo.allocations {
        let state = allocation.state;
        if matches!(state, AllocationState::Released | AllocationState::Expired) {
            continue;
        }
        let mut night = allocation.check_in;
        while night < allocation.check_out {
            let (held, committed) = sold.entry((allocation.room_type_id, night)).or_insert((0, 0));
            *(if state == AllocationState::Held { held } else { committed }) += 1;
            night = seed::plus_days(night, 1);
        }
    }
    assert_eq!(demo.nights.len() as i64, 11 * (PAST_DAYS + FUTURE_DAYS));
    for night in &demo.nights {
        let expected = sold.get(&(night.room_type_id, night.date)).copied().unwrap_or_default();
        assert_eq!((night.held, night.committed), expected);
        assert!(night.held + night.committed + night.oos_blocked <= night.total);
    }
    let share = |f: fn(&Night) -> u32| demo.nights.iter().map(f).map(f64::from).sum::<f64>();
    let full = share(|night| night.committed + night.held) / share(|night| night.total);
    assert!((0.55..0.9).contains(&full), "{full} of the rooms are sold");
}

#[test]
fn every_moment_has_guests_work_and_people_on_duty() {
    for demo in moments() {
        for property in &demo.properties {
            let today = property.today(demo.now);
            let stays = || demo.stays_of(property.id).filter(|stay| stay.is_live());
            let arrivals = stays()
                .filter(|stay| stay.check_in == today && stay.state == ReservationState::Confirmed);
            assert!(arrivals.count() >= 5, "fewer than five can check in at {}", demo.now);
            assert!(stays().any(|stay| stay.check_out == today), "nobody leaves at {}", demo.now);
            assert!(stays().filter(|stay| stay.is_in_house()).count() > 5);
            let present = |punch| {
                let own = demo.clock_entries.iter().filter(|e| e.property_id == property.id);
                own.filter(|entry| entry.punch == punch).count()
            };
            assert!(present(Punch::In) > present(Punch::Out), "nobody on duty at {}", demo.now);
            assert!(demo.tasks.iter().any(|task| task.property_id == property.id));
        }
    }
}

#[test]
fn rooms_tasks_and_guests_are_consistent() {
    for demo in moments() {
        assert_eq!(demo.room_states.len(), demo.rooms.len());
        let states: BTreeMap<_, _> =
            demo.room_states.iter().map(|state| (state.room_id, state)).collect();
        for state in &demo.room_states {
            let guests = demo.reservations.iter();
            let guests = guests.filter(|s| s.room_id == Some(state.room_id) && s.is_in_house());
            assert_eq!(guests.count(), usize::from(state.occupied), "room {}", state.room_id);
            assert!(state.since <= demo.now, "a state from the future");
        }
        for task in &demo.tasks {
            assert!(task.created_at <= demo.now);
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
fn a_guest_in_house_has_a_room_and_a_held_one_has_none() {
    for demo in moments() {
        for stay in &demo.reservations {
            match stay.state {
                ReservationState::CheckedIn | ReservationState::InHouse => {
                    assert!(stay.room_id.is_some());
                    assert!(stay.arrives_at <= demo.now && demo.now < stay.leaves_at);
                }
                ReservationState::Held => assert!(stay.room_id.is_none()),
                _ => {}
            }
        }
    }
}

#[test]
fn nobody_is_planned_twice_at_once() {
    let demo = demo_data();
    let mut by_person: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for assignment in &demo.assignments {
        let plan = by_person.entry(assignment.staff_id).or_default();
        plan.push((assignment.starts_at, assignment.ends_at));
    }
    for plan in by_person.values_mut() {
        plan.sort_unstable();
        assert!(plan.windows(2).all(|pair| pair[0].1 <= pair[1].0));
    }
}

#[test]
fn every_guest_in_house_has_one_folio_and_has_paid_something() {
    for demo in moments() {
        let guests: Vec<_> = demo.reservations.iter().filter(|stay| stay.is_in_house()).collect();
        assert_eq!(demo.folios.len(), guests.len());
        let ids: BTreeSet<_> = demo.folios.iter().map(|folio| folio.id).collect();
        assert_eq!(ids.len(), guests.len());
        for (folio, guest) in demo.folios.iter().zip(guests) {
            assert_eq!((folio.reservation_id, folio.tenant_id), (guest.id, guest.tenant_id));
            assert!(folio.paid().amount_micro > 0 && folio.charged().amount_micro > 0);
            assert!(folio.charged().amount_micro <= guest.total.amount_micro);
            assert_eq!((*folio.charges[0].date, folio.due_on), (guest.check_in, guest.check_out));
            assert!(folio.charges.iter().all(|charge| *charge.date < guest.check_out));
        }
    }
}

#[test]
fn work_orders_are_of_the_past_and_those_that_close_a_room_are_pending() {
    let mut states = BTreeSet::new();
    for demo in moments() {
        let orders = || demo.work_orders.iter().map(|one| &one.item);
        unique(orders().map(|order| order.work_order_id));
        for order in orders() {
            assert!(order.reported_at <= order.since && *order.since <= demo.now, "{order:?}");
            let taken = order.state.is_pending() && order.state != WorkOrderState::Open;
            assert!(!taken || order.assigned_to.is_some(), "{order:?}");
            states.insert(order.state);
        }
        for room in demo.rooms.iter().filter(|room| room.closed.is_some()) {
            let why = orders().find(|order| order.room_id == Some(room.id)).unwrap();
            assert!(why.state.is_pending() && *why.due_at > demo.now);
            assert_eq!(why.room_out_of_order, room.closed == Some(properties::Closed::OutOfOrder));
        }
    }
    let all: BTreeSet<_> = WorkOrderState::ALL.iter().copied().collect();
    assert_eq!(states, all, "a state is never seen");
}

#[test]
fn there_is_advice_at_every_moment_and_none_of_it_has_expired() {
    let mut kinds = BTreeSet::new();
    for demo in moments() {
        unique(demo.suggestions.iter().map(|one| one.item.suggestion_id));
        assert!(demo.suggestions.iter().all(|one| *one.item.expires_at > demo.now));
        for property in &demo.properties {
            let own = || demo.suggestions.iter().filter(|one| one.property_id == property.id);
            assert!((1..25).contains(&own().count()), "{} pieces of advice", own().count());
            assert!(own().is_sorted_by(|a, b| a.item.confidence >= b.item.confidence));
            kinds.extend(own().map(|one| format!("{:?}", one.item.kind)));
        }
    }
    assert_eq!(kinds.len(), 3, "{kinds:?}");
}

#[test]
fn every_room_has_a_lock_and_every_guest_in_house_a_key_to_it() {
    let demo = demo_data();
    assert!(demo.rooms.iter().all(|room| demo.locks.iter().any(|one| one.room_id == room.id)));
    assert_eq!(demo.locks.len(), demo.rooms.len());
    let guests: Vec<_> = demo.reservations.iter().filter(|stay| stay.is_in_house()).collect();
    assert_eq!(demo.keys.len(), guests.len());
    for (key, guest) in demo.keys.iter().zip(guests) {
        assert_eq!((key.reservation_id, key.room_ids.first()), (guest.id, guest.room_id.as_ref()));
        assert!(demo.lock(key.lock_id).is_some_and(|lock| Some(lock.room_id) == guest.room_id));
    }
}
