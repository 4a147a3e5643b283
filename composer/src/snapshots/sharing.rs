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

/// One read of a snapshot. `fetch` calls the upstream.
#[derive(Clone, Copy)]
pub(super) struct Read<'a> {
    pub(super) policy: &'static ReadPolicy,
    pub(super) key: &'a Key,
    pub(super) context: &'a CallContext,
    pub(super) fetch: &'a (dyn Fn(CallContext) -> FetchFuture + Send + Sync),
}

impl Read<'_> {
    /// Who may share the call. Reads of a property are shared by everyone, because their handlers
    /// have checked scope and role. Reads by id are shared by callers with equal rights, because
    /// the upstream decides who may see them.
    fn audience(&self) -> Audience {
        match self.key.property {
            Some(_) => Audience::Everyone,
            None => Audience::SameRights(self.context.credentials.rights()),
        }
    }
}

/// A call, and whether another reader started it.
pub(super) struct Joined {
    pub(super) call: SharedCall,
    is_follower: bool,
}

impl Snapshots {
    /// Joins the call in flight or starts one.
    pub(super) fn join_or_start(&self, read: Read<'_>) -> Joined {
        self.join(read, read.audience(), None)
    }

    /// Awaits the first call and, if needed, this reader's further attempts.
    pub(super) async fn shared_outcome(&self, read: Read<'_>, first: Joined) -> CallOutcome {
        let mut is_follower = first.is_follower;
        let mut outcome = first.call.await;
        if is_follower && is_timeout(&outcome) {
            let next = self.retry(read, read.audience())?;
            is_follower = next.is_follower;
            outcome = next.call.await;
        }
        if is_follower && is_refusal(&outcome) {
            let own = Audience::OneCaller(read.context.credentials.caller());
            outcome = self.retry(read, own)?.call.await;
        }
        outcome
    }

    /// Joins or starts a call that lasts as long as this reader would wait, if there is time.
    fn retry(&self, read: Read<'_>, audience: Audience) -> Result<Joined, ReadError> {
        let deadline = read.context.deadline;
        if deadline.saturating_duration_since(Instant::now()) < MIN_RETRY_TIME {
            return Err(Arc::new(CallError::Timeout));
        }
        Ok(self.join(read, audience, deadline.checked_sub(MIN_RETRY_TIME)))
    }

    /// Joins the call in flight, unless data has changed since its start or it ends before
    /// `min_deadline`; else starts one.
    fn join(&self, read: Read<'_>, audience: Audience, min_deadline: Option<Instant>) -> Joined {
        let (started_at, deadline) = (self.clock.now(), read.context.deadline);
        let changed_at = self.changed_at(read.policy, read.key, started_at);
        let request = JoinRequest { started_at, changed_at, deadline, min_deadline };
        let key = CallKey { key: read.key.clone(), audience };
        let start = || self.fetch_and_keep(read, started_at);
        let (call, is_follower) = self.single_flight.join(&key, &request, start);
        if is_follower {
            self.meters.count(read.policy.name, |meters| &meters.follower);
        }
        Joined { call, is_follower }
    }

    /// Calls the upstream, awaits the response until the leader's deadline, then caches it.
    fn fetch_and_keep(
        &self,
        read: Read<'_>,
        started_at: Timestamp,
    ) -> impl Future<Output = CallOutcome> + Send + use<> {
        let response = (read.fetch)(read.context.clone());
        let (snapshots, policy, key) = (self.clone(), read.policy, read.key.clone());
        let drop_at = read.context.deadline + DEADLINE_GRACE;
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
    pub(super) fn refresh_ahead(&self, read: Read<'_>) {
        let deadline = Instant::now() + read.policy.deadline;
        let context = CallContext { deadline, ..read.context.clone() };
        let Joined { call, is_follower } = self.join_or_start(Read { context: &context, ..read });
        if !is_follower {
            self.tasks.spawn(call.map(drop));
        }
    }
}

fn is_timeout(outcome: &CallOutcome) -> bool {
    matches!(outcome, Err(error) if matches!(**error, CallError::Timeout))
}

/// Whether the upstream refused; that may concern the caller only.
fn is_refusal(outcome: &CallOutcome) -> bool {
    matches!(outcome, Err(error) if matches!(**error, CallError::Status { status: 400..500, .. }))
}
