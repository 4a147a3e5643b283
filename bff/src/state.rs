//! What handlers may use, in parts: a handler names the parts it needs.

use std::sync::Arc;

use auth::edge::Authenticator;
use auth::request_token::RequestTokens;
use axum::extract::FromRef;
use composer::Composer;
use contracts::clock::{Clock, Entropy};
use redis::aio::ConnectionManager;
use service_kit::lifecycle::Lifecycle;
use service_kit::postgres::Database;
use upstream_clients::Upstreams;

use crate::revocation::Feed;

use crate::edge_orders::Orders;
use crate::edge_rules::EdgeRules;
use crate::sessions::{Profiles, Sessions};
use crate::standing::Standings;

#[derive(Clone, FromRef)]
pub struct Gateway {
    pub authenticator: Arc<Authenticator>,
    pub edge_rules: Arc<EdgeRules>,
    pub edge_orders: Orders,
    pub request_tokens: Arc<RequestTokens>,
    pub composer: Composer,
    pub upstreams: Arc<Upstreams>,
    pub session_tier: SessionTier,
    pub sessions: Sessions,
    pub profiles: Profiles,
    pub standings: Standings,
    pub revocations: Feed,
    pub database: Database,
    pub clock: Clock,
    pub entropy: Entropy,
    pub lifecycle: Lifecycle,
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Gateway")
    }
}

/// The connection to the session tier; a type of its own, so that nobody takes the cache's.
#[derive(Clone)]
pub struct SessionTier(pub ConnectionManager);

impl std::fmt::Debug for SessionTier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SessionTier")
    }
}
