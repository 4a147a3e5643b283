//! The one path every mutation takes, so that each happens exactly once:
//!
//! 1. claim: in one transaction the second factor is consumed, the key claimed, the activity noted;
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

use axum::body::Bytes;
use axum::extract::FromRef;
use axum::response::{IntoResponse, Response};
use contracts::clock::{Clock, Entropy};
use contracts::id::{AttestationId, SessionId};
use contracts::problem::{Problem, code};
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
use crate::guards::{Guard, holds};
use crate::handlers::revoke::unavailable;
use crate::idempotency::StoredAnswer;
use crate::idempotency::store::{self, Claimed};
use crate::state::Gateway;
use crate::upstream_problem;

pub mod request;

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
}

/// The attestation that came with the request; the claim consumes it.
#[derive(Debug, Clone, Copy)]
pub struct SecondFactor {
    scope: Scope,
    attestation: AttestationId,
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
    clock: Clock,
    entropy: Entropy,
    lifecycle: Lifecycle,
}

impl FromRef<Gateway> for Mutations {
    fn from_ref(gateway: &Gateway) -> Self {
        Self {
            database: gateway.database.clone(),
            upstreams: Arc::clone(&gateway.upstreams),
            clock: gateway.clock.clone(),
            entropy: gateway.entropy.clone(),
            lifecycle: gateway.lifecycle.clone(),
        }
    }
}

/// What came of forwarding.
enum Outcome {
    /// Kept, and given to every repeat.
    Final(StoredAnswer),
    /// A repeat may try again.
    Open { error: ApiError, was_sent: bool },
}

impl Mutations {
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
        let unclaimed = !holds(Guard::Store);
        let claimed =
            if unclaimed { Claimed::Ours { fence: 1 } } else { self.claim(request, deed).await? };
        note(&claimed);
        let fence = match claimed {
            Claimed::Ours { fence } => fence,
            Claimed::Finished(answer) => return Ok(answer.replayed()),
            Claimed::InFlight => return Err(in_flight()),
            Claimed::Reused => return Err(reused()),
        };
        let outcome = outcome(deed.upstream, self.forward(request, deadline, call).await);
        self.settle(request, deed, (fence, &outcome)).await;
        outcome.into_answer()
    }

    /// The second factor consumed, the key claimed and the activity noted, or nothing of it: a
    /// repeat that only gets an answer uses no attestation up.
    async fn claim(&self, request: &Request, deed: &Deed) -> ApiResult<Claimed> {
        let mut connection = self.database.connection().await.map_err(unavailable)?;
        let transaction = write(&mut connection, request.slot.tenant).await.map_err(unavailable)?;
        let now = self.clock.now();
        consume(&transaction, request, deed, now).await?;
        let claimed = store::claim(&transaction, &request.slot, &request.fingerprint, (now, LEASE))
            .await
            .map_err(unavailable)?;
        if let Claimed::Ours { fence } = claimed {
            let begun = self.note_activity(&transaction, request, deed, ("requested", fence, None));
            begun.await.map_err(unavailable)?;
            transaction.commit().await.map_err(|error| unavailable(error.into()))?;
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
        if holds(Guard::SameKey) {
            return request.slot.key.as_str().to_owned();
        }
        format!("{:032x}", self.entropy.u128())
    }

    /// What the upstream did is done, whether or not we can write it down: then the caller still
    /// gets its answer, and a repeat finds it out from the upstream under the same key.
    async fn settle(&self, request: &Request, deed: &Deed, (fence, outcome): (i64, &Outcome)) {
        let settled = match self.write_outcome(request, deed, (fence, outcome)).await {
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
        (fence, outcome): (i64, &Outcome),
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
        transaction.commit().await?;
        Ok(is_ours)
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

/// The same attestation under the same key again is the same use.
async fn consume(
    transaction: &Transaction<'_>,
    request: &Request,
    deed: &Deed,
    now: Timestamp,
) -> ApiResult<()> {
    let Some(factor) = deed.second_factor.filter(|_| holds(Guard::Mfa)) else { return Ok(()) };
    let wanted = Use {
        scope: factor.scope,
        resource: &deed.resource,
        body_digest: request.body_digest(),
        by: request.slot.key.as_str(),
    };
    let principal = &request.principal;
    Ok(attestation::consume(transaction, principal, factor.attestation, &wanted, now).await?)
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

fn outcome<T>(upstream: Upstream, called: Result<Reply<T>, CallError>) -> Outcome {
    let error = match called {
        Ok(reply) => return Outcome::Final(StoredAnswer::json(reply.status, reply.body)),
        Err(error) => error,
    };
    let was_sent = !matches!(
        error,
        CallError::NotConfigured | CallError::BreakerOpen | CallError::ConcurrencyLimit
    );
    let error = upstream_problem::problem(upstream, error);
    if is_final(&error.0) {
        return Outcome::Final(StoredAnswer::problem(&error.0));
    }
    Outcome::Open { error, was_sent }
}

/// Whether a refusal is an upstream's last word: then a repeat gets it again. Never one that speaks
/// of this attempt alone.
fn is_final(problem: &Problem) -> bool {
    let of_this_attempt = matches!(problem.status, 401 | 408 | 425 | 429);
    let in_flight = problem.status == 409 && problem.retriable;
    (400..500).contains(&problem.status) && !of_this_attempt && !in_flight
}

impl Outcome {
    fn name(&self) -> &'static str {
        match self {
            Self::Final(answer) if answer.status < 400 => "success",
            Self::Final(_) => "refused",
            Self::Open { was_sent: true, .. } => "unknown",
            Self::Open { was_sent: false, .. } => "not_sent",
        }
    }

    fn code(&self) -> Option<String> {
        match self {
            Self::Final(answer) => answer.as_problem().map(|it: Problem| it.code.into_owned()),
            Self::Open { error, .. } => Some(error.0.code.clone().into_owned()),
        }
    }

    fn into_answer(self) -> ApiResult<Response> {
        match self {
            Self::Final(answer) => Ok(answer.into_response()),
            Self::Open { error, .. } => Err(error),
        }
    }
}

fn note(claimed: &Claimed) {
    let outcome = match claimed {
        Claimed::Ours { fence: 1 } => "first",
        Claimed::Ours { .. } => "taken_over",
        Claimed::Finished(_) => "replayed",
        Claimed::InFlight => "in_flight",
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

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, retriable: bool) -> Problem {
        let problem = Problem::new(&code::OCC_CONFLICT, "Somebody else was first. Look again.");
        Problem { status, retriable, ..problem }
    }

    #[test]
    fn only_a_last_word_is_final() {
        for status in [400, 403, 404, 409, 410, 422] {
            assert!(is_final(&refused(status, false)), "{status}");
        }
        for status in [401, 408, 425, 429, 500, 502, 504] {
            assert!(!is_final(&refused(status, false)), "{status}");
        }
        assert!(!is_final(&refused(409, true)), "the upstream is still at it");
    }
}
