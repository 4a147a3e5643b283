//! What handlers may use, in parts: a handler names the parts it needs.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use auth::edge::Authenticator;
use auth::request_token::RequestTokens;
use axum::extract::FromRef;
use composer::Composer;
use contracts::env::Env;
use service_kit::lifecycle::Lifecycle;
use service_kit::postgres::Database;
use upstream_clients::Upstreams;

use crate::config::Lockout;
use crate::firewall::EdgeRules;
use crate::firewall::rule_override::Orders;
use crate::sessions::revocation::Feed;
use crate::sessions::session_store::SessionRedis;
use crate::sessions::tenant_status::Standings;
use crate::sessions::{Profiles, Sessions};
use crate::stream::Streams;

/// The parts under one count: routes are cloned for every request, and with them this.
#[derive(Debug, Clone)]
pub struct Gateway(Arc<Parts>);

macro_rules! parts {
    ($($part:ident: $kind:ty,)*) => {
        #[derive(Clone)]
        pub struct Parts {
            $(pub $part: $kind,)*
        }

        $(impl FromRef<Gateway> for $kind {
            fn from_ref(gateway: &Gateway) -> Self {
                gateway.$part.clone()
            }
        })*
    };
}

parts! {
    authenticator: Arc<Authenticator>,
    edge_rules: Arc<EdgeRules>,
    edge_orders: Orders,
    request_tokens: Arc<RequestTokens>,
    composer: Composer,
    upstreams: Arc<Upstreams>,
    session_redis: SessionRedis,
    sessions: Sessions,
    profiles: Profiles,
    standings: Standings,
    revocations: Feed,
    streams: Streams,
    database: Database,
    lockout: Lockout,
    env: Env,
    lifecycle: Lifecycle,
}

impl From<Parts> for Gateway {
    fn from(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }
}

impl Deref for Gateway {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl DerefMut for Gateway {
    /// Changes this handle's parts alone.
    fn deref_mut(&mut self) -> &mut Parts {
        Arc::make_mut(&mut self.0)
    }
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Parts")
    }
}
