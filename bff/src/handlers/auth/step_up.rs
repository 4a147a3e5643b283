//! `POST /auth/mfa/step-up`: a second factor for one action, as an attestation.
//!
//! iam judges the factor and counts wrong ones. Not here: what an attestation is good for, and
//! its use ([`crate::attestation`]).

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use contracts::id::{AttestationId, FolioId, LockDeviceId};
use contracts::problem::code;
use contracts::upstream::Upstream;
use contracts::upstream::iam::{AttestRequest, MfaMethod};
use http::StatusCode;
use http::header::CACHE_CONTROL;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use service_kit::extract::Json;
use service_kit::postgres::write;
use service_kit::problem::{ApiError, ApiResult};
use upstream_clients::CallError;

use super::IAM_WITHIN;
use crate::attestation::{self, Issued, Purpose, Scope};
use crate::edge::{Caller, Calls, SignedIn};
use crate::guards::{Guard, holds};
use crate::state::Gateway;
use crate::store::unavailable;
use crate::upstream_problem;

/// Characters of a code; those of today have six.
const LONGEST_CODE: usize = 32;
const RUNBOOK: &str = "bff-backoffice/mfa-down";

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StepUpRequest {
    method: MfaMethod,
    /// What the operator's device shows.
    #[schema(min_length = 1, max_length = 32)]
    code: String,
    scope: Scope,
    /// The folio or lock it is for; any of the scope when left out.
    resource: Option<String>,
    /// SHA-256 of the one body it permits, base64url without padding; any when left out.
    body_digest: Option<String>,
}

impl std::fmt::Debug for StepUpRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StepUpRequest").field("scope", &self.scope).finish_non_exhaustive()
    }
}

/// Send `id` as `X-MFA-Attestation`, once, before it ends.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SteppedUp {
    id: AttestationId,
    scope: Scope,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource: Option<String>,
    #[serde(with = "contracts::clock::wire")]
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
}

/// Show a second factor.
///
/// The attestation permits one action of the scope, once, within five minutes, to this operator
/// at this device with this key.
#[utoipa::path(
    post, path = "/auth/mfa/step-up", tag = "auth", security(("dpop" = [])), request_body = StepUpRequest,
    responses((status = 201, body = SteppedUp), (status = "default", response = crate::openapi::AnyProblem)),
)]
pub async fn step_up(
    caller: Caller<SignedIn>,
    calls: Calls,
    State(gateway): State<Gateway>,
    Json(request): Json<StepUpRequest>,
) -> ApiResult<Response> {
    let purpose = purpose(&request)?;
    // A code is good once: that its attestation can be written is made sure of before it is used.
    let mut connection = gateway.database.connection().await.map_err(unavailable)?;
    let transaction = write(&mut connection, caller.principal.tenant).await.map_err(unavailable)?;
    let asked = AttestRequest { method: request.method, code: request.code };
    let context = calls.until(calls.received() + IAM_WITHIN);
    if let Err(error) = gateway.upstreams.attest(&context, &asked).await
        && (is_refusal(&error) || holds(Guard::SecondFactor))
    {
        return Err(not_attested(error));
    }
    let (clock, entropy) = (&gateway.clock, &gateway.entropy);
    let issued = attestation::issue(
        &transaction,
        &caller.principal,
        &purpose,
        calls.request_id(),
        (clock, entropy),
    );
    let issued = issued.await.map_err(unavailable)?;
    transaction.commit().await.map_err(unavailable)?;
    Ok(answer(purpose, issued))
}

/// What the factor is shown for, if that can be acted on at all.
fn purpose(request: &StepUpRequest) -> Result<Purpose, ApiError> {
    if !(1..=LONGEST_CODE).contains(&request.code.chars().count()) {
        return Err(ApiError::field(
            "body.code",
            "INVALID",
            "Send the code that the device shows.",
        ));
    }
    let named = request.resource.as_deref();
    if !named.is_none_or(|id| is_of(request.scope, id)) {
        return Err(ApiError::field(
            "body.resource",
            "INVALID",
            "Send the id of the folio or lock that the scope is about.",
        ));
    }
    let digest = request.body_digest.as_deref().map(digest).transpose()?;
    Ok(Purpose { scope: request.scope, resource: request.resource.clone(), body_digest: digest })
}

fn is_of(scope: Scope, id: &str) -> bool {
    match scope {
        Scope::FolioRefund | Scope::FolioCharge => id.parse::<FolioId>().is_ok(),
        Scope::LockRevoke => id.parse::<LockDeviceId>().is_ok(),
    }
}

fn digest(text: &str) -> Result<[u8; 32], ApiError> {
    let bytes = auth::jwt::decoded(text).and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or_else(|| {
        ApiError::field(
            "body.bodyDigest",
            "INVALID",
            "Send the SHA-256 of the body as base64url without padding.",
        )
    })
}

/// iam judged the code, or the request for it.
fn is_refusal(error: &CallError) -> bool {
    matches!(error, CallError::Status { status: 400..500, .. })
}

/// iam's own word about the code, or what kept it away.
fn not_attested(error: CallError) -> ApiError {
    let ApiError(mut problem) = upstream_problem::problem(Upstream::Iam, &error);
    if problem.is(&code::UPSTREAM_UNAVAILABLE) || problem.is(&code::UPSTREAM_TIMEOUT) {
        problem.runbook = Some(RUNBOOK.into());
    }
    ApiError(problem)
}

fn answer(purpose: Purpose, Issued { id, expires_at }: Issued) -> Response {
    let body = SteppedUp { id, scope: purpose.scope, resource: purpose.resource, expires_at };
    (StatusCode::CREATED, [(CACHE_CONTROL, "no-store")], Json(body)).into_response()
}
