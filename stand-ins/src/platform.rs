//! What an event published by hand changes in the platform itself, before it is told to others: iam
//! ends the sessions, tenant suspends or lets work again.

use std::sync::Arc;

use contracts::event::CloudEvent;
use contracts::problem::code;
use contracts::upstream::iam::{SESSION_REVOKED, SessionRevoked};
use contracts::upstream::tenant::{
    TENANT_REACTIVATED, TENANT_SUSPENDED, TenantStatus, TenantStatusChanged,
};
use serde::Deserialize;
use service_kit::problem::{ApiError, ApiResult};

use crate::iam::{Iam, Target};
use crate::relay::Relay;
use crate::upstreams::Tenancies;

#[derive(Debug, Clone)]
pub(crate) struct Platform {
    pub(crate) iam: Arc<Iam>,
    pub(crate) tenancies: Arc<Tenancies>,
    pub(crate) relay: Arc<Relay>,
}

impl Platform {
    /// Makes the event true, then sends it on its way.
    pub(crate) fn publish(&self, event: CloudEvent) -> ApiResult<()> {
        self.enact(&event)?;
        self.relay.publish(event).map_err(|_| {
            ApiError::new(&code::UNAVAILABLE, "Too many events wait to be delivered. Try again.")
        })
    }

    fn enact(&self, event: &CloudEvent) -> ApiResult<()> {
        match event.kind.as_str() {
            SESSION_REVOKED => {
                let told = SessionRevoked::deserialize(&event.data).ok();
                let target = told.and_then(|data| Target::parse(&data.kind, &data.id));
                self.iam.revoke(event.tenantid, target.ok_or_else(wrong_data)?);
            }
            TENANT_SUSPENDED => self.change(event, TenantStatus::Suspended)?,
            TENANT_REACTIVATED => self.change(event, TenantStatus::Active)?,
            _ => {}
        }
        Ok(())
    }

    fn change(&self, event: &CloudEvent, status: TenantStatus) -> ApiResult<()> {
        TenantStatusChanged::deserialize(&event.data).map_err(|_| wrong_data())?;
        if event.subject != event.tenantid.as_str() {
            let detail = "The subject of this event is the tenant itself.";
            return Err(ApiError::field("body.subject", "INVALID", detail));
        }
        self.tenancies.set(event.tenantid, status);
        Ok(())
    }
}

fn wrong_data() -> ApiError {
    ApiError::field("body.data", "INVALID", "The data is not that of an event of this type.")
}
