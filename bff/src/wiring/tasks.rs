//! Starts the background tasks. Each runs until the process stops.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use composer::Composer;
use contracts::safeguard;
use redis::aio::ConnectionManager;
use secrecy::{ExposeSecret, SecretString};

use crate::admin::table_maintenance::MAINTENANCE;
use crate::config::{GatewayConfig, RedisConfig};
use crate::locks;
use crate::mutation::attestation;
use crate::sessions::session_store::watch::{ReplayCheck, SessionStoreProbe};
use crate::state::Gateway;

/// Between two attempts to subscribe to invalidations.
const RECONNECT_DELAY: Duration = Duration::from_secs(1);

/// Starts every background task. Returns the result of the replay probe, for readiness.
pub(super) fn start(
    config: &GatewayConfig,
    gateway: &Gateway,
    session_redis: ConnectionManager,
) -> anyhow::Result<ReplayCheck> {
    spawn_subscribers(&config.redis, gateway)?;
    let (lifecycle, database) = (&gateway.lifecycle, &gateway.database);
    let (clock, entropy) = (&gateway.env.clock, &gateway.env.entropy);
    MAINTENANCE.start(&config.maintenance, database, clock, entropy, lifecycle);
    lifecycle.spawn_until_stop(upstream_clients::timer_keepalive::run());
    lifecycle.spawn_until_stop(attestation::watch::watch(database.clone(), clock.clone()));
    lifecycle.spawn_until_stop(locks::completeness_check::watch(database.clone(), clock.clone()));
    Ok(probe_session_store(gateway, session_redis))
}

/// Subscribes to what other instances publish.
fn spawn_subscribers(config: &RedisConfig, gateway: &Gateway) -> anyhow::Result<()> {
    let session = redis_client(&config.session_url, "redis.session_url")?;
    gateway.revocations.follow(session.clone(), &gateway.lifecycle);
    gateway.tenant_statuses.follow(session.clone(), &gateway.lifecycle);
    gateway.streams.follow(session.clone(), &gateway.lifecycle);
    gateway.rule_overrides.follow(session, &gateway.lifecycle);
    let cache = redis_client(&config.cache_url, "redis.cache_url")?;
    gateway.lifecycle.spawn_until_stop(follow_invalidations(gateway.composer.clone(), cache));
    Ok(())
}

fn redis_client(url: &SecretString, setting: &str) -> anyhow::Result<redis::Client> {
    redis::Client::open(url.expose_secret())
        .with_context(|| format!("{setting} is not a Redis URL"))
}

/// Applies invalidations of other instances, and subscribes again when the connection ends.
async fn follow_invalidations(composer: Composer, cache: redis::Client) {
    loop {
        if let Err(error) = composer.snapshots().follow(&cache).await {
            tracing::debug!(%error, "Lost the subscription to cache invalidations; subscribing again.");
        }
        tokio::time::sleep(RECONNECT_DELAY).await;
    }
}

fn probe_session_store(gateway: &Gateway, session_redis: ConnectionManager) -> ReplayCheck {
    let authenticator = Arc::clone(&gateway.authenticator);
    let probe = SessionStoreProbe::new(authenticator, session_redis, gateway.env.entropy.clone());
    let check = probe.check();
    if safeguard!(ReplayProbe) {
        gateway.lifecycle.spawn_until_stop(probe.run());
    }
    check
}
