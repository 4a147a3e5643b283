//! Audit of effects that some mutations keep in addition to the activity.

use futures_util::future::BoxFuture;
use service_kit::postgres::{StoreError, Transaction};
use service_kit::problem::ApiResult;
use upstream_clients::{CallError, Reply};

use super::{Mutation, Request};

/// What the upstream replied; the body as it came.
pub(crate) type Forwarded = Result<Reply<()>, CallError>;

/// A mutation whose key is claimed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ClaimedMutation<'a> {
    pub request: &'a Request,
    pub mutation: &'a Mutation,
    /// The claim's fencing token.
    pub(crate) fence: i64,
}

/// Kept by a kind of mutation whose effects are audited.
pub(crate) trait EffectLog: std::fmt::Debug + Send + Sync {
    /// Runs before the upstream is called, in the transaction of the claim. An error refuses the
    /// mutation, and nothing is claimed.
    fn before<'a>(
        &'a self,
        transaction: &'a Transaction<'_>,
        claimed: ClaimedMutation<'a>,
    ) -> BoxFuture<'a, ApiResult<()>>;

    /// Runs after the upstream was called, in the transaction that settles the claim, also when
    /// another worker has taken the claim over meanwhile.
    fn after<'a>(
        &'a self,
        transaction: &'a Transaction<'_>,
        claimed: ClaimedMutation<'a>,
        forwarded: &'a Forwarded,
    ) -> BoxFuture<'a, Result<(), StoreError>>;
}
