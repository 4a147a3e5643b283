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

use super::{Key, ReadError, Snapshot};

pub(super) type Outcome = Result<Arc<Snapshot>, ReadError>;
pub(super) type Flight = Shared<BoxFuture<'static, Outcome>>;

#[derive(Debug, Clone, Default)]
pub(super) struct Flights(Arc<Mutex<Board>>);

#[derive(Debug, Default)]
struct Board {
    last: u64,
    airborne: HashMap<Key, Airborne, RandomState>,
}

#[derive(Debug)]
struct Airborne {
    number: u64,
    asked_at: Timestamp,
    flight: WeakShared<BoxFuture<'static, Outcome>>,
}

impl Flights {
    /// The question under way, when it was asked after `changed_at`; else the new one that `ask`
    /// makes. True when it was under way.
    pub(super) fn join<A>(
        &self,
        key: &Key,
        (asked_at, changed_at): (Timestamp, Timestamp),
        ask: impl FnOnce() -> A,
    ) -> (Flight, bool)
    where
        A: Future<Output = Outcome> + Send + 'static,
    {
        let mut board = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(other) = board.airborne.get(key)
            && other.asked_at > changed_at
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
        board.airborne.insert(key.clone(), Airborne { number, asked_at, flight: weak });
        (flight, false)
    }
}

/// Takes a question off the board when it was answered or dropped.
struct Landing {
    flights: Flights,
    key: Key,
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
