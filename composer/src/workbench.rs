//! The workbench: the stays of a day, and beside each what other services know of it. The stays
//! are required; a column that cannot be filled is left out and says why.
//!
//! Every part is a snapshot that the dashboard's widgets share; a view takes it for fresh as long as
//! [`FRESH`], whatever a widget does.

mod account;
mod rows;
#[cfg(test)]
mod tests;

use std::time::Duration;

use contracts::id::{Id, PropertyId, TenantId, WorkbenchViewId};
use contracts::role::RoleSet;
use contracts::upstream::reservation::Stays;
use contracts::workbench::{StaysView, TodayView};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join3, try_join, try_join_all};
use jiff::civil::Date;
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use upstream_clients::CallContext;

use crate::compose::{Composer, Told};
use crate::fetch::Answer;
use crate::rules;
use crate::snapshots::{Key, ReadError, Reading, Rule, Snapshots};
use crate::widgets::{FRONT_OFFICE, Question};

use account::Account;
use rows::Parts;

/// The list is of use without its columns: they may cost it this long after the request was let in.
const COLUMN_WITHIN: Duration = Duration::from_millis(300);

/// How old any part of a view may be before it is asked for again (gateway-api section 4).
const FRESH: Duration = Duration::from_secs(15);

const fn viewed(rule: &Rule) -> Rule {
    Rule { fresh: FRESH, ..*rule }
}

static ARRIVALS: Rule = viewed(&rules::ARRIVALS);
static DEPARTURES: Rule = viewed(&rules::DEPARTURES);
static IN_HOUSE: Rule = viewed(&rules::IN_HOUSE);
static ROOM_STATUSES: Rule = viewed(&rules::ROOM_STATUS);
static BALANCES: Rule = viewed(&rules::BALANCES);
static LOCK_KEYS: Rule = viewed(&rules::LOCK_KEYS);

/// Which stays of a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum List {
    Arrivals,
    Departures,
    InHouse,
}

impl List {
    const ALL: [Self; 3] = [Self::Arrivals, Self::Departures, Self::InHouse];

    fn rule(self) -> &'static Rule {
        match self {
            Self::Arrivals => &ARRIVALS,
            Self::Departures => &DEPARTURES,
            Self::InHouse => &IN_HOUSE,
        }
    }

    fn question(self, day: Option<Date>) -> Question {
        match self {
            Self::Arrivals => Question::Arrivals(day),
            Self::Departures => Question::Departures(day),
            Self::InHouse => Question::InHouse(day),
        }
    }
}

/// What is shown beside a stay, and to whom.
#[derive(Debug)]
struct Column {
    name: &'static str,
    rule: &'static Rule,
    question: Question,
    roles: RoleSet,
}

static ROOM_STATUS: Column = Column {
    name: "roomStatus",
    rule: &ROOM_STATUSES,
    question: Question::RoomStatus,
    roles: RoleSet::ANY,
};
static BALANCE: Column =
    Column { name: "balance", rule: &BALANCES, question: Question::Balances, roles: FRONT_OFFICE };

static KEYS: Column =
    Column { name: "keys", rule: &LOCK_KEYS, question: Question::LockKeys, roles: FRONT_OFFICE };

/// Who wants to see which day where.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    pub tenant: TenantId,
    pub roles: RoleSet,
    pub property: PropertyId,
    /// Today in the property's time zone when absent.
    pub day: Option<Date>,
    pub admitted: Instant,
}

impl Asked {
    fn key(&self, rule: &Rule) -> Key {
        Key::of_property(rule, self.tenant, self.property)
    }

    fn key_of_day(&self, rule: &Rule) -> Key {
        self.key(rule).on(self.day)
    }
}

/// A view, and how it came about.
#[derive(Debug)]
pub struct Viewed<T> {
    pub view: T,
    /// One per part.
    pub told: Vec<Told>,
}

impl Composer {
    /// One list with its columns. The error is that of the stays.
    pub async fn stays_view(
        &self,
        asked: &Asked,
        list: List,
        context: &CallContext,
    ) -> Result<Viewed<StaysView>, ReadError> {
        let parts = self.parts(asked, &[list], context).await?;
        Ok(parts.stays_view(WorkbenchViewId::generate(&self.clock, &self.entropy)))
    }

    /// All lists with their columns. The error is that of the stays.
    pub async fn today_view(
        &self,
        asked: &Asked,
        context: &CallContext,
    ) -> Result<Viewed<TodayView>, ReadError> {
        let parts = self.parts(asked, &List::ALL, context).await?;
        Ok(parts.today_view(WorkbenchViewId::generate(&self.clock, &self.entropy)))
    }

    async fn parts(
        &self,
        asked: &Asked,
        lists: &[List],
        context: &CallContext,
    ) -> Result<Parts, ReadError> {
        let (sources, property) = (self.sources.clone(), asked.property);
        let ask = move |question, context| sources.clone().ask(question, context, property).boxed();
        Bench { snapshots: &self.snapshots, asked, context, ask }.parts(lists).await
    }
}

/// One view being put together.
struct Bench<'a, A> {
    snapshots: &'a Snapshots,
    asked: &'a Asked,
    context: &'a CallContext,
    ask: A,
}

impl<A> Bench<'_, A>
where
    A: Fn(Question, CallContext) -> BoxFuture<'static, Answer> + Clone + Send + Sync + 'static,
{
    /// All parts at once; without the stays there is nothing to wait for.
    async fn parts(&self, lists: &[List]) -> Result<Parts, ReadError> {
        self.warm(lists).await;
        let lists = try_join_all(lists.iter().map(|&list| self.list(list)));
        let columns = join3(self.column(&ROOM_STATUS), self.column(&BALANCE), self.column(&KEYS));
        let (lists, (rooms, balances, keys)) = try_join(lists, columns.map(Ok)).await?;
        Ok(Parts { lists, rooms, balances, keys })
    }

    /// One round trip for all that this process does not hold.
    async fn warm(&self, lists: &[List]) {
        let lists = lists.iter().map(|list| (list.rule(), self.asked.key_of_day(list.rule())));
        let columns = [&ROOM_STATUS, &BALANCE, &KEYS].into_iter();
        let columns = columns.filter(|column| self.may_see(column));
        let columns = columns.map(|column| (column.rule, self.asked.key(column.rule)));
        self.snapshots.warm(&lists.chain(columns).collect::<Vec<_>>()).await;
    }

    fn may_see(&self, column: &Column) -> bool {
        column.roles.intersects(self.asked.roles)
    }

    async fn list(&self, list: List) -> Result<(Stays, Account), ReadError> {
        let (rule, key) = (list.rule(), self.asked.key_of_day(list.rule()));
        let read = (rule, list.question(self.asked.day));
        let (stays, reading) = self.read(read, key, rule.deadline).await?;
        Ok((stays, Account::of(rule, reading)))
    }

    async fn column<T: DeserializeOwned>(&self, column: &Column) -> (Option<T>, Account) {
        let (name, rule, began) = (column.name, column.rule, Instant::now());
        if !self.may_see(column) {
            return (None, Account::forbidden(name, rule));
        }
        let (read, within) = ((rule, column.question), rule.deadline.min(COLUMN_WITHIN));
        match self.read(read, self.asked.key(rule), within).await {
            Ok((content, reading)) => (Some(content), Account::of(rule, reading).called(name)),
            Err(error) => (None, Account::failed(name, rule, &error, began.elapsed())),
        }
    }

    async fn read<T: DeserializeOwned>(
        &self,
        (rule, question): (&'static Rule, Question),
        key: Key,
        within: Duration,
    ) -> Result<(T, Reading), ReadError> {
        let ask = self.ask.clone();
        let fetch = move |context| ask(question, context);
        let context = self.context.until(self.asked.admitted + within);
        let reading = self.snapshots.read(rule, &key, &context, fetch).await?;
        Ok((reading.snapshot.content()?, reading))
    }
}
