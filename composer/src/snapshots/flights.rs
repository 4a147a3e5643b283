//! Questions under way. Who asks the same waits for the same answer; whoever of them is there
//! drives the call, so a leader that goes away takes nothing from its followers, and when the last
//! has gone the call is dropped.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use foldhash::quality::RandomState;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use jiff::Timestamp;
use tokio::time::Instant;
use upstream_clients::Rights;

use super::{Key, ReadError, Snapshot};

pub(super) type Outcome = Result<Arc<Snapshot>, ReadError>;
pub(super) type Flight = Shared<BoxFuture<'static, Outcome>>;

#[derive(Debug, Clone, Default)]
pub(super) struct Flights(Arc<Mutex<Board>>);

#[derive(Debug, Default)]
struct Board {
    last: u64,
    airborne: HashMap<FlightKey, Airborne, RandomState>,
}

#[derive(Debug)]
struct Airborne {
    number: u64,
    asked_at: Timestamp,
    /// The leader's.
    deadline: Instant,
    flight: WeakShared<BoxFuture<'static, Outcome>>,
}

/// What is read, and for whom: who shares a call is of the same audience.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct FlightKey {
    pub(super) key: Key,
    pub(super) audience: Audience,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Audience {
    Everybody,
    /// Callers with these rights.
    With(Rights),
    /// One caller alone.
    Caller(Option<[u8; 32]>),
}

/// Which call a reader may join.
#[derive(Debug)]
pub(super) struct Wanted {
    /// When a new call is asked.
    pub(super) asked_at: Timestamp,
    /// A call under way must have been asked later than this.
    pub(super) changed_at: Timestamp,
    /// The reader's own deadline, which becomes that of a new call.
    pub(super) deadline: Instant,
    /// A call under way must last at least until then.
    pub(super) lasting: Option<Instant>,
}

impl Airborne {
    fn suits(&self, wanted: &Wanted) -> bool {
        self.asked_at > wanted.changed_at
            && wanted.lasting.is_none_or(|until| self.deadline >= until)
    }
}

impl Flights {
    /// The call under way that suits; else the new one that `ask` makes. True when it was under way.
    pub(super) fn join<A>(
        &self,
        key: &FlightKey,
        wanted: &Wanted,
        ask: impl FnOnce() -> A,
    ) -> (Flight, bool)
    where
        A: Future<Output = Outcome> + Send + 'static,
    {
        let mut board = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(other) = board.airborne.get(key)
            && other.suits(wanted)
            && let Some(flight) = other.flight.upgrade()
        {
            return (flight, true);
        }
        board.last += 1;
        let number = board.last;
        let (answer, landing) =
            (ask(), Landing { flights: self.clone(), key: key.clone(), number });
        let flight = async move {
            let _landing = landing;
            answer.await
        };
        let flight = flight.boxed().shared();
        let weak = flight.downgrade().expect("it has not been polled yet");
        let Wanted { asked_at, deadline, .. } = *wanted;
        board.airborne.insert(key.clone(), Airborne { number, asked_at, deadline, flight: weak });
        (flight, false)
    }
}

/// Takes a question off the board when it was answered or dropped.
struct Landing {
    flights: Flights,
    key: FlightKey,
    number: u64,
}

impl Drop for Landing {
    fn drop(&mut self) {
        let mut board = self.flights.0.lock().unwrap_or_else(PoisonError::into_inner);
        if board.airborne.get(&self.key).is_some_and(|it| it.number == self.number) {
            board.airborne.remove(&self.key);
        }
    }
}
