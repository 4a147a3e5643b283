//! Extractor for routes that require a supervisor. Other callers are refused and counted: the gateway
//! lets only supervisors through, so such a request bypassed a check (seed HK-8.2).

use axum::extract::FromRequestParts;
use contracts::problem::code;
use contracts::role::RoleSet;
use contracts::safeguard;
use http::request::Parts;
use metrics::counter;
use service_kit::caller::Caller;
use service_kit::problem::ApiError;
use service_kit::service::Shared;

/// A caller with a supervisor role. A handler that extracts it requires the role.
#[derive(Debug, Clone)]
pub struct Supervisor(pub Caller);

impl FromRequestParts<Shared> for Supervisor {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, shared: &Shared) -> Result<Self, ApiError> {
        let caller = Caller::from_request_parts(parts, shared).await?;
        if !safeguard!(SupervisorRole)
            || caller.0.roles.intersects(RoleSet::HOUSEKEEPING_SUPERVISOR)
        {
            return Ok(Self(caller));
        }
        counter!("housekeeping_auth_role_unexpected_total").increment(1);
        tracing::warn!(
            operator = %caller.0.operator, device = %caller.0.device, roles = ?caller.0.roles,
            "A supervisor route was called without the role."
        );
        Err(ApiError::new(
            &code::SUPERVISOR_REQUIRED,
            "This requires a supervisor. Ask your housekeeping manager.",
        ))
    }
}
