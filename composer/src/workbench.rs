//! Composes the workbench: the stays of a day with columns from other services. The stays are
//! required; a column that fails is left out, with the reason.
//!
//! Parts share their snapshots with the dashboard's widgets, but have a freshness of their own.

mod rows;
#[cfg(test)]
mod tests;

use std::time::Duration;

use contracts::id::{PropertyId, TenantId};
use contracts::role::RoleSet;
use contracts::upstream::Upstream;
use contracts::upstream::reservation::Stays;
use contracts::workbench::{StaysView, TodayView};
use futures_util::FutureExt;
use futures_util::future::{join3, try_join, try_join_all};
use jiff::civil::Date;
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use upstream_clients::CallContext;

use crate::compose::Composer;
use crate::property_read::{PropertyDay, PropertyRead, fetch};
use crate::provenance::Provenance;
use crate::read_policy::ReadPolicy;
use crate::snapshots::{FetchFuture, ReadError, Reading, Snapshots};
use crate::widgets;

pub use rows::ComposedView;
use rows::ViewParts;

/// Columns are optional: a view waits for them this long, counted from the receipt of the request.
const COLUMN_TIMEOUT: Duration = Duration::from_millis(300);

/// Maximum age of a part before it is fetched again (gateway-api section 4).
const VIEW_FRESHNESS: Duration = Duration::from_secs(15);

/// A read of the dashboard, with the freshness of a view.
const fn view_read(read: &PropertyRead) -> PropertyRead {
    PropertyRead { policy: ReadPolicy { fresh: VIEW_FRESHNESS, ..read.policy }, ..*read }
}

static ARRIVALS: PropertyRead = view_read(&widgets::ARRIVALS.read);
static DEPARTURES: PropertyRead = view_read(&widgets::DEPARTURES.read);
static IN_HOUSE: PropertyRead = view_read(&widgets::IN_HOUSE.read);

/// The lists of a day's stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum List {
    Arrivals,
    Departures,
    InHouse,
}

impl List {
    const ALL: [Self; 3] = [Self::Arrivals, Self::Departures, Self::InHouse];

    fn read(self) -> &'static PropertyRead {
        match self {
            Self::Arrivals => &ARRIVALS,
            Self::Departures => &DEPARTURES,
            Self::InHouse => &IN_HOUSE,
        }
    }
}

/// A column of data from another service, and the roles that may see it.
#[derive(Debug)]
struct Column {
    name: &'static str,
    roles: RoleSet,
    read: PropertyRead,
}

static ROOM_STATUS: Column =
    Column { name: "roomStatus", roles: RoleSet::ANY, read: view_read(&widgets::ROOM_STATUS.read) };

static BALANCE: Column = Column {
    name: "balance",
    roles: RoleSet::RECEPTION,
    read: PropertyRead {
        policy: ReadPolicy::new("balances", Upstream::Billing, 400).fresh_secs(15).stale_secs(300),
        call: |to| fetch(async move { to.upstreams.balances(&to.context, to.property).await }),
    },
};

static KEYS: Column = Column {
    name: "keys",
    roles: RoleSet::RECEPTION,
    read: PropertyRead {
        policy: ReadPolicy::new("lockKeys", Upstream::Lock, 400).fresh_secs(15).stale_secs(300),
        call: |to| fetch(async move { to.upstreams.lock_keys(&to.context, to.property).await }),
    },
};

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
    fn day(&self) -> PropertyDay {
        PropertyDay { property: self.property, day: self.day }
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
        let fetch = |read: &PropertyRead, context, at| self.sources.fetch(read, context, at);
        ViewBuilder { snapshots: &self.snapshots, request, context, fetch }.load(lists).await
    }
}

/// Loads the parts of one view.
struct ViewBuilder<'a, F> {
    snapshots: &'a Snapshots,
    request: &'a ViewRequest,
    context: &'a CallContext,
    fetch: F,
}

impl<F> ViewBuilder<'_, F>
where
    F: Fn(&PropertyRead, CallContext, PropertyDay) -> FetchFuture + Send + Sync,
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
        let (request, tenant) = (self.request, self.request.tenant);
        let lists = lists.iter().map(|list| (list.read(), request.day()));
        let columns = [&ROOM_STATUS, &BALANCE, &KEYS].into_iter();
        let columns = columns.filter(|column| self.may_see(column));
        let columns = columns.map(|column| (&column.read, request.property.into()));
        let reads = lists.chain(columns).map(|(read, at)| (&read.policy, read.key(tenant, at)));
        self.snapshots.prefetch(&reads.collect::<Vec<_>>()).await;
    }

    fn may_see(&self, column: &Column) -> bool {
        column.roles.intersects(self.request.roles)
    }

    async fn list(&self, list: List) -> Result<(Stays, Provenance), ReadError> {
        let (read, policy) = (list.read(), &list.read().policy);
        let (stays, reading) = self.read(read, self.request.day(), policy.deadline).await?;
        Ok((stays, Provenance::of(policy.name, policy, reading)))
    }

    async fn column<T: DeserializeOwned>(
        &self,
        column: &'static Column,
    ) -> (Option<T>, Provenance) {
        let (name, policy, began) = (column.name, &column.read.policy, Instant::now());
        if !self.may_see(column) {
            return (None, Provenance::forbidden(name, policy));
        }
        let within = policy.deadline.min(COLUMN_TIMEOUT);
        match self.read(&column.read, self.request.property.into(), within).await {
            Ok((content, reading)) => (Some(content), Provenance::of(name, policy, reading)),
            Err(error) => (None, Provenance::failed(name, policy, &error, began.elapsed())),
        }
    }

    async fn read<T: DeserializeOwned>(
        &self,
        read: &'static PropertyRead,
        at: PropertyDay,
        within: Duration,
    ) -> Result<(T, Reading), ReadError> {
        let fetch = |context| (self.fetch)(read, context, at);
        let context = self.context.with_deadline(self.request.admitted + within);
        let key = read.key(self.request.tenant, at);
        let reading = self.snapshots.read(&read.policy, &key, &context, fetch).await?;
        Ok((reading.snapshot.content()?, reading))
    }
}
