//! Builds the rows of a view: each stay with the data of its columns.

use std::collections::HashMap;

use contracts::id::{ReservationId, RoomId, WorkbenchViewId};
use contracts::upstream::billing::{Balances, FolioBalance};
use contracts::upstream::housekeeping::{RoomStatus, RoomStatuses};
use contracts::upstream::lock::{LockKey, LockKeys};
use contracts::upstream::reservation::{ReservationState, Stay, Stays};
use contracts::workbench::{
    Columns, DayCounts, Part, StayKey, StaysView, TodayView, View, WorkbenchRow,
};

use crate::provenance::Provenance;
use crate::result::{WidgetOrigin, is_degraded};

/// A view and the origin of its parts.
#[derive(Debug)]
pub struct ComposedView<T> {
    pub view: T,
    pub origins: Vec<WidgetOrigin>,
}

/// The data a view is built from.
#[derive(Debug)]
pub(super) struct ViewParts {
    /// At least one; all of one property and day.
    pub(super) lists: Vec<(Stays, Provenance)>,
    pub(super) rooms: (Option<RoomStatuses>, Provenance),
    pub(super) balances: (Option<Balances>, Provenance),
    pub(super) keys: (Option<LockKeys>, Provenance),
}

impl ViewParts {
    pub(super) fn stays_view(self, id: WorkbenchViewId) -> ComposedView<StaysView> {
        let (view, origins, columns) = (self.view(id), self.origins(), ColumnIndex::of(&self));
        let items = self.lists.into_iter().flat_map(|(stays, _)| columns.rows(stays.items));
        ComposedView {
            view: StaysView { view, items: items.collect(), next_cursor: None },
            origins,
        }
    }

    /// Expects the lists in the order arrivals, departures, in house.
    pub(super) fn today_view(self, id: WorkbenchViewId) -> ComposedView<TodayView> {
        let (view, origins, columns) = (self.view(id), self.origins(), ColumnIndex::of(&self));
        let mut lists = self.lists.into_iter().map(|(stays, _)| columns.rows(stays.items));
        let mut next = || lists.next().unwrap_or_default();
        let (arrivals, departures, in_house) = (next(), next(), next());
        let counts = counts(&arrivals, &departures, &in_house);
        ComposedView { view: TodayView { view, counts, arrivals, departures, in_house }, origins }
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
            partial: self.provenances().any(|provenance| is_degraded(provenance.part().status)),
            stays: self.worst_list(),
            columns,
        }
    }

    /// The status of all lists together: that of the oldest stale one.
    fn worst_list(&self) -> Part {
        let parts = self.lists.iter().map(|(_, provenance)| provenance.part());
        parts.max_by_key(|part| part.age_ms).expect("a view has a list")
    }

    fn provenances(&self) -> impl Iterator<Item = &Provenance> {
        let lists = self.lists.iter().map(|(_, provenance)| provenance);
        lists.chain([&self.rooms.1, &self.balances.1, &self.keys.1])
    }

    fn origins(&self) -> Vec<WidgetOrigin> {
        self.provenances().map(Provenance::origin).collect()
    }
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

/// Column data, indexed by the ids of a stay.
struct ColumnIndex {
    rooms: HashMap<RoomId, RoomStatus>,
    folios: HashMap<ReservationId, FolioBalance>,
    /// `None` when the keys are unknown, as opposed to a stay without keys.
    keys: Option<HashMap<ReservationId, Vec<StayKey>>>,
}

impl ColumnIndex {
    fn of(parts: &ViewParts) -> Self {
        let rooms = parts.rooms.0.iter().flat_map(|statuses| &statuses.rooms);
        let folios = parts.balances.0.iter().flat_map(|balances| &balances.items);
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
