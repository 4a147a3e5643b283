//! The one path every mutation takes, so that each takes effect exactly once:
//!
//! 1. claim: one transaction claims the key, consumes the second factor and records the activity; a
//!    repeat is checked against the caller's present scope, and against the attestation it comes with;
//! 2. forward: one call with the same key, so that the upstream recognizes a repeat too;
//! 3. settle: the response is stored, or the claim released, and the outcome recorded;
//! 4. respond.
//!
//! From the claim on it runs in a task of its own, so that a client that disconnects leaves nothing half
//! done. Wherever the process dies, the next repeat takes the claim over once its lease has expired and
//! forwards again with the same key. Not here: who may do it, and the upstream call itself.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use auth::Principal;
use axum::body::Bytes;
use axum::extract::FromRef;
use axum::response::Response;
use contracts::env::Env;
use contracts::id::{AttestationId, PropertyId, SessionId};
use contracts::problem::code;
use contracts::safeguard;
use contracts::upstream::Upstream;
use jiff::Timestamp;
use metrics::counter;
use serde_json::{Value, json};
use service_kit::postgres::{StoreError, Transaction, write};
use service_kit::problem::{ApiError, ApiResult, chain};
use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::Instrument;
use upstream_clients::{CallContext, CallError, Reply, Upstreams};

use crate::admin::freeze::is_frozen;
use crate::problems::unavailable;
use crate::state::Gateway;

pub(crate) mod activity;
pub(crate) mod attestation;
mod effect_log;
pub(crate) mod idempotency;
mod outcome;
pub(crate) mod request;

use activity::Activity;
use attestation::{MfaScope, Presented, Scope, Use, freeze};
use idempotency::Reach;
use idempotency::store::{self, Claim, ClaimRequest, FencedScope};
use outcome::{Outcome, outcome};

pub(crate) use effect_log::{ClaimedMutation, EffectLog, Forwarded};
pub(crate) use request::Request;

/// For the upstream call with its own retry, counted from the claim.
const FORWARD_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a worker holds a claim: for forwarding, then for settling with all the database's limits.
const CLAIM_LEASE: Duration = Duration::from_secs(5);

/// What a mutation does.
#[derive(Debug, Clone)]
pub(crate) struct Mutation {
    /// The upstream it is forwarded to.
    pub upstream: Upstream,
    /// `<aggregate>.<verb>`
    pub action: &'static str,
    /// Id of the changed resource.
    pub resource: String,
    /// While the session store is down there is none, and nothing is changed.
    pub session: SessionId,
    pub second_factor: Option<SecondFactor>,
    /// The property, if the request names it; else the response does, or the caller's scope is taken. A
    /// repeat is checked against it.
    pub property: Option<PropertyId>,
    /// Audits its effect, in addition to the activity.
    pub effect_log: Option<Arc<dyn EffectLog>>,
}

/// The attestation that came with the request; the claim consumes it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SecondFactor {
    scope: Scope,
    attestation: AttestationId,
}

impl SecondFactor {
    pub(crate) fn attestation(self) -> AttestationId {
        self.attestation
    }
}

impl<S: MfaScope> From<Presented<S>> for SecondFactor {
    fn from(presented: Presented<S>) -> Self {
        Self { scope: S::SCOPE, attestation: presented.id }
    }
}

/// Arguments of the upstream call.
#[derive(Debug, Clone)]
pub(crate) struct Forward {
    pub upstreams: Arc<Upstreams>,
    pub context: CallContext,
    pub key: String,
    /// As the client sent it.
    pub body: Bytes,
}

/// Executes mutations.
#[derive(Debug, Clone)]
pub(crate) struct Mutations(Gateway);

impl FromRef<Gateway> for Mutations {
    fn from_ref(gateway: &Gateway) -> Self {
        Self(gateway.clone())
    }
}

impl Mutations {
    pub(crate) fn env(&self) -> &Env {
        &self.0.env
    }

    /// Takes effect once per key. Shutdown waits for mutations that have begun.
    pub(crate) async fn execute<T, F, A>(
        self,
        request: Request,
        mutation: Mutation,
        call: F,
    ) -> ApiResult<Response>
    where
        F: FnOnce(Forward) -> A + Send + 'static,
        A: Future<Output = Result<Reply<T>, CallError>> + Send,
        T: Send,
    {
        let (sender, receiver) = oneshot::channel();
        let lifecycle = self.0.lifecycle.clone();
        let work = async move {
            let response = self.run(&request, &mutation, call).await;
            if sender.send(response).is_err() {
                tracing::info!("The client disconnected before its mutation was answered.");
            }
        };
        lifecycle.spawn(work.in_current_span());
        receiver.await.unwrap_or_else(|_| Err(interrupted()))
    }

    async fn run<T, F, A>(
        &self,
        request: &Request,
        mutation: &Mutation,
        call: F,
    ) -> ApiResult<Response>
    where
        F: FnOnce(Forward) -> A + Send,
        A: Future<Output = Result<Reply<T>, CallError>> + Send,
        T: Send,
    {
        let deadline = Instant::now() + FORWARD_TIMEOUT;
        let claim = if safeguard!(DurableClaim) {
            self.claim(request, mutation).await?
        } else {
            Claim::Acquired { fence: 1 }
        };
        count_claim(&claim);
        let fence = match claim {
            Claim::Acquired { fence } | Claim::TakenOver { fence, .. } => fence,
            Claim::Completed { response, .. } => return Ok(response.replayed()),
            Claim::InProgress { .. } => return Err(in_progress()),
            Claim::KeyReused => return Err(key_reused()),
        };
        let forwarded = self.forward(request, deadline, call).await;
        let outcome = outcome(mutation.upstream, &forwarded);
        // The next read sees the change.
        self.0.composer.snapshots().invalidate(request.scope.tenant, None, mutation.upstream);
        let claimed = ClaimedMutation { request, mutation, fence };
        self.settle(claimed, &forwarded, &outcome).await;
        outcome.into_response()
    }

    /// Claims the key, consumes the second factor and records the activity, or does nothing of it: a
    /// repeat that only gets a stored response uses no attestation up.
    async fn claim(&self, request: &Request, mutation: &Mutation) -> ApiResult<Claim> {
        let mut connection = self.0.database.connection().await.map_err(unavailable)?;
        let transaction =
            write(&mut connection, request.scope.tenant).await.map_err(unavailable)?;
        let now = self.0.env.now();
        let wanted = ClaimRequest {
            scope: &request.scope,
            fingerprint: &request.fingerprint,
            reach: &Reach::new(&request.principal, mutation.property),
            now,
            lease: CLAIM_LEASE,
        };
        let claim = store::claim(&transaction, &wanted).await.map_err(unavailable)?;
        check_scope(&claim, &request.principal)?;
        let check = SecondFactorCheck { transaction: &transaction, request, mutation, now };
        check.run(&claim).await?;
        if let Claim::Acquired { fence } | Claim::TakenOver { fence, .. } = claim {
            let claimed = ClaimedMutation { request, mutation, fence };
            let recorded = self.record_activity(&transaction, claimed, "requested", None).await;
            recorded.map_err(unavailable)?;
            if let Some(log) = &mutation.effect_log {
                log.before(&transaction, claimed).await?;
            }
            transaction.commit().await.map_err(unavailable)?;
        }
        Ok(claim)
    }

    /// Calls the upstream once, and not after the deadline: the process may have been suspended since
    /// the claim, which another worker can have taken over by now.
    async fn forward<T, F, A>(&self, request: &Request, deadline: Instant, call: F) -> Forwarded
    where
        F: FnOnce(Forward) -> A + Send,
        A: Future<Output = Result<Reply<T>, CallError>> + Send,
    {
        if Instant::now() >= deadline {
            return Err(CallError::Timeout);
        }
        let reply = call(Forward {
            upstreams: Arc::clone(&self.0.upstreams),
            context: request.calls.with_deadline(deadline),
            key: self.key(request),
            body: request.body.clone(),
        })
        .await?;
        Ok(Reply { status: reply.status, body: reply.body, value: () })
    }

    /// The caller's own key, so that the upstream recognizes a repeat too.
    fn key(&self, request: &Request) -> String {
        if safeguard!(SameIdempotencyKey) {
            return request.scope.key.as_str().to_owned();
        }
        format!("{:032x}", self.0.env.entropy.u128())
    }

    /// The upstream's effect stands even if the outcome cannot be stored: the caller still gets the
    /// response, and a repeat learns it from the upstream under the same key.
    async fn settle(&self, claimed: ClaimedMutation<'_>, forwarded: &Forwarded, outcome: &Outcome) {
        let settled = match self.write_outcome(claimed, forwarded, outcome).await {
            Ok(true) if matches!(outcome, Outcome::Final(_)) => "stored",
            Ok(true) => "released",
            Ok(false) => "late",
            Err(error) => {
                tracing::error!(error = %chain(&error), "The outcome of a mutation was not stored.");
                "unstored"
            }
        };
        counter!("bff_backoffice_mutation_settled_total", "outcome" => settled).increment(1);
    }

    /// Returns false when another worker has taken the claim over.
    async fn write_outcome(
        &self,
        claimed: ClaimedMutation<'_>,
        forwarded: &Forwarded,
        outcome: &Outcome,
    ) -> Result<bool, StoreError> {
        let ClaimedMutation { request, mutation, fence } = claimed;
        let mut connection = self.0.database.connection().await?;
        let transaction = write(&mut connection, request.scope.tenant).await?;
        let (fenced, now) = (FencedScope { scope: &request.scope, fence }, self.0.env.now());
        let is_ours = match outcome {
            Outcome::Final(response) => {
                store::complete(&transaction, fenced, response, now).await?
            }
            Outcome::Open { .. } => store::release(&transaction, fenced, now).await?,
        };
        self.record_activity(&transaction, claimed, outcome.name(), outcome.code()).await?;
        if let Some(log) = &mutation.effect_log {
            log.after(&transaction, claimed, forwarded).await?;
        }
        transaction.commit().await?;
        Ok(is_ours)
    }

    async fn record_activity(
        &self,
        transaction: &Transaction<'_>,
        claimed: ClaimedMutation<'_>,
        outcome: &'static str,
        code: Option<String>,
    ) -> Result<(), StoreError> {
        let ClaimedMutation { request, mutation, .. } = claimed;
        let activity = Activity {
            principal: &request.principal,
            session: Some(mutation.session),
            request: &request.context,
            action: mutation.action,
            resource: &mutation.resource,
            outcome,
            detail: detail(claimed, code),
        };
        activity::record(transaction, &activity, &self.0.env).await?;
        Ok(())
    }
}

/// Refuses a repeat by a caller whose scope no longer holds where the first may have had its effect.
fn check_scope(claim: &Claim, principal: &Principal) -> ApiResult<()> {
    let is_in_scope = claim.reach().is_none_or(|reach| reach.is_in_scope_of(principal));
    if is_in_scope || !safeguard!(PropertyScope) {
        return Ok(());
    }
    Err(ApiError::new(
        &code::PROPERTY_OUT_OF_SCOPE,
        "You no longer have access to the property of the request with this Idempotency-Key. Ask a colleague with access whether it was executed.",
    ))
}

/// Checks the second factor in the transaction of the claim.
struct SecondFactorCheck<'a> {
    transaction: &'a Transaction<'a>,
    request: &'a Request,
    mutation: &'a Mutation,
    now: Timestamp,
}

impl SecondFactorCheck<'_> {
    /// Consumes the attestation of work that is to be done. A repeat that gets a stored response needs
    /// one that permits the request, whether or not the first request consumed it.
    async fn run(&self, claim: &Claim) -> ApiResult<()> {
        let factor = self.mutation.second_factor.filter(|_| safeguard!(SecondFactorRequired));
        let Some(SecondFactor { scope, attestation }) = factor else { return Ok(()) };
        let Self { transaction, request, mutation, now } = self;
        let wanted = Use {
            scope,
            resource: &mutation.resource,
            body_digest: request.body_digest(),
            by: request.scope.key.as_str(),
            fingerprint: *request.fingerprint.as_bytes(),
            resumes: matches!(claim, Claim::TakenOver { .. }),
        };
        let principal = &request.principal;
        let is_to_be_done = matches!(claim, Claim::Acquired { .. } | Claim::TakenOver { .. });
        if is_to_be_done {
            self.check_not_frozen().await?;
            attestation::consume(transaction, principal, attestation, &wanted, *now).await?;
        } else {
            attestation::check(transaction, principal, attestation, &wanted).await?;
        }
        Ok(())
    }

    async fn check_not_frozen(&self) -> ApiResult<()> {
        let is_frozen =
            is_frozen::<freeze::SecondFactorRoutes>(self.transaction).await.map_err(unavailable)?;
        if is_frozen && safeguard!(SecondFactorFreeze) { Err(freeze::frozen()) } else { Ok(()) }
    }
}

fn detail(claimed: ClaimedMutation<'_>, code: Option<String>) -> Value {
    let ClaimedMutation { request, mutation, fence } = claimed;
    let mut detail = json!({"idempotencyKey": request.scope.key.as_str(), "attempt": fence});
    if let Some(factor) = mutation.second_factor {
        detail["attestation"] = factor.attestation.as_str().into();
    }
    if let Some(code) = code {
        detail["code"] = code.into();
    }
    detail
}

fn count_claim(claim: &Claim) {
    let outcome = match claim {
        Claim::Acquired { .. } => "first",
        Claim::TakenOver { .. } => "taken_over",
        Claim::Completed { .. } => "replayed",
        Claim::InProgress { .. } => "in_flight",
        Claim::KeyReused => "reused",
    };
    counter!("bff_backoffice_idempotency_dedup_total", "outcome" => outcome).increment(1);
}

fn in_progress() -> ApiError {
    ApiError::new(
        &code::IDEMPOTENCY_IN_FLIGHT,
        "The first request with this Idempotency-Key is still running. Repeat it in a second.",
    )
}

fn key_reused() -> ApiError {
    ApiError::new(
        &code::IDEMPOTENCY_KEY_REUSED,
        "This Idempotency-Key belongs to another request. Send a new key with a new change.",
    )
}

fn interrupted() -> ApiError {
    ApiError::new(
        &code::INTERNAL,
        "The request was interrupted on our side. Repeat it with the same Idempotency-Key.",
    )
}
