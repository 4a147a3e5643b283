//! Routes for the gateway, which authenticates with a request token: refresh, sign-out, and the check
//! of a second factor.

use std::sync::Arc;

use axum::extract::State;
use contracts::problem::{Code, Problem};
use contracts::upstream::Upstream;
use contracts::upstream::iam::{
    AttestRequest, Attested, RefreshRequest, SignOutRequest, TokenResponse,
};
use http::{HeaderName, StatusCode, header};
use service_kit::caller::{Caller, ServiceCaller};
use service_kit::extract::Json;
use service_kit::problem::{ApiError, ApiResult};

use super::Iam;
use super::factors::CodeCheck;
use super::sessions::{PresentedToken, SignedOut};
use crate::effects::Effect;
use crate::refusal::refusal;

static REFRESH_TOKEN_INVALID: Code =
    refusal(401, "MELMASTOON.IAM.REFRESH_TOKEN_INVALID", "The refresh token is not valid");
static MFA_CODE_INVALID: Code =
    refusal(401, "MELMASTOON.IAM.MFA_CODE_INVALID", "The code is not valid or was used");
static MFA_LOCKED: Code = Code {
    retriable: true,
    ..refusal(429, "MELMASTOON.IAM.MFA_LOCKED", "Too many wrong codes of a second factor")
};

type NotStored = [(HeaderName, &'static str); 1];
const NOT_STORED: NotStored = [(header::CACHE_CONTROL, "no-store")];

/// Exchanges a refresh token. The gateway has verified the proof; the token must be bound to its key
/// and device.
pub(super) async fn refresh(
    State(iam): State<Arc<Iam>>,
    _: ServiceCaller,
    Json(request): Json<RefreshRequest>,
) -> ApiResult<(NotStored, Json<TokenResponse>)> {
    let presented = PresentedToken {
        token: &request.refresh_token,
        thumbprint: &request.jkt,
        device: Some(request.device_id),
    };
    let refused = || {
        ApiError::new(
            &REFRESH_TOKEN_INVALID,
            "The refresh token is not valid for this device. Sign in again.",
        )
    };
    let tokens = iam.refresh(&presented).ok_or_else(refused)?;
    Ok((NOT_STORED, Json(tokens)))
}

/// Ends a session of the caller. Idempotent.
pub(super) async fn sign_out(
    State(iam): State<Arc<Iam>>,
    caller: Caller,
    Json(request): Json<SignOutRequest>,
) -> ApiResult<StatusCode> {
    let who = &caller.0;
    match iam.sessions.sign_out(request.session_id, who.operator, who.device) {
        SignedOut::NotTheirs => return Err(ApiError::not_found()),
        SignedOut::Before => {}
        SignedOut::Now(session) => iam.end(&session, "You signed out."),
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Checks a code of the caller's second factor, which is valid once.
pub(super) async fn attest(
    State(iam): State<Arc<Iam>>,
    caller: Caller,
    Json(request): Json<AttestRequest>,
) -> ApiResult<Json<Attested>> {
    let operator = iam.platform.demo.operator(caller.0.operator).ok_or_else(ApiError::not_found)?;
    let now = iam.platform.env.now();
    match iam.factors.check(operator, &request.code, now) {
        CodeCheck::Accepted => {}
        CodeCheck::Rejected => {
            return Err(ApiError::new(
                &MFA_CODE_INVALID,
                "The code is wrong, expired or already used. Wait for the next code and send that.",
            ));
        }
        CodeCheck::Locked { retry_after } => {
            let detail = "Too many wrong codes were sent. Wait until Retry-After has passed.";
            return Err(Problem::new(&MFA_LOCKED, detail).with_retry_after(retry_after).into());
        }
    }
    iam.platform.effects.record(Effect {
        at: now.into(),
        upstream: Upstream::Iam,
        tenant_id: operator.tenant_id,
        action: "factor.verified",
        subject: operator.id.to_string(),
        idempotency_key: None,
        operator_id: Some(operator.id),
    });
    Ok(Json(Attested { verified_at: now.into() }))
}
