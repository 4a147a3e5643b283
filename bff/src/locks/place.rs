//! Where a lock is, and whether the caller may act there. lock-integration says where; while it is
//! away, the ledger remembers where the lock was when it was last used.

use std::sync::Arc;
use std::time::Duration;

use auth::request_token::RequestTokens;
use axum::extract::{FromRef, FromRequestParts};
use contracts::id::{LockDeviceId, PropertyId, TenantId};
use contracts::problem::code;
use contracts::safeguard;
use contracts::upstream::Upstream;
use contracts::upstream::lock::LockDevice;
use http::request::Parts;
use service_kit::extract::Path;
use service_kit::postgres::Database;
use service_kit::problem::{ApiError, chain};
use tokio::time::Instant;
use upstream_clients::{CallError, Upstreams};

use super::ledger;
use crate::edge::{Caller, Calls, Permission, SignedIn};
use crate::upstream_problem;

/// Longest question for where a lock is.
const ASKED_FOR: Duration = Duration::from_millis(800);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub property: PropertyId,
    pub vendor: String,
}

/// A caller with this permission at the lock the path names, if anybody could say where that is.
/// A lock of another tenant is 404, one out of the caller's scope 403; both before the role.
#[derive(Debug)]
pub struct AtLock<P> {
    pub caller: Caller<P>,
    pub lock: LockDeviceId,
    /// Without a place nothing is sent: the error is what came of asking for it.
    pub place: Result<Place, CallError>,
}

impl<S, P> FromRequestParts<S> for AtLock<P>
where
    S: Send + Sync,
    P: Permission,
    Arc<RequestTokens>: FromRef<S>,
    Arc<Upstreams>: FromRef<S>,
    Database: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let caller = Caller::<SignedIn>::from_request_parts(parts, state).await?.principal;
        let Path(lock) = Path::<LockDeviceId>::from_request_parts(parts, state).await?;
        let calls = Calls::from_request_parts(parts, state).await?;
        let upstreams = Arc::<Upstreams>::from_ref(state);
        let place = match ask(&upstreams, &calls, lock).await {
            Ok(place) => Ok(place),
            Err(error) if upstream_problem::is_a_refusal(&error) => {
                return Err(upstream_problem::problem(Upstream::Lock, &error));
            }
            Err(error) => remembered(&Database::from_ref(state), caller.tenant, lock, error).await,
        };
        let is_elsewhere = place.as_ref().is_ok_and(|place| !caller.covers(place.property));
        if is_elsewhere && safeguard!(PropertyScope) {
            return Err(ApiError::new(
                &code::PROPERTY_OUT_OF_SCOPE,
                "The lock is in a property that is not in your scope. Ask for access to it.",
            ));
        }
        Ok(Self { caller: Caller::from_request_parts(parts, state).await?, lock, place })
    }
}

async fn ask(upstreams: &Upstreams, calls: &Calls, lock: LockDeviceId) -> Result<Place, CallError> {
    let context = calls.until(Instant::now() + ASKED_FOR);
    let LockDevice { lock_id, property_id, vendor, .. } =
        upstreams.lock_device(&context, lock).await?;
    if lock_id != lock {
        tracing::error!(asked = %lock, answered = %lock_id, "An upstream answered about another lock.");
        return Err(CallError::SchemaDrift { path: "lockId".to_owned() });
    }
    Ok(Place { property: property_id, vendor: vendor.into() })
}

async fn remembered(
    database: &Database,
    tenant: TenantId,
    lock: LockDeviceId,
    error: CallError,
) -> Result<Place, CallError> {
    match ledger::last_place(database, tenant, lock).await {
        Ok(Some(place)) => Ok(place),
        Ok(None) => Err(error),
        Err(unread) => {
            tracing::info!(error = %chain(&unread), "Where a lock was last could not be read.");
            Err(error)
        }
    }
}
