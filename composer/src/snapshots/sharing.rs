//! How concurrent reads share one call, and what a reader does when the shared call failed for a
//! reason that is its leader's alone: the leader's deadline, or a refusal of the leader.
//!
//! A reader makes at most three attempts: the call under way, one more after the leader's deadline,
//! and its own after a refusal of somebody else.

use std::future::Future;
use std::sync::Arc;

use futures_util::FutureExt;
use tokio::time::{Instant, timeout_at};
use upstream_clients::{CallContext, CallError};

use super::flights::{Audience, Flight, FlightKey, Outcome, Wanted};
use super::{Fetched, GUARD, Key, Rule, Snapshots, WORTH_ASKING};

/// A call, and whether somebody else began it.
pub(super) struct Joined {
    pub(super) flight: Flight,
    is_follower: bool,
}

impl Snapshots {
    /// The call under way or a new one. Reads of a property are shared by everybody, because their
    /// handlers have checked scope and role; what is read by an id is shared by callers with equal
    /// rights, because the upstream decides who may see it.
    pub(super) fn first<F, A>(
        &self,
        rule: &'static Rule,
        key: &Key,
        context: &CallContext,
        fetch: &F,
    ) -> Joined
    where
        F: Fn(CallContext) -> A,
        A: Future<Output = Result<Fetched, CallError>> + Send + 'static,
    {
        self.join(
            rule,
            FlightKey { key: key.clone(), audience: audience(key, context) },
            context,
            None,
            fetch,
        )
    }

    /// The outcome of `first`, or of this reader's further attempts.
    pub(super) async fn shared_outcome<F, A>(
        &self,
        rule: &'static Rule,
        key: &Key,
        context: &CallContext,
        first: Joined,
        fetch: &F,
    ) -> Outcome
    where
        F: Fn(CallContext) -> A,
        A: Future<Output = Result<Fetched, CallError>> + Send + 'static,
    {
        let mut is_follower = first.is_follower;
        let mut outcome = first.flight.await;
        if is_follower && is_timeout(&outcome) {
            let next = self.again(rule, key, context, audience(key, context), fetch)?;
            is_follower = next.is_follower;
            outcome = next.flight.await;
        }
        if is_follower && is_refusal(&outcome) {
            let own = Audience::Caller(context.credentials.caller());
            outcome = self.again(rule, key, context, own, fetch)?.flight.await;
        }
        outcome
    }

    /// A call that lasts as long as this reader would wait, when there is time for one.
    fn again<F, A>(
        &self,
        rule: &'static Rule,
        key: &Key,
        context: &CallContext,
        audience: Audience,
        fetch: &F,
    ) -> Result<Joined, super::ReadError>
    where
        F: Fn(CallContext) -> A,
        A: Future<Output = Result<Fetched, CallError>> + Send + 'static,
    {
        let left = context.deadline.saturating_duration_since(Instant::now());
        if left < WORTH_ASKING {
            return Err(Arc::new(CallError::Timeout));
        }
        let lasting = context.deadline.checked_sub(WORTH_ASKING);
        Ok(self.join(rule, FlightKey { key: key.clone(), audience }, context, lasting, fetch))
    }

    /// The call under way, unless something has changed since it was asked or it ends before
    /// `lasting`; or a new one.
    fn join<F, A>(
        &self,
        rule: &'static Rule,
        key: FlightKey,
        context: &CallContext,
        lasting: Option<Instant>,
        fetch: &F,
    ) -> Joined
    where
        F: Fn(CallContext) -> A,
        A: Future<Output = Result<Fetched, CallError>> + Send + 'static,
    {
        let asked_at = self.clock.now();
        let changed_at = self.changed_at(rule, &key.key, asked_at);
        let wanted = Wanted { asked_at, changed_at, deadline: context.deadline, lasting };
        // Boxed at once: a call is large, and it is moved from here to where it is driven.
        let ask = || {
            self.flight(
                rule,
                &key.key,
                context,
                Asked { at: asked_at, answer: fetch(context.clone()).boxed() },
            )
        };
        let (flight, is_follower) = self.flights.join(&key, &wanted, ask);
        if is_follower {
            self.meters.follower(rule.name);
        }
        Joined { flight, is_follower }
    }

    /// Asked by its leader's deadline, then kept for everybody.
    fn flight<A>(
        &self,
        rule: &'static Rule,
        key: &Key,
        context: &CallContext,
        asked: Asked<A>,
    ) -> impl Future<Output = Outcome> + Send + use<A>
    where
        A: Future<Output = Result<Fetched, CallError>> + Send + 'static,
    {
        let (snapshots, key, guard) = (self.clone(), key.clone(), context.deadline + GUARD);
        async move {
            let fetched =
                timeout_at(guard, asked.answer).await.unwrap_or(Err(CallError::Timeout))?;
            if key.property.is_some_and(|property| property != fetched.property) {
                return Err(Arc::new(CallError::SchemaDrift { path: "propertyId".to_owned() }));
            }
            let snapshot = Arc::new(fetched.taken(asked.at));
            snapshots.learn_zone(key.tenant, &snapshot);
            snapshots.keep(rule, &key, &snapshot);
            Ok(snapshot)
        }
    }

    /// Asks again before what is shown grows old, so that nobody has to wait for it.
    pub(super) fn ask_ahead<F, A>(
        &self,
        rule: &'static Rule,
        key: &Key,
        context: &CallContext,
        fetch: F,
    ) where
        F: Fn(CallContext) -> A + Send + Sync + 'static,
        A: Future<Output = Result<Fetched, CallError>> + Send + 'static,
    {
        let deadline = Instant::now() + rule.deadline;
        let context = CallContext { deadline, ..context.clone() };
        let Joined { flight, is_follower } = self.first(rule, key, &context, &fetch);
        if !is_follower {
            self.tasks.spawn(flight.map(drop));
        }
    }
}

struct Asked<A> {
    at: jiff::Timestamp,
    answer: A,
}

fn audience(key: &Key, context: &CallContext) -> Audience {
    match key.property {
        Some(_) => Audience::Everybody,
        None => Audience::With(context.credentials.rights()),
    }
}

fn is_timeout(outcome: &Outcome) -> bool {
    matches!(outcome, Err(error) if matches!(**error, CallError::Timeout))
}

/// Whether the upstream said no. What it says no to may be the caller.
fn is_refusal(outcome: &Outcome) -> bool {
    matches!(outcome, Err(error) if matches!(**error, CallError::Status { status: 400..500, .. }))
}
