//! Builds the state that handlers share from the configuration.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use auth::edge::{Authenticator, RemoteKeys, ReplayStore};
use auth::htu::Htu;
use auth::nonce::Nonces;
use auth::proof::{ProofVerifier, Window};
use auth::request_token::RequestTokens;
use auth::token::TokenRules;
use auth::verifier::RequestVerifier;
use composer::snapshots::CacheStore;
use composer::{Composer, Snapshots};
use contracts::clock::{Clock, Entropy};
use contracts::env::Env;
use redis::aio::ConnectionManager;
use service_kit::background::TaskDriver;
use service_kit::config::PostgresConfig;
use service_kit::http_client;
use service_kit::lifecycle::Lifecycle;
use service_kit::postgres::Database;
use upstream_clients::{Limits, Upstreams};

use crate::config::{
    DpopConfig, GatewayConfig, IamConfig, REQUEST_TOKEN_ISSUER, REQUIRED_UPSTREAMS, RedisConfig,
};
use crate::firewall::Firewall;
use crate::firewall::rule_override::RuleOverrides;
use crate::sessions::revocation::Feed;
use crate::sessions::session_store::{self, SessionRedis};
use crate::sessions::tenant_status::TenantStatuses;
use crate::sessions::{Profiles, Sessions};
use crate::state::{AppState, Gateway};
use crate::stream::Streams;
use crate::sync::status;

/// Minimum interval between two fetches of iam's keys for unknown key ids.
const KEYS_COOLDOWN: Duration = Duration::from_secs(10);
/// Connections that only followers use, so that a busy pool never delays a revocation.
const FOLLOWER_POOL_SIZE: usize = 3;

/// The connections to both Redis servers.
#[derive(Clone)]
pub(super) struct RedisConnections {
    pub(super) session: ConnectionManager,
    pub(super) cache: ConnectionManager,
}

impl RedisConnections {
    pub(super) fn new(config: &RedisConfig) -> anyhow::Result<Self> {
        let session = session_store::connect(&config.session_url)
            .context("redis.session_url is not a Redis URL")?;
        let cache = session_store::connect(&config.cache_url)
            .context("redis.cache_url is not a Redis URL")?;
        Ok(Self { session, cache })
    }
}

/// Builds the gateway's state.
pub(super) fn build_state(
    config: &GatewayConfig,
    redis: RedisConnections,
    lifecycle: Lifecycle,
) -> anyhow::Result<Gateway> {
    let env = Env::new(Clock::system(), Entropy::system());
    let upstreams = upstreams(config)?;
    let request_tokens = request_tokens(config, &env)?;
    let (rules_file, hops) = (config.edge.rules_file.as_deref(), config.edge.trusted_proxy_hops);
    let firewall = Arc::new(Firewall::load(rules_file, hops)?);
    let followers = follower_pool(config)?;
    let database = Database::new(&config.postgres)?;
    let RedisConnections { session, cache } = redis;
    let tenant_statuses = TenantStatuses::new(followers.clone(), session.clone());
    let builder = StateBuilder { config, env: &env, lifecycle: &lifecycle };
    let state = AppState {
        authenticator: Arc::new(builder.authenticator(session.clone())?),
        rule_overrides: RuleOverrides::new(
            Arc::clone(&firewall),
            followers.clone(),
            session.clone(),
            env.clock.clone(),
        ),
        firewall,
        composer: builder.composer(Arc::clone(&upstreams), database.clone(), cache),
        profiles: Profiles::new(
            Arc::clone(&upstreams),
            Arc::clone(&request_tokens),
            tenant_statuses.clone(),
            env.clock.clone(),
            lifecycle.clone(),
        ),
        request_tokens,
        upstreams,
        revocations: Feed::new(followers, session.clone(), env.clock.clone()),
        database,
        lockout: config.mfa.lockout(),
        streams: Streams::new(session.clone()),
        session_redis: SessionRedis(session),
        sessions: Sessions::new(env.clock.clone(), env.entropy.clone()),
        tenant_statuses,
        background: TaskDriver::new(env.clone(), lifecycle.clone()),
        env,
        lifecycle,
    };
    Ok(state.into())
}

fn upstreams(config: &GatewayConfig) -> anyhow::Result<Arc<Upstreams>> {
    let missing =
        REQUIRED_UPSTREAMS.iter().filter(|upstream| !config.upstreams.contains_key(upstream));
    for upstream in missing {
        tracing::warn!(%upstream, "No address is configured for this upstream; its data is unavailable.");
    }
    let upstreams = Upstreams::new(&config.upstreams, Limits::of)
        .context("the upstream client cannot be created")?;
    Ok(Arc::new(upstreams))
}

fn request_tokens(config: &GatewayConfig, env: &Env) -> anyhow::Result<Arc<RequestTokens>> {
    let file = &config.request_token.key_file;
    let pem = std::fs::read(file)
        .with_context(|| format!("request_token.key_file {} cannot be read", file.display()))?;
    let (clock, entropy) = (env.clock.clone(), env.entropy.clone());
    Ok(Arc::new(RequestTokens::new(REQUEST_TOKEN_ISSUER, &pem, clock, entropy)?))
}

fn follower_pool(config: &GatewayConfig) -> anyhow::Result<Database> {
    Ok(Database::new(&PostgresConfig { pool: FOLLOWER_POOL_SIZE, ..config.postgres.clone() })?)
}

/// What several parts of the state are built from.
struct StateBuilder<'a> {
    config: &'a GatewayConfig,
    env: &'a Env,
    lifecycle: &'a Lifecycle,
}

impl StateBuilder<'_> {
    fn composer(
        &self,
        upstreams: Arc<Upstreams>,
        database: Database,
        cache: ConnectionManager,
    ) -> Composer {
        let (dashboard, env) = (&self.config.dashboard, self.env);
        let (tier, writing) = CacheStore::new(cache);
        self.lifecycle.spawn_until_stop(writing);
        let snapshots = Snapshots::new(env.clock.clone(), self.lifecycle.tasks(), Some(tier));
        let snapshots = if dashboard.keep { snapshots } else { snapshots.without_cache() };
        let own = status::Store::shared(database, env.clock.clone());
        let composer = Composer::new(upstreams, own, snapshots, env.clone());
        composer.with_deadlines(dashboard.deadlines())
    }

    fn authenticator(&self, session: ConnectionManager) -> anyhow::Result<Authenticator> {
        let IamConfig { issuer, audience, .. } = &self.config.iam;
        let proofs = proofs(&self.config.dpop, &self.env.entropy)?;
        let base_urls = self.config.public.base_urls.iter().map(|url| Htu::parse(url));
        let base_urls =
            base_urls.collect::<Result<_, _>>().context("public.base_urls must be http(s) URLs")?;
        let rules = TokenRules { issuer: issuer.clone(), audience: audience.clone() };
        Ok(Authenticator {
            keys: keys(&self.config.iam),
            replays: ReplayStore::new(Some(session), proofs.span()),
            verifier: RequestVerifier::new(proofs, rules, base_urls),
            clock: self.env.clock.clone(),
        })
    }
}

fn keys(config: &IamConfig) -> RemoteKeys {
    RemoteKeys::new(config.jwks_url.clone(), http_client::short_requests(), KEYS_COOLDOWN)
}

/// Builds the verifier, with nonces if they are enabled. Without a key file each start generates a key,
/// which works for a single instance only.
fn proofs(config: &DpopConfig, entropy: &Entropy) -> anyhow::Result<ProofVerifier> {
    let proofs = ProofVerifier::new(Window::default());
    if !config.nonces {
        return Ok(proofs);
    }
    let key = if let Some(path) = &config.nonce_key_file {
        std::fs::read(path)
            .with_context(|| format!("dpop.nonce_key_file {} cannot be read", path.display()))?
    } else {
        tracing::warn!(
            "dpop.nonce_key_file is not set; other instances will reject this instance's nonces."
        );
        [entropy.u128().to_be_bytes(), entropy.u128().to_be_bytes()].concat()
    };
    let nonces = Nonces::new(&key).context("dpop.nonce_key_file is too short")?;
    Ok(proofs.with_nonces(nonces))
}
