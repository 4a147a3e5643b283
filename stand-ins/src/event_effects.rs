//! Applies an event published through the control listener to the stand-ins themselves, then
//! dispatches it: iam revokes sessions, tenant suspends or reactivates a tenant.

use std::sync::Arc;

use contracts::event::CloudEvent;
use contracts::problem::code;
use contracts::upstream::iam::{SESSION_REVOKED, SessionRevoked};
use contracts::upstream::tenant::{
    TENANT_REACTIVATED, TENANT_SUSPENDED, TenantStatus, TenantStatusChanged,
};
use serde::Deserialize;
use service_kit::problem::{ApiError, ApiResult};

use crate::event_dispatcher::EventDispatcher;
use crate::iam::{Iam, Target};
use crate::upstreams::TenantStatuses;

#[derive(Debug, Clone)]
pub(crate) struct EventEffects {
    pub(crate) iam: Arc<Iam>,
    pub(crate) tenant_statuses: Arc<TenantStatuses>,
    pub(crate) dispatcher: Arc<EventDispatcher>,
}

impl EventEffects {
    /// Applies the event, then queues it for its subscribers.
    pub(crate) fn publish(&self, event: CloudEvent) -> ApiResult<()> {
        self.apply(&event)?;
        self.dispatcher.publish(event).map_err(|_| {
            ApiError::new(&code::UNAVAILABLE, "Too many events are queued. Try again.")
        })
    }

    fn apply(&self, event: &CloudEvent) -> ApiResult<()> {
        match event.kind.as_str() {
            SESSION_REVOKED => {
                let data = SessionRevoked::deserialize(&event.data).ok();
                let target = data.and_then(|data| Target::parse(&data.kind, &data.id));
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
        self.tenant_statuses.set(event.tenantid, status);
        Ok(())
    }
}

fn wrong_data() -> ApiError {
    ApiError::field("body.data", "INVALID", "The data does not match the type of the event.")
}
