//! Composes the workbench: the stays of a day with columns from other services. The stays are
//! required; a column that fails is left out, with the reason.
//!
//! Parts share their snapshots with the dashboard's widgets, but have a freshness of their own.

mod provenance;
mod rows;
#[cfg(test)]
mod tests;

use std::time::Duration;

use contracts::id::{PropertyId, TenantId};
use contracts::role::RoleSet;
use contracts::upstream::reservation::Stays;
use contracts::workbench::{StaysView, TodayView};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join3, try_join, try_join_all};
use jiff::civil::Date;
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use upstream_clients::CallContext;

use crate::compose::Composer;
use crate::fetch::FetchResult;
use crate::read_policies::{self, ReadPolicy};
use crate::snapshots::{Key, ReadError, Reading, Snapshots};
use crate::widgets::Fetch;

use provenance::Provenance;
pub use rows::ComposedView;
use rows::ViewParts;

/// Columns are optional: a view waits for them this long, counted from the receipt of the request.
const COLUMN_TIMEOUT: Duration = Duration::from_millis(300);

/// Maximum age of a part before it is fetched again (gateway-api section 4).
const VIEW_FRESHNESS: Duration = Duration::from_secs(15);

const fn view_policy(policy: &ReadPolicy) -> ReadPolicy {
    ReadPolicy { fresh: VIEW_FRESHNESS, ..*policy }
}

static ARRIVALS: ReadPolicy = view_policy(&read_policies::ARRIVALS);
static DEPARTURES: ReadPolicy = view_policy(&read_policies::DEPARTURES);
static IN_HOUSE: ReadPolicy = view_policy(&read_policies::IN_HOUSE);
static ROOM_STATUSES: ReadPolicy = view_policy(&read_policies::ROOM_STATUS);
static BALANCES: ReadPolicy = view_policy(&read_policies::BALANCES);
static LOCK_KEYS: ReadPolicy = view_policy(&read_policies::LOCK_KEYS);

/// The lists of a day's stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum List {
    Arrivals,
    Departures,
    InHouse,
}

impl List {
    const ALL: [Self; 3] = [Self::Arrivals, Self::Departures, Self::InHouse];

    fn policy(self) -> &'static ReadPolicy {
        match self {
            Self::Arrivals => &ARRIVALS,
            Self::Departures => &DEPARTURES,
            Self::InHouse => &IN_HOUSE,
        }
    }

    fn fetch(self, day: Option<Date>) -> Fetch {
        match self {
            Self::Arrivals => Fetch::Arrivals(day),
            Self::Departures => Fetch::Departures(day),
            Self::InHouse => Fetch::InHouse(day),
        }
    }
}

/// A column of data from another service, and the roles that may see it.
#[derive(Debug)]
struct Column {
    name: &'static str,
    policy: &'static ReadPolicy,
    fetch: Fetch,
    roles: RoleSet,
}

static ROOM_STATUS: Column = Column {
    name: "roomStatus",
    policy: &ROOM_STATUSES,
    fetch: Fetch::RoomStatus,
    roles: RoleSet::ANY,
};
static BALANCE: Column = Column {
    name: "balance",
    policy: &BALANCES,
    fetch: Fetch::Balances,
    roles: RoleSet::RECEPTION,
};

static KEYS: Column =
    Column { name: "keys", policy: &LOCK_KEYS, fetch: Fetch::LockKeys, roles: RoleSet::RECEPTION };

/// The caller, property and day of a view.
#[derive(Debug, Clone, Copy)]
pub struct ViewRequest {
    pub tenant: TenantId,
    pub roles: RoleSet,
    pub property: PropertyId,
    /// By default today in the property's time zone.
    pub day: Option<Date>,
    pub admitted: Instant,
}

impl ViewRequest {
    fn key(&self, policy: &ReadPolicy) -> Key {
        Key::of_property(policy, self.tenant, self.property)
    }

    fn key_of_day(&self, policy: &ReadPolicy) -> Key {
        self.key(policy).on(self.day)
    }
}

impl Composer {
    /// Composes one list with its columns. Fails only if the stays cannot be read.
    pub async fn stays_view(
        &self,
        request: &ViewRequest,
        list: List,
        context: &CallContext,
    ) -> Result<ComposedView<StaysView>, ReadError> {
        let parts = self.load_parts(request, &[list], context).await?;
        Ok(parts.stays_view(self.env.new_id()))
    }

    /// Composes all lists with their columns. Fails only if stays cannot be read.
    pub async fn today_view(
        &self,
        request: &ViewRequest,
        context: &CallContext,
    ) -> Result<ComposedView<TodayView>, ReadError> {
        let parts = self.load_parts(request, &List::ALL, context).await?;
        Ok(parts.today_view(self.env.new_id()))
    }

    async fn load_parts(
        &self,
        request: &ViewRequest,
        lists: &[List],
        context: &CallContext,
    ) -> Result<ViewParts, ReadError> {
        let (sources, property) = (self.sources.clone(), request.property);
        let call = move |fetch, context| sources.clone().fetch(fetch, context, property).boxed();
        ViewBuilder { snapshots: &self.snapshots, request, context, call }.load(lists).await
    }
}

/// Loads the parts of one view.
struct ViewBuilder<'a, A> {
    snapshots: &'a Snapshots,
    request: &'a ViewRequest,
    context: &'a CallContext,
    call: A,
}

impl<A> ViewBuilder<'_, A>
where
    A: Fn(Fetch, CallContext) -> BoxFuture<'static, FetchResult> + Clone + Send + Sync + 'static,
{
    /// Loads all parts in parallel. Fails as soon as the stays fail.
    async fn load(&self, lists: &[List]) -> Result<ViewParts, ReadError> {
        self.prefetch(lists).await;
        let lists = try_join_all(lists.iter().map(|&list| self.list(list)));
        let columns = join3(self.column(&ROOM_STATUS), self.column(&BALANCE), self.column(&KEYS));
        let (lists, (rooms, balances, keys)) = try_join(lists, columns.map(Ok)).await?;
        Ok(ViewParts { lists, rooms, balances, keys })
    }

    /// Loads all snapshots that this process lacks in one round trip.
    async fn prefetch(&self, lists: &[List]) {
        let lists =
            lists.iter().map(|list| (list.policy(), self.request.key_of_day(list.policy())));
        let columns = [&ROOM_STATUS, &BALANCE, &KEYS].into_iter();
        let columns = columns.filter(|column| self.may_see(column));
        let columns = columns.map(|column| (column.policy, self.request.key(column.policy)));
        self.snapshots.prefetch(&lists.chain(columns).collect::<Vec<_>>()).await;
    }

    fn may_see(&self, column: &Column) -> bool {
        column.roles.intersects(self.request.roles)
    }

    async fn list(&self, list: List) -> Result<(Stays, Provenance), ReadError> {
        let (policy, key) = (list.policy(), self.request.key_of_day(list.policy()));
        let fetch = list.fetch(self.request.day);
        let (stays, reading) = self.read(policy, fetch, key, policy.deadline).await?;
        Ok((stays, Provenance::of(policy, reading)))
    }

    async fn column<T: DeserializeOwned>(&self, column: &Column) -> (Option<T>, Provenance) {
        let (name, policy, began) = (column.name, column.policy, Instant::now());
        if !self.may_see(column) {
            return (None, Provenance::forbidden(name, policy));
        }
        let within = policy.deadline.min(COLUMN_TIMEOUT);
        match self.read(policy, column.fetch, self.request.key(policy), within).await {
            Ok((content, reading)) => (Some(content), Provenance::of(policy, reading).named(name)),
            Err(error) => (None, Provenance::failed(name, policy, &error, began.elapsed())),
        }
    }

    async fn read<T: DeserializeOwned>(
        &self,
        policy: &'static ReadPolicy,
        fetch: Fetch,
        key: Key,
        within: Duration,
    ) -> Result<(T, Reading), ReadError> {
        let call = self.call.clone();
        let fetch = move |context| call(fetch, context);
        let context = self.context.with_deadline(self.request.admitted + within);
        let reading = self.snapshots.read(policy, &key, &context, fetch).await?;
        Ok((reading.snapshot.content()?, reading))
    }
}
