//! Shared state of the handlers. A handler extracts only the fields it needs, through [`FromRef`].

use std::sync::Arc;

use auth::edge::Authenticator;
use auth::request_token::RequestTokens;
use axum::extract::FromRef;
use composer::Composer;
use contracts::env::Env;
use derive_more::{Deref, From};
use service_kit::background::TaskDriver;
use service_kit::lifecycle::Lifecycle;
use service_kit::postgres::Database;
use upstream_clients::Upstreams;

use crate::config::{LockAuditConfig, MfaConfig};
use crate::firewall::Firewall;
use crate::firewall::rule_override::RuleOverrides;
use crate::sessions::Profiles;
use crate::sessions::revocation::Feed;
use crate::sessions::session_store::SessionRedis;
use crate::sessions::tenant_status::TenantStatuses;
use crate::stream::Streams;

/// Handle to the state. One `Arc`, because routes and their state are cloned for every request.
#[derive(Debug, Clone, Deref, From)]
#[from(AppState)]
pub struct Gateway(#[deref(forward)] Arc<AppState>);

macro_rules! app_state {
    ($($field:ident: $kind:ty,)*) => {
        #[derive(derive_more::Debug)]
        #[debug("AppState")]
        pub struct AppState {
            $(pub $field: $kind,)*
        }

        $(impl FromRef<Gateway> for $kind {
            fn from_ref(gateway: &Gateway) -> Self {
                gateway.$field.clone()
            }
        })*
    };
}

app_state! {
    authenticator: Arc<Authenticator>,
    firewall: Arc<Firewall>,
    rule_overrides: RuleOverrides,
    request_tokens: Arc<RequestTokens>,
    composer: Composer,
    upstreams: Arc<Upstreams>,
    session_redis: SessionRedis,
    profiles: Profiles,
    tenant_statuses: TenantStatuses,
    revocations: Feed,
    streams: Streams,
    database: Database,
    mfa: MfaConfig,
    lock_audit: LockAuditConfig,
    env: Env,
    background: TaskDriver,
    lifecycle: Lifecycle,
}
