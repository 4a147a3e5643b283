//! Applies an event published through the control listener to the stand-ins themselves: iam revokes
//! sessions, tenant suspends or reactivates a tenant.

use contracts::event::CloudEvent;
use contracts::upstream::iam::{SESSION_REVOKED, SessionRevoked};
use contracts::upstream::tenant::{
    TENANT_REACTIVATED, TENANT_SUSPENDED, TenantStatus, TenantStatusChanged,
};
use serde::Deserialize;
use service_kit::problem::{ApiError, ApiResult};

use crate::iam::{Iam, Target};
use crate::upstreams::Platform;

pub(crate) fn apply(event: &CloudEvent, iam: &Iam, platform: &Platform) -> ApiResult<()> {
    match event.kind.as_str() {
        SESSION_REVOKED => {
            let data = SessionRevoked::deserialize(&event.data).ok();
            let target = data.and_then(|data| Target::parse(&data.kind, &data.id));
            iam.revoke(event.tenantid, target.ok_or_else(wrong_data)?);
        }
        TENANT_SUSPENDED => change(event, TenantStatus::Suspended, platform)?,
        TENANT_REACTIVATED => change(event, TenantStatus::Active, platform)?,
        _ => {}
    }
    Ok(())
}

fn change(event: &CloudEvent, status: TenantStatus, platform: &Platform) -> ApiResult<()> {
    TenantStatusChanged::deserialize(&event.data).map_err(|_| wrong_data())?;
    platform.tenant_statuses.set(event.tenantid, status);
    Ok(())
}

fn wrong_data() -> ApiError {
    ApiError::field("body.data", "INVALID", "The data does not match the type of the event.")
}
