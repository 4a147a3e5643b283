//! Builds the state that handlers share, for `main` and for tests.

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
use contracts::upstream::Upstream;
use redis::aio::ConnectionManager;
use service_kit::background::TaskDriver;
use service_kit::config::PostgresConfig;
use service_kit::http_client;
use service_kit::lifecycle::Lifecycle;
use service_kit::postgres::Database;
use upstream_clients::{Limits, Upstreams};

use crate::config::{DpopConfig, GatewayConfig, IamConfig, REQUEST_TOKEN_ISSUER, RedisConfig};
use crate::firewall::Firewall;
use crate::firewall::rule_override::RuleOverrides;
use crate::sessions::Profiles;
use crate::sessions::revocation::Feed;
use crate::sessions::session_store::{self, SessionRedis};
use crate::sessions::tenant_status::TenantStatuses;
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

/// Builds the gateway's state from its configuration. Tests replace the public parts.
pub(crate) struct GatewayBuilder<'a> {
    config: &'a GatewayConfig,
    lifecycle: Lifecycle,
    pub(crate) env: Env,
    session: ConnectionManager,
    /// Where cached reads are shared with other instances; `None`: this process only.
    pub(crate) cache: Option<ConnectionManager>,
    /// Each upstream's limits.
    pub(crate) limits: fn(Upstream) -> Limits,
    /// Instead of the rules that `edge.rules_file` names.
    pub(crate) firewall: Option<Arc<Firewall>>,
    /// The longest wait for an unresponsive session store when a proof is recorded.
    pub(crate) unresponsive_timeout: Option<Duration>,
}

impl<'a> GatewayBuilder<'a> {
    /// `session` is a connection to the session store.
    pub(crate) fn new(
        config: &'a GatewayConfig,
        session: ConnectionManager,
        lifecycle: Lifecycle,
    ) -> Self {
        Self {
            config,
            lifecycle,
            env: Env::new(Clock::system(), Entropy::system()),
            session,
            cache: None,
            limits: Limits::of,
            firewall: None,
            unresponsive_timeout: None,
        }
    }

    /// Builds the state.
    pub(crate) fn build(self) -> anyhow::Result<Gateway> {
        let (config, clock, session) = (self.config, self.env.clock.clone(), &self.session);
        let upstreams = self.upstreams()?;
        let request_tokens = request_tokens(config, &self.env)?;
        let firewall = self.load_firewall()?;
        let followers = follower_pool(config)?;
        let database = Database::new(&config.postgres)?;
        let tenant_statuses = TenantStatuses::new(followers.clone(), session.clone());
        let state = AppState {
            authenticator: Arc::new(self.authenticator()?),
            rule_overrides: RuleOverrides::new(
                Arc::clone(&firewall),
                followers.clone(),
                session.clone(),
                clock.clone(),
            ),
            firewall,
            composer: self.composer(Arc::clone(&upstreams), database.clone()),
            profiles: Profiles::new(
                Arc::clone(&upstreams),
                Arc::clone(&request_tokens),
                tenant_statuses.clone(),
                clock.clone(),
                self.lifecycle.clone(),
            ),
            request_tokens,
            upstreams,
            revocations: Feed::new(followers, session.clone(), clock),
            database,
            mfa: config.mfa,
            lock_audit: config.lock_audit,
            streams: Streams::new(session.clone()),
            session_redis: SessionRedis(session.clone()),
            tenant_statuses,
            background: TaskDriver::new(self.env.clone(), self.lifecycle.clone()),
            env: self.env,
            lifecycle: self.lifecycle,
        };
        Ok(state.into())
    }

    fn upstreams(&self) -> anyhow::Result<Arc<Upstreams>> {
        let addresses = &self.config.upstreams;
        // This version does not call audit.
        let called = Upstream::all().filter(|upstream| *upstream != Upstream::Audit);
        for upstream in called.filter(|upstream| !addresses.contains_key(upstream)) {
            tracing::warn!(%upstream, "No address is configured for this upstream; its data is unavailable.");
        }
        let upstreams = Upstreams::new(addresses, self.limits)
            .context("the upstream client cannot be created")?;
        Ok(Arc::new(upstreams))
    }

    /// Loads the rules file, unless the rules were replaced.
    fn load_firewall(&self) -> anyhow::Result<Arc<Firewall>> {
        if let Some(firewall) = &self.firewall {
            return Ok(Arc::clone(firewall));
        }
        let edge = &self.config.edge;
        let firewall = Firewall::load(edge.rules_file.as_deref(), edge.trusted_proxy_hops)?;
        Ok(Arc::new(firewall))
    }

    fn composer(&self, upstreams: Arc<Upstreams>, database: Database) -> Composer {
        let (dashboard, env) = (&self.config.dashboard, &self.env);
        let store = self.cache.clone().map(|cache| {
            let (store, writing) = CacheStore::new(cache);
            self.lifecycle.spawn_until_stop(writing);
            store
        });
        let snapshots = Snapshots::new(env.clock.clone(), self.lifecycle.tasks(), store);
        let snapshots = if dashboard.keep { snapshots } else { snapshots.without_cache() };
        let own = status::Store::shared(database, env.clock.clone());
        let composer = Composer::new(upstreams, own, snapshots, env.clone());
        composer.with_deadlines(dashboard.deadlines())
    }

    fn authenticator(&self) -> anyhow::Result<Authenticator> {
        let IamConfig { issuer, audience, .. } = &self.config.iam;
        let proofs = proofs(&self.config.dpop, &self.env.entropy)?;
        let base_urls = self.config.public.base_urls.iter().map(|url| Htu::parse(url));
        let base_urls =
            base_urls.collect::<Result<_, _>>().context("public.base_urls must be http(s) URLs")?;
        let rules = TokenRules { issuer: issuer.clone(), audience: audience.clone() };
        let replays = ReplayStore::new(Some(self.session.clone()), proofs.span());
        Ok(Authenticator {
            keys: keys(&self.config.iam),
            replays: match self.unresponsive_timeout {
                Some(timeout) => replays.with_unresponsive_timeout(timeout),
                None => replays,
            },
            verifier: RequestVerifier::new(proofs, rules, base_urls),
            clock: self.env.clock.clone(),
        })
    }
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
