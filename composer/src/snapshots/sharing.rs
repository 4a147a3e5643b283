//! How concurrent reads share one call, and what a reader does when the shared call failed for a
//! reason that concerns only its leader: the leader's deadline, or a refusal of the leader.
//!
//! A reader makes at most three attempts: the call in flight, one more after the leader's deadline,
//! and its own call after a refusal of another caller.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use jiff::Timestamp;
use tokio::time::{Instant, timeout_at};
use upstream_clients::{CallContext, CallError};

use super::Snapshots;
use super::key::Key;
use super::reading::ReadError;
use super::single_flight::{
    Audience, CallKey, CallOutcome, DEADLINE_GRACE, JoinRequest, SharedCall,
};
use super::snapshot::FetchFuture;
use crate::read_policy::ReadPolicy;

/// A retry is not started with less time than this.
const MIN_RETRY_TIME: Duration = Duration::from_millis(50);

/// A call, and whether another reader started it.
pub(super) struct Joined {
    pub(super) call: SharedCall,
    is_follower: bool,
}

impl Snapshots {
    /// Joins the call in flight or starts one. Reads of a property are shared by everyone, because
    /// their handlers have checked scope and role. Reads by id are shared by callers with equal
    /// rights, because the upstream decides who may see them.
    pub(super) fn join_or_start(
        &self,
        policy: &'static ReadPolicy,
        key: &Key,
        context: &CallContext,
        fetch: &impl Fn(CallContext) -> FetchFuture,
    ) -> Joined {
        self.join(
            policy,
            CallKey { key: key.clone(), audience: audience(key, context) },
            context,
            None,
            fetch,
        )
    }

    /// Awaits the first call and, if needed, this reader's further attempts.
    pub(super) async fn shared_outcome(
        &self,
        policy: &'static ReadPolicy,
        key: &Key,
        context: &CallContext,
        first: Joined,
        fetch: &impl Fn(CallContext) -> FetchFuture,
    ) -> CallOutcome {
        let mut is_follower = first.is_follower;
        let mut outcome = first.call.await;
        if is_follower && is_timeout(&outcome) {
            let next = self.retry(policy, key, context, audience(key, context), fetch)?;
            is_follower = next.is_follower;
            outcome = next.call.await;
        }
        if is_follower && is_refusal(&outcome) {
            let own = Audience::OneCaller(context.credentials.caller());
            outcome = self.retry(policy, key, context, own, fetch)?.call.await;
        }
        outcome
    }

    /// Joins or starts a call that lasts as long as this reader would wait, if there is time.
    fn retry(
        &self,
        policy: &'static ReadPolicy,
        key: &Key,
        context: &CallContext,
        audience: Audience,
        fetch: &impl Fn(CallContext) -> FetchFuture,
    ) -> Result<Joined, ReadError> {
        let left = context.deadline.saturating_duration_since(Instant::now());
        if left < MIN_RETRY_TIME {
            return Err(Arc::new(CallError::Timeout));
        }
        let min_deadline = context.deadline.checked_sub(MIN_RETRY_TIME);
        Ok(self.join(policy, CallKey { key: key.clone(), audience }, context, min_deadline, fetch))
    }

    /// Joins the call in flight, unless data has changed since its start or it ends before
    /// `min_deadline`; else starts one.
    fn join(
        &self,
        policy: &'static ReadPolicy,
        key: CallKey,
        context: &CallContext,
        min_deadline: Option<Instant>,
        fetch: &impl Fn(CallContext) -> FetchFuture,
    ) -> Joined {
        let started_at = self.clock.now();
        let changed_at = self.changed_at(policy, &key.key, started_at);
        let request =
            JoinRequest { started_at, changed_at, deadline: context.deadline, min_deadline };
        let start = || {
            let response = fetch(context.clone());
            self.fetch_and_keep(policy, &key.key, context, started_at, response)
        };
        let (call, is_follower) = self.single_flight.join(&key, &request, start);
        if is_follower {
            self.meters.count(policy.name, |meters| &meters.follower);
        }
        Joined { call, is_follower }
    }

    /// Awaits the response until the leader's deadline, then caches it.
    fn fetch_and_keep(
        &self,
        policy: &'static ReadPolicy,
        key: &Key,
        context: &CallContext,
        started_at: Timestamp,
        response: FetchFuture,
    ) -> impl Future<Output = CallOutcome> + Send + use<> {
        let (snapshots, key, drop_at) =
            (self.clone(), key.clone(), context.deadline + DEADLINE_GRACE);
        async move {
            let fetched = timeout_at(drop_at, response).await.unwrap_or(Err(CallError::Timeout))?;
            if key.property.is_some_and(|property| property != fetched.property) {
                return Err(Arc::new(CallError::SchemaDrift { path: "propertyId".to_owned() }));
            }
            let snapshot = Arc::new(fetched.into_snapshot(started_at));
            snapshots.remember_zone(key.tenant, &snapshot);
            snapshots.keep(policy, &key, &snapshot);
            Ok(snapshot)
        }
    }

    /// Refreshes a snapshot in the background before it is stale, so that no reader has to wait.
    pub(super) fn refresh_ahead(
        &self,
        policy: &'static ReadPolicy,
        key: &Key,
        context: &CallContext,
        fetch: &impl Fn(CallContext) -> FetchFuture,
    ) {
        let deadline = Instant::now() + policy.deadline;
        let context = CallContext { deadline, ..context.clone() };
        let Joined { call, is_follower } = self.join_or_start(policy, key, &context, fetch);
        if !is_follower {
            self.tasks.spawn(call.map(drop));
        }
    }
}

fn audience(key: &Key, context: &CallContext) -> Audience {
    match key.property {
        Some(_) => Audience::Everyone,
        None => Audience::SameRights(context.credentials.rights()),
    }
}

fn is_timeout(outcome: &CallOutcome) -> bool {
    matches!(outcome, Err(error) if matches!(**error, CallError::Timeout))
}

/// Whether the upstream refused; that may concern the caller only.
fn is_refusal(outcome: &CallOutcome) -> bool {
    matches!(outcome, Err(error) if matches!(**error, CallError::Status { status: 400..500, .. }))
}
