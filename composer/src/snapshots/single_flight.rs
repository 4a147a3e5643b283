//! Single flight: concurrent reads of a key share one upstream call, polled by any of the readers
//! and dropped with the last of them.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use foldhash::quality::RandomState;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::time::Instant;
use upstream_clients::Rights;

use super::key::Key;
use super::reading::ReadError;
use super::snapshot::Snapshot;

/// A call ends itself at its deadline; this much later it is dropped in any case.
pub(super) const DEADLINE_GRACE: Duration = Duration::from_millis(10);

pub(super) type CallOutcome = Result<Arc<Snapshot>, ReadError>;
pub(super) type SharedCall = Shared<BoxFuture<'static, CallOutcome>>;

#[derive(Debug, Clone, Default)]
pub(super) struct SingleFlight(Arc<Mutex<Registry>>);

#[derive(Debug, Default)]
struct Registry {
    last_id: u64,
    in_flight: HashMap<CallKey, InFlight, RandomState>,
}

#[derive(Debug)]
struct InFlight {
    id: u64,
    started_at: Timestamp,
    /// Of the reader that started the call.
    deadline: Instant,
    call: WeakShared<BoxFuture<'static, CallOutcome>>,
}

/// What is read and who may share the call.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct CallKey {
    pub(super) key: Key,
    pub(super) audience: Audience,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Audience {
    Everyone,
    /// Callers with equal rights.
    SameRights(Rights),
    /// One caller only.
    OneCaller(Option<[u8; 32]>),
}

/// The conditions for joining a call in flight.
#[derive(Debug)]
pub(super) struct JoinRequest {
    /// Start of a new call.
    pub(super) started_at: Timestamp,
    /// A call in flight must have started later than this.
    pub(super) changed_at: Timestamp,
    /// The reader's deadline, used for a new call.
    pub(super) deadline: Instant,
    /// A call in flight must have at least this deadline.
    pub(super) min_deadline: Option<Instant>,
}

impl InFlight {
    fn is_joinable_for(&self, request: &JoinRequest) -> bool {
        self.started_at > request.changed_at
            && request.min_deadline.is_none_or(|until| self.deadline >= until)
    }
}

impl SingleFlight {
    /// Joins a suitable call in flight, or starts one. Returns whether it joined.
    pub(super) fn join<A>(
        &self,
        key: &CallKey,
        request: &JoinRequest,
        start: impl FnOnce() -> A,
    ) -> (SharedCall, bool)
    where
        A: Future<Output = CallOutcome> + Send + 'static,
    {
        let mut registry = self.0.lock();
        if let Some(other) = registry.in_flight.get(key)
            && other.is_joinable_for(request)
            && let Some(call) = other.call.upgrade()
        {
            return (call, true);
        }
        registry.last_id += 1;
        let id = registry.last_id;
        let (outcome, remove_on_drop) =
            (start(), RemoveOnDrop { single_flight: self.clone(), key: key.clone(), id });
        let call = async move {
            let _remove_on_drop = remove_on_drop;
            outcome.await
        };
        let call = call.boxed().shared();
        let weak = call.downgrade().expect("it has not been polled yet");
        let JoinRequest { started_at, deadline, .. } = *request;
        registry.in_flight.insert(key.clone(), InFlight { id, started_at, deadline, call: weak });
        (call, false)
    }
}

/// Removes a call from the registry when it completes or is dropped.
struct RemoveOnDrop {
    single_flight: SingleFlight,
    key: CallKey,
    id: u64,
}

impl Drop for RemoveOnDrop {
    fn drop(&mut self) {
        let mut registry = self.single_flight.0.lock();
        if registry.in_flight.get(&self.key).is_some_and(|call| call.id == self.id) {
            registry.in_flight.remove(&self.key);
        }
    }
}
