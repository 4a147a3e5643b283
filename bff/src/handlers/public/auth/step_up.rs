//! `POST /auth/mfa/step-up`: verifies a second factor and issues an attestation for one action.
//!
//! iam verifies the code; the gateway counts wrong ones and locks the operator's second factor
//! after a series of them. No connection is held while iam is called: an attempt is reserved before
//! and settled after, each in its own transaction. Not here: the count ([`attempts`]) and the
//! attestations ([`crate::mutation::attestation`]).

use std::sync::Arc;

use auth::Principal;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use contracts::clock::wire;
use contracts::id::{AttestationId, FolioId, LockDeviceId};
use contracts::problem::{Problem, code};
use contracts::rules::require;
use contracts::safeguard;
use contracts::upstream::iam::{AttestRequest, MfaMethod};
use garde::Validate;
use http::StatusCode;
use http::header::CACHE_CONTROL;
use metrics::counter;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use service_kit::extract::Json;
use service_kit::postgres::{StoreError, write};
use service_kit::problem::{ApiError, ApiResult, chain};
use tokio::sync::oneshot;
use tracing::Instrument;
use upstream_clients::CallError;

use super::IAM_TIMEOUT;
use crate::edge::{Caller, CallerContext, SignedIn};
use crate::mutation::attestation::attempts::{Attempt, Reservation};
use crate::mutation::attestation::{self, Issued, Purpose, Scope};
use crate::problems::unavailable;
use crate::problems::upstream;
use crate::state::Gateway;

/// Characters of a code; current codes have six.
const MAX_CODE_LENGTH: usize = 32;
const RUNBOOK: &str = "bff-backoffice/mfa-down";
const IAM_MFA_LOCKED: &str = "MELMASTOON.IAM.MFA_LOCKED";

#[derive(derive_more::Debug, Deserialize, Validate, utoipa::ToSchema)]
#[debug("StepUpRequest {{ scope: {scope:?}, .. }}")]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[garde(allow_unvalidated)]
pub(crate) struct StepUpRequest {
    method: MfaMethod,
    /// What the operator's device shows.
    #[schema(min_length = 1, max_length = 32)]
    #[garde(length(chars, min = 1, max = MAX_CODE_LENGTH))]
    code: String,
    scope: Scope,
    /// The folio or lock it is for; any of the scope when left out.
    #[garde(inner(custom(id_of(self.scope))))]
    resource: Option<String>,
    /// SHA-256 of the one body it permits, base64url without padding; any when left out.
    #[serde(default, deserialize_with = "digest")]
    #[schema(value_type = Option<String>)]
    body_digest: Option<[u8; 32]>,
}

/// Send `id` as `X-MFA-Attestation`, once, before it ends.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SteppedUp {
    id: AttestationId,
    scope: Scope,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource: Option<String>,
    expires_at: wire::Timestamp,
}

/// Verify a second factor.
///
/// The attestation permits one action of the scope, once, within five minutes, to this operator
/// at this device with this key.
///
/// After five wrong codes within 15 minutes every code of the operator, also a right one, is 429
/// `MFA_LOCKED` at every device until `Retry-After` has passed. A right code ends the series.
/// While five codes of the operator are being checked, the next is 429 `MFA_LOCKED` for a second.
#[utoipa::path(
    post, path = "/auth/mfa/step-up", tag = "auth", request_body = StepUpRequest,
    responses((status = 201, body = SteppedUp)),
)]
pub(crate) async fn step_up(
    caller: Caller<SignedIn>,
    calls: CallerContext,
    State(gateway): State<Gateway>,
    Json(request): Json<StepUpRequest>,
) -> ApiResult<Response> {
    let StepUpRequest { method, code, scope, resource, body_digest } = request;
    let purpose = Purpose { scope, resource, body_digest };
    let attempt = Attempt::new(caller.principal.clone(), calls.request_id(), &gateway);
    let code = AttestRequest { method, code };
    let step_up = StepUp { gateway, principal: caller.principal, calls, attempt, purpose, code };
    step_up.run_to_completion().await
}

/// One attempt.
struct StepUp {
    gateway: Gateway,
    principal: Arc<Principal>,
    calls: CallerContext,
    attempt: Attempt,
    purpose: Purpose,
    code: AttestRequest,
}

/// Result of iam's check of a code.
enum CodeCheck {
    Right,
    Wrong(ApiError),
    /// iam compared no code.
    NotChecked(ApiError),
}

impl StepUp {
    /// Runs to completion, also if the client disconnects, so that iam's result is recorded.
    async fn run_to_completion(self) -> ApiResult<Response> {
        let (sender, receiver) = oneshot::channel();
        let lifecycle = self.gateway.lifecycle.clone();
        let work = async move {
            if sender.send(self.run().await).is_err() {
                tracing::info!("The client disconnected before its second factor was checked.");
            }
        };
        lifecycle.spawn(work.in_current_span());
        receiver.await.unwrap_or_else(|_| Err(interrupted()))
    }

    async fn run(self) -> ApiResult<Response> {
        self.reserve().await?;
        match self.check_code().await {
            CodeCheck::Right => self.attest().await,
            CodeCheck::Wrong(refusal) => {
                self.settle_wrong().await;
                Err(refusal)
            }
            CodeCheck::NotChecked(refusal) => {
                self.release().await;
                Err(refusal)
            }
        }
    }

    /// Reserves the attempt before iam sees the code, because a code can be used only once.
    async fn reserve(&self) -> ApiResult<()> {
        match self.attempt.reserve(&self.gateway.database).await.map_err(unavailable)? {
            Reservation::Reserved => Ok(()),
            Reservation::Busy => {
                count("busy");
                Err(busy())
            }
            Reservation::Locked { retry_after } => {
                count("locked");
                Err(locked(retry_after))
            }
        }
    }

    async fn check_code(&self) -> CodeCheck {
        let context = self.calls.with_deadline(self.calls.received() + IAM_TIMEOUT);
        match self.gateway.upstreams.attest(&context, &self.code).await {
            Ok(_) => CodeCheck::Right,
            Err(error) if is_about_the_code(&error) => CodeCheck::Wrong(not_attested(&error)),
            Err(_) if !safeguard!(SecondFactorCheck) => CodeCheck::Right,
            Err(error) => CodeCheck::NotChecked(not_attested(&error)),
        }
    }

    async fn attest(&self) -> ApiResult<Response> {
        let issued = self.issue().await.map_err(unavailable)?;
        count("right");
        Ok(created(&self.purpose, issued))
    }

    /// Issues the attestation and ends the operator's series of wrong codes in one transaction.
    async fn issue(&self) -> Result<Issued, StoreError> {
        let env = &self.gateway.env;
        let (principal, request) = (&self.principal, self.calls.request_id());
        let mut connection = self.gateway.database.connection().await?;
        let transaction = write(&mut connection, principal.tenant).await?;
        self.attempt.end_series(&transaction).await?;
        let issued = attestation::issue(&transaction, principal, &self.purpose, request, env);
        let issued = issued.await?;
        transaction.commit().await?;
        Ok(issued)
    }

    /// An attempt that is not settled counts as wrong too.
    async fn settle_wrong(&self) {
        count("wrong");
        match self.attempt.settle_wrong(&self.gateway.database).await {
            Ok(false) => {}
            Ok(true) => {
                let (tenant, operator) = (self.principal.tenant, self.principal.operator);
                tracing::warn!(%tenant, %operator, device = %self.principal.device,
                    "An operator's second factor is locked after too many wrong codes.");
                counter!("bff_backoffice_mfa_lockouts_total").increment(1);
            }
            Err(error) => {
                tracing::warn!(error = %chain(&error), "Failed to settle a wrong code; its attempt counts until the window ends.");
            }
        }
    }

    async fn release(&self) {
        count("not_judged");
        if let Err(error) = self.attempt.release(&self.gateway.database).await {
            tracing::warn!(error = %chain(&error), "Failed to release an attempt that iam did not check; it counts as a wrong code until the window ends.");
        }
    }
}

fn count(outcome: &'static str) {
    counter!("bff_backoffice_mfa_step_up_total", "outcome" => outcome).increment(1);
}

fn locked(retry_after: u64) -> ApiError {
    let detail = "Too many wrong codes were sent for this operator. Wait until Retry-After has passed, then send the code that the device shows.";
    Problem::new(&code::MFA_LOCKED, detail).with_retry_after(retry_after).into()
}

fn busy() -> ApiError {
    let detail = "Other codes of this operator are being checked. Wait a second, then send the code that the device shows.";
    Problem::new(&code::MFA_LOCKED, detail).with_retry_after(1).into()
}

fn interrupted() -> ApiError {
    ApiError::new(
        &code::INTERNAL,
        "The request was interrupted on our side. Send the next code that the device shows.",
    )
}

/// Requires the id of what the scope is about.
fn id_of(scope: Scope) -> impl FnOnce(&str, &()) -> garde::Result {
    move |id, ()| {
        let is_good = match scope {
            Scope::FolioRefund | Scope::FolioCharge => id.parse::<FolioId>().is_ok(),
            Scope::LockRevoke => id.parse::<LockDeviceId>().is_ok(),
        };
        require(is_good, "Send the id of the folio or lock that the scope is about.")
    }
}

fn digest<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<[u8; 32]>, D::Error> {
    let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
    let bytes = auth::jwt::decoded(&text).and_then(|bytes| bytes.try_into().ok());
    let expected = "expected the SHA-256 of the body as base64url without padding";
    bytes.map(Some).ok_or_else(|| D::Error::custom(expected))
}

/// Whether iam refused the code itself, and not the gateway's token, an unknown operator, or the
/// rate of requests.
fn is_about_the_code(error: &CallError) -> bool {
    match error {
        CallError::Status { status, problem: Some(own) } => {
            let says_nothing = matches!(status, 404 | 407 | 408 | 425 | 429);
            (400..500).contains(status) && !says_nothing && !own.is(&code::UNAUTHENTICATED)
        }
        _ => false,
    }
}

/// Maps iam's refusal or failure.
fn not_attested(error: &CallError) -> ApiError {
    if let Some(retry_after) = locked_by_iam(error) {
        return locked(retry_after);
    }
    let ApiError(mut problem) = upstream::iam_problem(error);
    if problem.is(&code::UPSTREAM_UNAVAILABLE) || problem.is(&code::UPSTREAM_TIMEOUT) {
        problem.runbook = Some(RUNBOOK.into());
    }
    ApiError(problem)
}

/// Returns the seconds to wait if iam has locked the operator. iam also counts codes sent by other
/// services; the response is the same.
fn locked_by_iam(error: &CallError) -> Option<u64> {
    match error {
        CallError::Status { status: 429, problem: Some(own) } if own.code == IAM_MFA_LOCKED => {
            Some(own.retry_after.unwrap_or(1).max(1))
        }
        _ => None,
    }
}

fn created(purpose: &Purpose, Issued { id, expires_at }: Issued) -> Response {
    let (resource, expires_at) = (purpose.resource.clone(), expires_at.into());
    let body = SteppedUp { id, scope: purpose.scope, resource, expires_at };
    (StatusCode::CREATED, [(CACHE_CONTROL, "no-store")], Json(body)).into_response()
}
