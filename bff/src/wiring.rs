//! The wiring: reads the settings, makes each part once, and opens the two listeners.

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
use contracts::safeguard;
use futures_util::FutureExt;
use redis::aio::ConnectionManager;
use secrecy::ExposeSecret;
use service_kit::config::PostgresConfig;
use service_kit::health::Readiness;
use service_kit::http_client;
use service_kit::identity::{Identity, RequireAccount};
use service_kit::lifecycle::Lifecycle;
use service_kit::postgres::Database;
use service_kit::request::Observer;
use service_kit::serve::{ConnectionLimits, ListenerConfig, Plain, Server, bind};
use service_kit::telemetry::Telemetry;
use service_kit::{connection_metrics, request_metrics};
use upstream_clients::{Limits, Upstreams};

use crate::admin::table_maintenance::MAINTENANCE;
use crate::config::{ASKED, DpopConfig, GatewayConfig, PublicConfig, REQUEST_TOKEN_ISSUER};
use crate::firewall::rule_override::Orders;
use crate::firewall::{self, EdgeRules};
use crate::http::tls::Tls;
use crate::http::{internal_router, middleware};
use crate::locks;
use crate::mutation::attestation;
use crate::sessions::revocation::Feed;
use crate::sessions::session_store;
use crate::sessions::session_store::SessionRedis;
use crate::sessions::session_store::watch::{ReplayCheck, Watch};
use crate::sessions::tenant_status::Standings;
use crate::sessions::{Profiles, Sessions};
use crate::state::{Gateway, Parts};
use crate::stream::Streams;
use crate::sync::status;

/// An unknown key id makes us ask iam at most this often.
const KEYS_COOLDOWN: Duration = Duration::from_secs(10);

/// Between two attempts to hear of changes.
const CHANGES_AGAIN: Duration = Duration::from_secs(1);

/// Runs the gateway until it is asked to stop.
pub async fn run() -> anyhow::Result<()> {
    let config: GatewayConfig = service_kit::config::load()?;
    #[cfg(feature = "sabotage")]
    contracts::safeguard::switch_off(&config.guards_off);
    http_client::install_crypto_provider();
    let telemetry = Telemetry::start("bff-backoffice", &config.telemetry)?;
    let lifecycle = Lifecycle::new();
    let session = session_store::connect(&config.redis.session_url)
        .context("redis.session_url is not a Redis URL")?;
    let cache = session_store::connect(&config.redis.cache_url)
        .context("redis.cache_url is not a Redis URL")?;
    let gateway = gateway(&config, (session.clone(), cache.clone()), lifecycle.clone())?;
    follow_news(&config, &gateway)?;
    let (database, clock) = (gateway.database.clone(), gateway.env.clock.clone());
    MAINTENANCE.start(&config.maintenance, &database, &clock, &gateway.env.entropy, &lifecycle);
    lifecycle.spawn_until_stop(upstream_clients::timer_keepalive::run());
    lifecycle.spawn_until_stop(attestation::watch::watch(database.clone(), clock.clone()));
    lifecycle.spawn_until_stop(locks::completeness_check::watch(database, clock));
    let replays = watch_session_tier(&gateway, session.clone());
    let readiness = readiness(&lifecycle, &gateway, session, cache).requires(
        "replay-check",
        "A stolen request could be sent again.",
        move || std::future::ready(replays.holds()).boxed(),
    );
    open_internal(&config, &gateway, readiness.clone(), &telemetry).await?;
    open_public(&config, gateway, readiness).await?;
    lifecycle.run_until_signal().await?;
    telemetry.finish();
    Ok(())
}

/// Makes the parts that handlers use.
pub fn gateway(
    config: &GatewayConfig,
    (session, cache): (ConnectionManager, ConnectionManager),
    lifecycle: Lifecycle,
) -> anyhow::Result<Gateway> {
    let (clock, entropy) = (Clock::system(), Entropy::system());
    for upstream in ASKED.iter().filter(|upstream| !config.upstreams.contains_key(upstream)) {
        tracing::warn!(%upstream, "No address is configured: what comes from it will be missing.");
    }
    let upstreams = Upstreams::new(&config.upstreams, Limits::of)
        .context("the upstream client cannot be made")?;
    let upstreams = Arc::new(upstreams);
    let pem = std::fs::read(&config.request_token.key_file).with_context(|| {
        format!("request_token.key_file {} cannot be read", config.request_token.key_file.display())
    })?;
    let tokens = RequestTokens::new(REQUEST_TOKEN_ISSUER, &pem, clock.clone(), entropy.clone())?;
    let (edge_rules, following) = (edge_rules(config, &lifecycle)?, following(config)?);
    let tokens = Arc::new(tokens);
    let database = Database::new(&config.postgres)?;
    let standings = Standings::new(following.clone(), session.clone());
    let profiles = Profiles::new(
        Arc::clone(&upstreams),
        Arc::clone(&tokens),
        standings.clone(),
        clock.clone(),
        lifecycle.clone(),
    );
    let parts = Parts {
        authenticator: Arc::new(authenticator(config, session.clone(), clock.clone())?),
        edge_orders: Orders::new(
            Arc::clone(&edge_rules),
            following.clone(),
            session.clone(),
            clock.clone(),
        ),
        edge_rules,
        request_tokens: tokens,
        composer: composer(
            config,
            Arc::clone(&upstreams),
            (&database, cache),
            (&clock, &entropy),
            &lifecycle,
        ),
        upstreams,
        revocations: Feed::new(following, session.clone(), clock.clone()),
        database,
        lockout: config.mfa.lockout(),
        streams: Streams::new(session.clone()),
        session_redis: SessionRedis(session),
        sessions: Sessions::new(clock.clone(), entropy.clone()),
        profiles,
        standings,
        env: Env::new(clock, entropy),
        lifecycle,
    };
    Ok(parts.into())
}

/// Those of the file, watched from now on.
fn edge_rules(config: &GatewayConfig, lifecycle: &Lifecycle) -> anyhow::Result<Arc<EdgeRules>> {
    let (file, hops) = (config.edge.rules_file.as_deref(), config.edge.trusted_proxy_hops);
    let rules = Arc::new(EdgeRules::load(file, hops)?);
    if let Some(file) = config.edge.rules_file.clone() {
        lifecycle.spawn_until_stop(firewall::watch(Arc::clone(&rules), file));
    }
    Ok(rules)
}

/// Connections of their own for what an instance follows: however busy the pool is, a revocation
/// is heard of.
fn following(config: &GatewayConfig) -> anyhow::Result<Database> {
    Ok(Database::new(&PostgresConfig { pool: 3, ..config.postgres.clone() })?)
}

fn watch_session_tier(gateway: &Gateway, session: ConnectionManager) -> ReplayCheck {
    let authenticator = Arc::clone(&gateway.authenticator);
    let watch = Watch::new(authenticator, session, gateway.env.entropy.clone());
    let check = watch.check();
    if safeguard!(ReplayProbe) {
        gateway.lifecycle.spawn_until_stop(watch.run());
    }
    check
}

fn follow_news(config: &GatewayConfig, gateway: &Gateway) -> anyhow::Result<()> {
    let listener = redis::Client::open(config.redis.session_url.expose_secret())
        .context("redis.session_url is not a Redis URL")?;
    gateway.revocations.follow(listener.clone(), &gateway.lifecycle);
    gateway.standings.follow(listener.clone(), &gateway.lifecycle);
    gateway.streams.follow(listener.clone(), &gateway.lifecycle);
    gateway.edge_orders.follow(listener, &gateway.lifecycle);
    let cache = redis::Client::open(config.redis.cache_url.expose_secret())
        .context("redis.cache_url is not a Redis URL")?;
    gateway.lifecycle.spawn_until_stop(follow_changes(gateway.composer.clone(), cache));
    Ok(())
}

/// Hears what other instances know to have changed. Begins anew when the connection ends.
async fn follow_changes(composer: Composer, cache: redis::Client) {
    loop {
        if let Err(error) = composer.snapshots().follow(&cache).await {
            tracing::debug!(%error, "The cache tier does not tell of changes.");
        }
        tokio::time::sleep(CHANGES_AGAIN).await;
    }
}

fn composer(
    config: &GatewayConfig,
    upstreams: Arc<Upstreams>,
    (database, cache): (&Database, ConnectionManager),
    (clock, entropy): (&Clock, &Entropy),
    lifecycle: &Lifecycle,
) -> Composer {
    let (tier, writing) = CacheStore::new(cache);
    lifecycle.spawn_until_stop(writing);
    let snapshots = Snapshots::new(clock.clone(), lifecycle.tasks(), Some(tier));
    let snapshots = if config.dashboard.keep { snapshots } else { snapshots.without_cache() };
    let own = status::Store::shared(database.clone(), clock.clone());
    let composer = Composer::new(upstreams, own, snapshots, (clock.clone(), entropy.clone()));
    composer.with_deadlines(config.dashboard.deadlines())
}

fn authenticator(
    config: &GatewayConfig,
    session: ConnectionManager,
    clock: Clock,
) -> anyhow::Result<Authenticator> {
    let proofs = proofs(&config.dpop)?;
    let base_urls = config.public.base_urls.iter().map(|url| Htu::parse(url));
    let base_urls =
        base_urls.collect::<Result<_, _>>().context("public.base_urls must be http(s) URLs")?;
    let rules =
        TokenRules { issuer: config.iam.issuer.clone(), audience: config.iam.audience.clone() };
    Ok(Authenticator {
        keys: keys(config),
        replays: ReplayStore::new(Some(session), proofs.span()),
        verifier: RequestVerifier::new(proofs, rules, base_urls),
        clock,
    })
}

fn keys(config: &GatewayConfig) -> RemoteKeys {
    let client = http_client::short_requests();
    RemoteKeys::new(config.iam.jwks_url.clone(), client, KEYS_COOLDOWN)
}

/// With nonces when they are switched on. Without a key file each start makes its own key: right
/// for one instance only.
fn proofs(config: &DpopConfig) -> anyhow::Result<ProofVerifier> {
    let proofs = ProofVerifier::new(Window::default());
    if !config.nonces {
        return Ok(proofs);
    }
    let key = if let Some(path) = &config.nonce_key_file {
        std::fs::read(path)
            .with_context(|| format!("dpop.nonce_key_file {} cannot be read", path.display()))?
    } else {
        tracing::warn!(
            "No dpop.nonce_key_file is set: other instances will not take this one's nonces."
        );
        let entropy = Entropy::system();
        [entropy.u128().to_be_bytes(), entropy.u128().to_be_bytes()].concat()
    };
    let nonces = Nonces::new(&key).context("dpop.nonce_key_file is too short")?;
    Ok(proofs.with_nonces(nonces))
}

fn readiness(
    lifecycle: &Lifecycle,
    gateway: &Gateway,
    session: ConnectionManager,
    cache: ConnectionManager,
) -> Readiness {
    let authenticator = Arc::clone(&gateway.authenticator);
    let database = gateway.database.clone();
    Readiness::new(lifecycle.clone())
        .requires("session-tier", "No mutations and no streams; reads go on.", move || {
            session_store::ping(session.clone()).boxed()
        })
        .requires("durable-store", "No mutations; reads go on.", move || {
            let database = database.clone();
            async move { database.ping().await.map_err(|error| error.to_string()) }.boxed()
        })
        .requires("iam-keys", "Nobody is let in.", move || {
            let authenticator = Arc::clone(&authenticator);
            async move {
                // Any id that is not there makes the first fetch happen.
                authenticator.keys.holding("").await;
                authenticator
                    .keys
                    .is_loaded()
                    .then_some(())
                    .ok_or_else(|| "iam's keys were never read".to_owned())
            }
            .boxed()
        })
        .uses("cache-tier", "Every read goes to the upstreams; slower.", move || {
            session_store::ping(cache.clone()).boxed()
        })
}

async fn open_internal(
    config: &GatewayConfig,
    gateway: &Gateway,
    readiness: Readiness,
    telemetry: &Telemetry,
) -> anyhow::Result<()> {
    let listener = bind(config.internal.listen).await?;
    let identity = Identity::configured(config.internal.oidc.as_ref(), gateway.env.clock.clone());
    let guard = RequireAccount::new(identity, "bff_backoffice_internal_auth_failure_total");
    let app = internal_router::app(gateway.clone(), readiness, telemetry, &guard);
    let listening = listening("internal", config.internal.connections, gateway);
    Server::new(app, listening).serve(listener, Plain, &gateway.lifecycle);
    tracing::info!(address = %config.internal.listen, "The internal listener is open.");
    Ok(())
}

async fn open_public(
    config: &GatewayConfig,
    gateway: Gateway,
    readiness: Readiness,
) -> anyhow::Result<()> {
    let lifecycle = gateway.lifecycle.clone();
    let listener = bind(config.public.listen).await?;
    let server = public_server(&config.public, gateway, readiness);
    match &config.public.tls {
        Some(tls) => server.serve(listener, Tls::new(tls, &lifecycle)?, &lifecycle),
        None => server.serve(listener, Plain, &lifecycle),
    }
    tracing::info!(address = %config.public.listen, "The public listener is open.");
    Ok(())
}

/// The public listener's application within its limits.
pub fn public_server(config: &PublicConfig, gateway: Gateway, readiness: Readiness) -> Server {
    let listening = listening("public", config.connections, &gateway);
    let client_address = gateway.edge_rules.client_address();
    let app = middleware::public(gateway, readiness, &config.allowed_origins);
    match client_address {
        Some(client) => Server::behind_proxies(app, listening, client),
        None => Server::new(app, listening),
    }
}

fn listening(name: &'static str, limits: ConnectionLimits, gateway: &Gateway) -> ListenerConfig {
    let observer = Observer {
        metrics: request_metrics!("bff_backoffice"),
        clock: gateway.env.clock.clone(),
        entropy: gateway.env.entropy.clone(),
    };
    ListenerConfig { name, limits, metrics: connection_metrics!("bff_backoffice"), observer }
}
