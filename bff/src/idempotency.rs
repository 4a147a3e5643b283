//! Idempotency of mutations (draft-ietf-httpapi-idempotency-key-header-07, kept in Postgres): what
//! a repeat of a request is, and what becomes of it.
//!
//! A key is [`Key`], what it was used for a [`Fingerprint`], where it counts a [`Slot`]; [`store`]
//! claims a slot, completes it or gives it back; a [`Reach`] is where it may have had its effect. Not here: the order of work, which is
//! [`crate::mutation`]'s.

use auth::Principal;
use contracts::id::{DeviceId, OperatorId, TenantId};

pub mod answer;
pub mod fingerprint;
pub mod key;
pub mod reach;
pub mod store;

pub use answer::StoredAnswer;
pub use fingerprint::Fingerprint;
pub use key::{Key, KeyError};
pub use reach::Reach;

/// Where a key counts: with the same operator at the same device, on the same route. Never the
/// token, so that a repeat after a refresh is still a repeat.
#[derive(Debug, Clone)]
pub struct Slot {
    pub tenant: TenantId,
    pub operator: OperatorId,
    pub device: DeviceId,
    pub method: String,
    /// The template: `/reservations/{id}/check-in`.
    pub route: String,
    pub key: Key,
}

impl Slot {
    pub fn of(principal: &Principal, method: &str, route: &str, key: Key) -> Self {
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
