//! The one path every mutation takes, so that each happens exactly once:
//!
//! 1. claim: in one transaction the key is claimed, the second factor consumed, the activity noted; a
//!    repeat is checked against the caller's scope of now, and against the attestation it comes with;
//! 2. forward: one call with the same key, so that the upstream can tell a repeat too;
//! 3. settle: the answer is stored, or the claim given back, and the outcome noted;
//! 4. answer.
//!
//! From the claim on it runs in a task of its own: a client that goes away stops nothing half-way.
//! Wherever the process dies, the next repeat takes the claim over once its lease has run out and
//! forwards again with the same key. Not here: who may do it, and what an upstream is told.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use auth::Principal;
use axum::body::Bytes;
use axum::extract::FromRef;
use axum::response::Response;
use composer::Composer;
use contracts::clock::{Clock, Entropy};
use contracts::id::{AttestationId, PropertyId, SessionId};
use contracts::problem::code;
use contracts::safeguard;
use contracts::upstream::Upstream;
use jiff::Timestamp;
use metrics::counter;
use serde_json::{Value, json};
use service_kit::lifecycle::Lifecycle;
use service_kit::postgres::{Database, StoreError, Transaction, write};
use service_kit::problem::{ApiError, ApiResult, chain};
use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::Instrument;
use upstream_clients::{CallContext, CallError, Reply, Upstreams};

use crate::activity::{self, Activity};
use crate::attestation::{self, MfaScope, Presented, Scope, Use};
use crate::idempotency::Reach;
use crate::idempotency::store::{self, Claim, Claimed};
use crate::locks::{self, Ending};
use crate::state::Gateway;
use crate::store::unavailable;

mod outcome;
pub mod request;

use outcome::{Outcome, outcome};

pub use request::Request;

/// An upstream has so long, its own retry included; counted from the claim.
const FORWARDED_WITHIN: Duration = Duration::from_secs(2);
/// How long a claim is its worker's: the forwarding, then the settling with all the database's
/// time limits.
const LEASE: Duration = Duration::from_secs(5);

/// What a mutation does, for the ledger.
#[derive(Debug, Clone)]
pub struct Deed {
    /// Who is asked to do it.
    pub upstream: Upstream,
    /// `<aggregate>.<verb>`
    pub action: &'static str,
    /// Id of what is changed.
    pub resource: String,
    /// Without the session tier there is none, and nothing is changed.
    pub session: SessionId,
    pub second_factor: Option<SecondFactor>,
    /// Where it is done, if the request says so. Else the answer does, or the caller's scope stands for
    /// it: a repeat is checked against it.
    pub property: Option<PropertyId>,
    /// A lock action has a ledger of its own besides.
    pub lock: Option<locks::Action>,
}

/// The attestation that came with the request; the claim consumes it.
#[derive(Debug, Clone, Copy)]
pub struct SecondFactor {
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
        Self { scope: presented.scope(), attestation: presented.id }
    }
}

/// What a forwarded call is made of.
#[derive(Debug, Clone)]
pub struct Forward {
    pub upstreams: Arc<Upstreams>,
    pub context: CallContext,
    pub key: String,
    /// As it came.
    pub body: Bytes,
}

/// Carries mutations out.
#[derive(Debug, Clone)]
pub struct Mutations {
    database: Database,
    upstreams: Arc<Upstreams>,
    composer: Composer,
    clock: Clock,
    entropy: Entropy,
    lifecycle: Lifecycle,
}

impl FromRef<Gateway> for Mutations {
    fn from_ref(gateway: &Gateway) -> Self {
        Self {
            database: gateway.database.clone(),
            upstreams: Arc::clone(&gateway.upstreams),
            composer: gateway.composer.clone(),
            clock: gateway.clock.clone(),
            entropy: gateway.entropy.clone(),
            lifecycle: gateway.lifecycle.clone(),
        }
    }
}

impl Mutations {
    /// Where a deed's ids come from.
    pub fn sources(&self) -> (&Clock, &Entropy) {
        (&self.clock, &self.entropy)
    }

    /// Once per key. Shutdown waits for what was begun.
    pub async fn carry_out<T, F, A>(
        self,
        request: Request,
        deed: Deed,
        call: F,
    ) -> ApiResult<Response>
    where
        F: FnOnce(Forward) -> A + Send + 'static,
        A: Future<Output = Result<Reply<T>, CallError>> + Send,
        T: Send,
    {
        let (tell, told) = oneshot::channel();
        let lifecycle = self.lifecycle.clone();
        let work = async move {
            let answer = self.run(&request, &deed, call).await;
            if tell.send(answer).is_err() {
                tracing::info!("The client went away before its mutation was answered.");
            }
        };
        lifecycle.spawn(work.in_current_span());
        told.await.unwrap_or_else(|_| Err(interrupted()))
    }

    async fn run<T, F, A>(&self, request: &Request, deed: &Deed, call: F) -> ApiResult<Response>
    where
        F: FnOnce(Forward) -> A + Send,
        A: Future<Output = Result<Reply<T>, CallError>> + Send,
        T: Send,
    {
        let deadline = Instant::now() + FORWARDED_WITHIN;
        let claimed = if safeguard!(DurableClaim) {
            self.claim(request, deed).await?
        } else {
            Claimed::First { fence: 1 }
        };
        note(&claimed);
        let fence = match claimed {
            Claimed::First { fence } | Claimed::Resumed { fence, .. } => fence,
            Claimed::Finished { answer, .. } => return Ok(answer.replayed()),
            Claimed::InFlight { .. } => return Err(in_flight()),
            Claimed::Reused => return Err(reused()),
        };
        let called = self.forward(request, deadline, call).await;
        let ending = deed.lock.as_ref().map(|action| action.ending(&called));
        let outcome = outcome(deed.upstream, called);
        // Who reads next sees what was done.
        self.composer.snapshots().outdate(request.slot.tenant, None, deed.upstream);
        self.settle(request, deed, (fence, &outcome, ending)).await;
        outcome.into_answer()
    }

    /// The key claimed, the second factor consumed and the activity noted, or nothing of it: a
    /// repeat that only gets an answer uses no attestation up.
    async fn claim(&self, request: &Request, deed: &Deed) -> ApiResult<Claimed> {
        let mut connection = self.database.connection().await.map_err(unavailable)?;
        let transaction = write(&mut connection, request.slot.tenant).await.map_err(unavailable)?;
        let now = self.clock.now();
        let claim = Claim {
            slot: &request.slot,
            fingerprint: &request.fingerprint,
            reach: &Reach::new(&request.principal, deed.property),
            now,
            lease: LEASE,
        };
        let claimed = store::claim(&transaction, &claim).await.map_err(unavailable)?;
        check_scope(&claimed, &request.principal)?;
        let check = Check { transaction: &transaction, request, deed, now };
        check.second_factor(&claimed).await?;
        if let Claimed::First { fence } | Claimed::Resumed { fence, .. } = claimed {
            let begun = self.note_activity(&transaction, request, deed, ("requested", fence, None));
            begun.await.map_err(unavailable)?;
            if let Some(action) = deed.lock.as_ref().filter(|_| safeguard!(LockAudit)) {
                let noted = action.note_request(&transaction, (request, deed), &self.clock);
                noted.await?;
            }
            transaction.commit().await.map_err(unavailable)?;
        }
        Ok(claimed)
    }

    /// One call. None is begun when its time has passed: the process may have been held up since
    /// the claim, which by now can be somebody else's.
    async fn forward<T, F, A>(
        &self,
        request: &Request,
        deadline: Instant,
        call: F,
    ) -> Result<Reply<T>, CallError>
    where
        F: FnOnce(Forward) -> A + Send,
        A: Future<Output = Result<Reply<T>, CallError>> + Send,
    {
        if Instant::now() >= deadline {
            return Err(CallError::Timeout);
        }
        call(Forward {
            upstreams: Arc::clone(&self.upstreams),
            context: request.calls.until(deadline),
            key: self.key(request),
            body: request.body.clone(),
        })
        .await
    }

    /// The caller's own, so that a repeat is one for the upstream, too.
    fn key(&self, request: &Request) -> String {
        if safeguard!(SameIdempotencyKey) {
            return request.slot.key.as_str().to_owned();
        }
        format!("{:032x}", self.entropy.u128())
    }

    /// What the upstream did is done, whether or not we can write it down: then the caller still
    /// gets its answer, and a repeat finds it out from the upstream under the same key.
    async fn settle(
        &self,
        request: &Request,
        deed: &Deed,
        (fence, outcome, ending): (i64, &Outcome, Option<Ending>),
    ) {
        let settled = match self.write_outcome(request, deed, (fence, outcome, ending)).await {
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

    /// False when the claim was taken over meanwhile.
    async fn write_outcome(
        &self,
        request: &Request,
        deed: &Deed,
        (fence, outcome, ending): (i64, &Outcome, Option<Ending>),
    ) -> Result<bool, StoreError> {
        let mut connection = self.database.connection().await?;
        let transaction = write(&mut connection, request.slot.tenant).await?;
        let (claim, now) = ((&request.slot, fence), self.clock.now());
        let is_ours = match outcome {
            Outcome::Final(answer) => store::complete(&transaction, claim, answer, now).await?,
            Outcome::Open { .. } => store::release(&transaction, claim, now).await?,
        };
        let noted = (outcome.name(), fence, outcome.code());
        self.note_activity(&transaction, request, deed, noted).await?;
        self.note_ending(&transaction, request, deed, ending).await?;
        transaction.commit().await?;
        Ok(is_ours)
    }

    /// Also of a claim that was taken over: it was this call that had this end.
    async fn note_ending(
        &self,
        transaction: &Transaction<'_>,
        request: &Request,
        deed: &Deed,
        ending: Option<Ending>,
    ) -> Result<(), StoreError> {
        let (Some(action), Some(ending)) = (&deed.lock, ending) else { return Ok(()) };
        action.count(&ending);
        if !safeguard!(LockAudit) {
            return Ok(());
        }
        let by = (&self.clock, &self.entropy);
        action.note_ending(transaction, (request, deed), &ending, by).await
    }

    async fn note_activity(
        &self,
        transaction: &Transaction<'_>,
        request: &Request,
        deed: &Deed,
        (outcome, fence, code): (&'static str, i64, Option<String>),
    ) -> Result<(), StoreError> {
        let activity = Activity {
            principal: &request.principal,
            session: Some(deed.session),
            request: &request.context,
            action: deed.action,
            resource: &deed.resource,
            outcome,
            detail: detail(request, deed, fence, code),
        };
        activity::record(transaction, &activity, (&self.clock, &self.entropy)).await?;
        Ok(())
    }
}

/// Refuses a repeat by a caller whose scope no longer holds where the first may have had its effect.
fn check_scope(claimed: &Claimed, principal: &Principal) -> ApiResult<()> {
    let is_in_scope = claimed.reach().is_none_or(|reach| reach.is_in_scope_of(principal));
    if is_in_scope || !safeguard!(PropertyScope) {
        return Ok(());
    }
    Err(ApiError::new(
        &code::PROPERTY_OUT_OF_SCOPE,
        "The change of this Idempotency-Key was sent when your scope was wider. Ask somebody with access to the property whether it was made.",
    ))
}

/// What is checked of a request in the transaction of its claim.
struct Check<'a> {
    transaction: &'a Transaction<'a>,
    request: &'a Request,
    deed: &'a Deed,
    now: Timestamp,
}

impl Check<'_> {
    /// Consumes the attestation for work that is to be done. A repeat that gets an answer shows one
    /// that permits the request; that the first consumed it does not matter then.
    async fn second_factor(&self, claimed: &Claimed) -> ApiResult<()> {
        let factor = self.deed.second_factor.filter(|_| safeguard!(SecondFactorRequired));
        let Some(SecondFactor { scope, attestation }) = factor else { return Ok(()) };
        let Self { transaction, request, deed, now } = self;
        let wanted = Use {
            scope,
            resource: &deed.resource,
            body_digest: request.body_digest(),
            by: request.slot.key.as_str(),
            fingerprint: *request.fingerprint.as_bytes(),
            resumes: matches!(claimed, Claimed::Resumed { .. }),
        };
        let principal = &request.principal;
        let is_to_be_done = matches!(claimed, Claimed::First { .. } | Claimed::Resumed { .. });
        if is_to_be_done {
            attestation::consume(transaction, principal, attestation, &wanted, *now).await?;
        } else {
            attestation::check(transaction, principal, attestation, &wanted).await?;
        }
        Ok(())
    }
}

fn detail(request: &Request, deed: &Deed, fence: i64, code: Option<String>) -> Value {
    let mut detail = json!({"idempotencyKey": request.slot.key.as_str(), "attempt": fence});
    if let Some(factor) = deed.second_factor {
        detail["attestation"] = factor.attestation.as_str().into();
    }
    if let Some(code) = code {
        detail["code"] = code.into();
    }
    detail
}

fn note(claimed: &Claimed) {
    let outcome = match claimed {
        Claimed::First { .. } => "first",
        Claimed::Resumed { .. } => "taken_over",
        Claimed::Finished { .. } => "replayed",
        Claimed::InFlight { .. } => "in_flight",
        Claimed::Reused => "reused",
    };
    counter!("bff_backoffice_idempotency_dedup_total", "outcome" => outcome).increment(1);
}

fn in_flight() -> ApiError {
    ApiError::new(
        &code::IDEMPOTENCY_IN_FLIGHT,
        "The first request with this Idempotency-Key is still running. Repeat it in a second.",
    )
}

fn reused() -> ApiError {
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
