//! Rows: each stay with what the columns know of it.

use std::collections::HashMap;

use contracts::dashboard::WidgetStatus;
use contracts::id::{ReservationId, RoomId, WorkbenchViewId};
use contracts::upstream::billing::{Balances, FolioBalance};
use contracts::upstream::housekeeping::{RoomStatus, RoomStatuses};
use contracts::upstream::lock::{LockKey, LockKeys};
use contracts::upstream::reservation::{ReservationState, Stay, Stays};
use contracts::workbench::{
    Columns, DayCounts, Part, StayKey, StaysView, TodayView, View, WorkbenchRow,
};

use super::{Account, Viewed};
use crate::compose::Told;

/// All that a view is made of.
#[derive(Debug)]
pub(super) struct Parts {
    /// At least one, of one property and day.
    pub(super) lists: Vec<(Stays, Account)>,
    pub(super) rooms: (Option<RoomStatuses>, Account),
    pub(super) balances: (Option<Balances>, Account),
    pub(super) keys: (Option<LockKeys>, Account),
}

impl Parts {
    pub(super) fn stays_view(self, id: WorkbenchViewId) -> Viewed<StaysView> {
        let (view, told, beside) = (self.view(id), self.told(), Beside::of(&self));
        let items = self.lists.into_iter().flat_map(|(stays, _)| beside.rows(stays.items));
        Viewed { view: StaysView { view, items: items.collect(), next_cursor: None }, told }
    }

    /// Of arrivals, departures and those in the house, in this order.
    pub(super) fn today_view(self, id: WorkbenchViewId) -> Viewed<TodayView> {
        let (view, told, beside) = (self.view(id), self.told(), Beside::of(&self));
        let mut lists = self.lists.into_iter().map(|(stays, _)| beside.rows(stays.items));
        let mut next = || lists.next().unwrap_or_default();
        let (arrivals, departures, in_house) = (next(), next(), next());
        let counts = counts(&arrivals, &departures, &in_house);
        Viewed { view: TodayView { view, counts, arrivals, departures, in_house }, told }
    }

    fn view(&self, id: WorkbenchViewId) -> View {
        let columns = Columns {
            room_status: self.rooms.1.part(),
            balance: self.balances.1.part(),
            keys: self.keys.1.part(),
        };
        let oldest = self.lists.iter().min_by_key(|(stays, _)| stays.as_of);
        let (stays, _) = oldest.expect("a view has a list");
        View {
            id,
            property_id: stays.property_id,
            date: stays.date,
            as_of: stays.as_of,
            partial: self.accounts().any(|account| is_lacking(account.part().status)),
            stays: self.worst_list(),
            columns,
        }
    }

    /// How the lists are, taken together: as the oldest of those that are not fresh.
    fn worst_list(&self) -> Part {
        let parts = self.lists.iter().map(|(_, account)| account.part());
        parts.max_by_key(|part| part.age_ms).expect("a view has a list")
    }

    fn accounts(&self) -> impl Iterator<Item = &Account> {
        let lists = self.lists.iter().map(|(_, account)| account);
        lists.chain([&self.rooms.1, &self.balances.1, &self.keys.1])
    }

    fn told(&self) -> Vec<Told> {
        self.accounts().map(Account::told).collect()
    }
}

fn is_lacking(status: WidgetStatus) -> bool {
    matches!(status, WidgetStatus::Stale | WidgetStatus::Unavailable)
}

fn counts(
    arrivals: &[WorkbenchRow],
    departures: &[WorkbenchRow],
    in_house: &[WorkbenchRow],
) -> DayCounts {
    let count = |rows: &[WorkbenchRow], test: fn(ReservationState) -> bool| {
        rows.iter().filter(|row| test(row.stay.state)).count()
    };
    DayCounts {
        arrivals: arrivals.len(),
        arrived: count(arrivals, ReservationState::has_arrived),
        departures: departures.len(),
        departed: count(departures, |state| state == ReservationState::CheckedOut),
        in_house: in_house.len(),
    }
}

/// What the columns know, by what a stay has.
struct Beside {
    rooms: HashMap<RoomId, RoomStatus>,
    folios: HashMap<ReservationId, FolioBalance>,
    /// None when nobody knows of keys: a stay without one is another thing.
    keys: Option<HashMap<ReservationId, Vec<StayKey>>>,
}

impl Beside {
    fn of(parts: &Parts) -> Self {
        let rooms = parts.rooms.0.iter().flat_map(|it| &it.rooms);
        let folios = parts.balances.0.iter().flat_map(|it| &it.items);
        Self {
            rooms: rooms.map(|room| (room.room_id, room.status)).collect(),
            folios: folios.map(|folio| (folio.reservation_id, folio.clone())).collect(),
            keys: parts.keys.0.as_ref().map(keys),
        }
    }

    fn rows(&self, stays: Vec<Stay>) -> Vec<WorkbenchRow> {
        stays.into_iter().map(|stay| self.row(stay)).collect()
    }

    fn row(&self, stay: Stay) -> WorkbenchRow {
        let of = stay.reservation_id;
        let folio = self.folios.get(&of);
        WorkbenchRow {
            room_status: stay.room_id.and_then(|room| self.rooms.get(&room).copied()),
            folio_id: folio.map(|folio| folio.folio_id),
            balance: folio.map(|folio| folio.balance.clone()),
            keys: self.keys.as_ref().map(|keys| keys.get(&of).cloned().unwrap_or_default()),
            stay,
        }
    }
}

fn keys(all: &LockKeys) -> HashMap<ReservationId, Vec<StayKey>> {
    let mut by_stay = HashMap::<_, Vec<_>>::new();
    for key in &all.items {
        let LockKey { key_credential_id, lock_id, kind, valid_until, .. } = *key;
        let shown = StayKey { key_credential_id, lock_id, kind, valid_until };
        by_stay.entry(key.reservation_id).or_default().push(shown);
    }
    by_stay
}
