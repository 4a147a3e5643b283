//! `GET /session`: the caller as the gateway sees it.

use contracts::clock::wire;
use contracts::id::{DeviceId, OperatorId, PropertyId, SessionId, TenantId};
use contracts::role::Role;
use serde::Serialize;
use service_kit::extract::Json;

use crate::edge::{Caller, LiveSession, SignedIn};
use crate::sessions::{Freshness, ProfileState};

/// The caller and its session. Roles and properties are those that both the access token and
/// tenant-service grant.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Session)]
pub(crate) struct SessionView {
    /// Null while the session store is unavailable and the token has no session.
    pub session_id: Option<SessionId>,
    pub tenant_id: TenantId,
    pub operator_id: OperatorId,
    /// Null until tenant-service has answered once.
    pub display_name: Option<String>,
    /// BCP 47; null until tenant-service has answered once.
    pub locale: Option<String>,
    pub device_id: DeviceId,
    pub roles: Vec<Role>,
    pub property_ids: Vec<PropertyId>,
    /// The property to begin with, when it is in scope.
    pub primary_property_id: Option<PropertyId>,
    /// Null while the session store is unavailable.
    pub opened_at: Option<wire::Timestamp>,
    /// When the access token ends; refresh it before.
    pub expires_at: wire::Timestamp,
    /// Freshness of the names, roles and properties from tenant-service.
    pub profile: Freshness,
}

/// The caller and its session.
#[utoipa::path(
    get, path = "/session", tag = "session",
    responses((status = 200, body = SessionView)),
)]
pub(crate) async fn get_session(
    caller: Caller<SignedIn>,
    session: Option<LiveSession>,
    state: ProfileState,
) -> Json<SessionView> {
    let principal = caller.principal;
    let session = session.as_ref().map(|live| &live.0);
    let profile = state.profile.unwrap_or_default();
    Json(SessionView {
        session_id: session.map(|session| session.id).or(principal.session),
        tenant_id: principal.tenant,
        operator_id: principal.operator,
        display_name: profile.display_name.clone(),
        locale: profile.locale.clone(),
        device_id: principal.device,
        roles: principal.roles.iter().collect(),
        property_ids: principal.properties.clone(),
        primary_property_id: profile
            .primary_property
            .filter(|property| principal.covers(*property)),
        opened_at: session.map(|session| session.opened_at.into()),
        expires_at: principal.expires_at.into(),
        profile: state.freshness,
    })
}
