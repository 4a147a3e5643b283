//! Who may do what only supervisors may. A caller who is none is refused and counted: the gateway
//! shows such routes to supervisors alone, so whoever comes here without the role has found
//! another way (seed HK-8.2).

use axum::extract::FromRequestParts;
use contracts::problem::code;
use contracts::role::{Role, RoleSet};
use contracts::safeguard;
use http::request::Parts;
use metrics::counter;
use service_kit::caller::Caller;
use service_kit::problem::ApiError;
use service_kit::service::Shared;

/// Roles that supervise housekeeping.
const SUPERVISORS: RoleSet =
    RoleSet::of(&[Role::HousekeepingManager, Role::PropertyGm, Role::TenantAdmin]);

/// A caller who supervises. A handler that takes it cannot be reached by others.
#[derive(Debug, Clone)]
pub struct Supervisor(pub Caller);

impl FromRequestParts<Shared> for Supervisor {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, shared: &Shared) -> Result<Self, ApiError> {
        let caller = Caller::from_request_parts(parts, shared).await?;
        if !safeguard!(SupervisorRole) || caller.0.roles.intersects(SUPERVISORS) {
            return Ok(Self(caller));
        }
        counter!("housekeeping_auth_role_unexpected_total").increment(1);
        tracing::warn!(
            operator = %caller.0.operator, device = %caller.0.device, roles = ?caller.0.roles,
            "A route for supervisors was called without that role."
        );
        Err(ApiError::new(
            &code::SUPERVISOR_REQUIRED,
            "Only a supervisor may do this. Ask your housekeeping manager.",
        ))
    }
}
