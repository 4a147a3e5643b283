//! The location of a lock, and whether the caller may act there. lock-integration knows it; while it
//! is unavailable, the audit log has the location of the lock's last action.

use std::marker::PhantomData;
use std::time::Duration;

use axum::extract::FromRequestParts;
use contracts::id::{LockDeviceId, PropertyId, TenantId};
use contracts::problem::code;
use contracts::safeguard;
use contracts::upstream::Upstream;
use contracts::upstream::lock::LockDevice;
use http::request::Parts;
use service_kit::extract::Path;
use service_kit::pg_row;
use service_kit::postgres::{Database, StoreError};
use service_kit::problem::{ApiError, chain};
use tokio::time::Instant;
use upstream_clients::{CallError, Upstreams};

use crate::edge::{Caller, CallerContext, Permission, SignedIn};
use crate::problems::upstream;
use crate::state::Gateway;

/// For the request to lock-integration.
const LOCATION_TIMEOUT: Duration = Duration::from_millis(800);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LockLocation {
    pub property: PropertyId,
    pub vendor: String,
}

/// Extracts a caller with this permission at the lock of the path.
///
/// A lock of another tenant is 404, one out of the caller's scope 403; both before the role.
#[derive(Debug)]
pub(crate) struct AtLock<P> {
    pub lock: LockDeviceId,
    /// Without a location nothing is sent; the error says why it is unknown.
    pub location: Result<LockLocation, CallError>,
    permission: PhantomData<P>,
}

impl<P: Permission> FromRequestParts<Gateway> for AtLock<P> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &Gateway) -> Result<Self, ApiError> {
        let caller = Caller::<SignedIn>::from_request_parts(parts, state).await?.principal;
        let Path(lock) = Path::<LockDeviceId>::from_request_parts(parts, state).await?;
        let calls = CallerContext::from_request_parts(parts, state).await?;
        let location = match fetch(&state.upstreams, &calls, lock).await {
            Ok(location) => Ok(location),
            Err(error) if upstream::is_a_refusal(&error) => {
                return Err(upstream::problem(Upstream::Lock, &error));
            }
            Err(error) => last_known(&state.database, caller.tenant, lock, error).await,
        };
        let is_elsewhere =
            location.as_ref().is_ok_and(|location| !caller.covers(location.property));
        if is_elsewhere && safeguard!(PropertyScope) {
            return Err(ApiError::new(
                &code::PROPERTY_OUT_OF_SCOPE,
                "You do not have access to the property of this lock. Ask a manager for access.",
            ));
        }
        Caller::<P>::from_request_parts(parts, state).await?;
        Ok(Self { lock, location, permission: PhantomData })
    }
}

async fn fetch(
    upstreams: &Upstreams,
    calls: &CallerContext,
    lock: LockDeviceId,
) -> Result<LockLocation, CallError> {
    let context = calls.with_deadline(Instant::now() + LOCATION_TIMEOUT);
    let LockDevice { lock_id, property_id, vendor, .. } =
        upstreams.lock_device(&context, lock).await?;
    if lock_id != lock {
        tracing::error!(requested = %lock, received = %lock_id, "An upstream sent another lock than the requested one.");
        return Err(CallError::SchemaDrift { path: "lockId".to_owned() });
    }
    Ok(LockLocation { property: property_id, vendor: vendor.to_string() })
}

const LAST_LOCATION_SQL: &str = "
    SELECT property_id, coalesce(detail->>'vendor', 'unknown') AS vendor
    FROM bff.lock_action_proxy_audit
    WHERE tenant_id = bff.current_tenant_id() AND lock_id = $1 AND property_id IS NOT NULL
    ORDER BY sequence DESC
    LIMIT 1";

/// The location of the lock's last action.
async fn last_location(
    database: &Database,
    tenant: TenantId,
    lock: LockDeviceId,
) -> Result<Option<LockLocation>, StoreError> {
    let rows = database.read(tenant, LAST_LOCATION_SQL, &[&lock.as_str()]).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let (property, vendor) = (pg_row::id(row, "property_id")?, pg_row::get(row, "vendor")?);
    Ok(Some(LockLocation { property, vendor }))
}

async fn last_known(
    database: &Database,
    tenant: TenantId,
    lock: LockDeviceId,
    error: CallError,
) -> Result<LockLocation, CallError> {
    match last_location(database, tenant, lock).await {
        Ok(Some(location)) => Ok(location),
        Ok(None) => Err(error),
        Err(unread) => {
            tracing::info!(error = %chain(&unread), "The last location of a lock could not be read.");
            Err(error)
        }
    }
}
