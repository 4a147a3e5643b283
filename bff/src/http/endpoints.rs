//! Every endpoint of the public listener with its requirements, as an independent expectation: the
//! OpenAPI document includes it, and a test sends each role through the router to verify it.

use contracts::role::{Role, RoleSet};
use serde_json::{Value, json};

/// A route and its requirements.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Endpoint {
    pub method: &'static str,
    /// Below the base path.
    pub path: &'static str,
    /// Whether a proof is enough, without an access token. The caller then has no roles.
    pub proof_only: bool,
    /// Roles that may use it.
    pub roles: RoleSet,
    /// Whether `propertyId` is required and must be in the caller's scope.
    pub in_property: bool,
    /// Whether an idempotency key is required.
    pub takes_key: bool,
    /// Scope of the required second factor.
    pub second_factor: Option<&'static str>,
}

/// All endpoints, sorted by path.
pub(crate) const ENDPOINTS: &[Endpoint] = &[
    Endpoint { roles: RoleSet::ANY_MANAGER, ..read("/ai/suggestions").in_property() },
    read("/alerts").in_property(),
    read("/arrivals").in_property(),
    signed_in("post", "/auth/mfa/step-up"),
    Endpoint { proof_only: true, ..signed_in("post", "/auth/refresh") },
    signed_in("post", "/auth/sign-out"),
    read("/dashboard").in_property(),
    read("/departures").in_property(),
    Endpoint { roles: RoleSet::RECEPTION, ..read("/folios/{id}") },
    mutation("/folios/{id}/refunds", RoleSet::CASHIER).with_second_factor("folio.refund"),
    read("/housekeeping/board").in_property(),
    read("/in-house").in_property(),
    read("/inventory/availability").in_property(),
    Endpoint { roles: RoleSet::RECEPTION, ..read("/inventory/calendar").in_property() },
    Endpoint { roles: RoleSet::CASHIER, ..read("/locks/audit").in_property() },
    mutation("/locks/{lockId}/issue-key", RoleSet::RECEPTION),
    mutation("/locks/{lockId}/revoke-key", RoleSet::RECEPTION).with_second_factor("lock.revoke"),
    read("/maintenance/board").in_property(),
    mutation("/reservations/{id}/check-in", RoleSet::RECEPTION),
    read("/session"),
    read("/sse/stream"),
    Endpoint { roles: RoleSet::ANY_MANAGER, ..read("/staff/capacity").in_property() },
    Endpoint { roles: RoleSet::ANY_MANAGER, ..read("/staff/on-duty").in_property() },
    Endpoint { roles: RoleSet::ANY_MANAGER, ..read("/staff/shifts").in_property() },
    read("/sync/cursor"),
    signed_in("post", "/sync/cursor"),
    signed_in("post", "/sync/handshake"),
    read("/today").in_property(),
];

/// An endpoint for every signed-in operator.
const fn signed_in(method: &'static str, path: &'static str) -> Endpoint {
    Endpoint {
        method,
        path,
        proof_only: false,
        roles: RoleSet::ANY,
        in_property: false,
        takes_key: false,
        second_factor: None,
    }
}

const fn read(path: &'static str) -> Endpoint {
    signed_in("get", path)
}

const fn mutation(path: &'static str, roles: RoleSet) -> Endpoint {
    Endpoint { roles, takes_key: true, ..signed_in("post", path) }
}

impl Endpoint {
    const fn in_property(self) -> Self {
        Self { in_property: true, ..self }
    }

    const fn with_second_factor(self, scope: &'static str) -> Self {
        Self { second_factor: Some(scope), ..self }
    }

    /// Finds the row of a route.
    pub(crate) fn find(method: &str, path: &str) -> Option<&'static Self> {
        ENDPOINTS.iter().find(|row| row.method == method && row.path == path)
    }

    /// The value of `x-requires` in the OpenAPI document.
    pub(crate) fn requirement(&self) -> Value {
        let roles: Vec<&str> = self.roles.iter().map(Role::name).collect();
        json!({"proofOnly": self.proof_only, "roles": roles, "propertyInScope": self.in_property,
               "idempotencyKey": self.takes_key, "secondFactor": self.second_factor})
    }
}
