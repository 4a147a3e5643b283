//! Idempotency of mutations (draft-ietf-httpapi-idempotency-key-header-07, kept in Postgres).
//!
//! An [`IdempotencyKey`] counts in an [`IdempotencyScope`] and belongs to the request with its [`Fingerprint`];
//! [`store`] claims it, completes it with a [`StoredResponse`] or releases it; a [`Reach`] is where the
//! request may have had its effect. Not here: the order of work, which is [`crate::mutation`]'s.

use auth::Principal;
use contracts::id::{DeviceId, OperatorId, TenantId};
use service_kit::idempotency_key::IdempotencyKey;

pub(crate) mod fingerprint;
pub(crate) mod reach;
pub(crate) mod store;
pub(crate) mod stored_response;

pub(crate) use fingerprint::Fingerprint;
pub(crate) use reach::Reach;
pub(crate) use stored_response::StoredResponse;

/// Scope of a key: the operator at the device, on the route. Not the token, so that a repeat after a
/// refresh is still a repeat.
#[derive(Debug, Clone)]
pub(crate) struct IdempotencyScope {
    pub tenant: TenantId,
    pub operator: OperatorId,
    pub device: DeviceId,
    pub method: String,
    /// The template: `/reservations/{id}/check-in`.
    pub route: String,
    pub key: IdempotencyKey,
}

impl IdempotencyScope {
    pub(crate) fn new(
        principal: &Principal,
        method: &str,
        route: &str,
        key: IdempotencyKey,
    ) -> Self {
        Self {
            tenant: principal.tenant,
            operator: principal.operator,
            device: principal.device,
            method: method.to_owned(),
            route: route.to_owned(),
            key,
        }
    }
}
