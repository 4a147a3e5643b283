//! Starts the background tasks; [`TaskDriver`] activates them until the process stops. A task lives with
//! its subject. Not here: jobs, which the scheduler starts over HTTP (`http::internal_router`).

use std::sync::Arc;

use anyhow::Context;
use composer::snapshots::INVALIDATION_CHANNEL;
use contracts::safeguard;
use redis::aio::ConnectionManager;
use secrecy::{ExposeSecret, SecretString};
use service_kit::background::TaskDriver;

use crate::admin::table_maintenance::MAINTENANCE;
use crate::background::subscription::RECONNECT;
use crate::config::{GatewayConfig, RedisConfig, TlsConfig};
use crate::firewall::{RULES_POLL, RulesReload};
use crate::http::tls::{CERTIFICATE_POLL, Tls};
use crate::locks::completeness_check::{self, CompletenessCheck};
use crate::mutation::attestation::watch::{self, AttestationCheck};
use crate::reads::invalidations::InvalidationSubscription;
use crate::sessions::session_store::watch::{PROBE, ReplayCheck, SessionStoreProbe};
use crate::state::Gateway;

/// Starts every task but [`reload_certificate`]. Returns the result of the replay probe, for readiness.
pub(super) fn start(
    config: &GatewayConfig,
    gateway: &Gateway,
    session_redis: ConnectionManager,
) -> anyhow::Result<ReplayCheck> {
    let (driver, database, clock) = (&gateway.background, &gateway.database, &gateway.env.clock);
    start_subscribers(&config.redis, gateway)?;
    MAINTENANCE.start(&config.maintenance, database, clock, driver);
    let (database, clock) = (database.clone(), clock.clone());
    let attestations = AttestationCheck::new(database.clone(), clock.clone());
    driver.start("check-attestations", attestations, watch::CHECK);
    let gap_age = gateway.lock_audit.completion_grace();
    let completeness = CompletenessCheck { database, clock, gap_age };
    driver.start("check-lock-audit-completeness", completeness, completeness_check::CHECK);
    if let Some(file) = config.edge.rules_file.clone() {
        let reload = RulesReload::new(Arc::clone(&gateway.firewall), file);
        driver.start("reload-firewall-rules", reload, RULES_POLL);
    }
    // Not a task: it does nothing, fifty times a second.
    gateway.lifecycle.spawn_until_stop(upstream_clients::timer_keepalive::run());
    Ok(start_probe(gateway, session_redis))
}

/// Starts the tasks that follow what other instances publish.
fn start_subscribers(config: &RedisConfig, gateway: &Gateway) -> anyhow::Result<()> {
    let driver = &gateway.background;
    let session = redis_client(&config.session_url, "redis.session_url")?;
    gateway.revocations.follow(session.clone(), driver);
    gateway.tenant_statuses.follow(session.clone(), driver);
    gateway.streams.follow(session.clone(), driver);
    gateway.rule_overrides.follow(session, driver);
    let cache = redis_client(&config.cache_url, "redis.cache_url")?;
    let composer = gateway.composer.clone();
    let invalidations = InvalidationSubscription { composer, cache };
    driver.start(INVALIDATION_CHANNEL, invalidations, RECONNECT);
    Ok(())
}

fn redis_client(url: &SecretString, setting: &str) -> anyhow::Result<redis::Client> {
    redis::Client::open(url.expose_secret())
        .with_context(|| format!("{setting} is not a Redis URL"))
}

fn start_probe(gateway: &Gateway, session_redis: ConnectionManager) -> ReplayCheck {
    let authenticator = Arc::clone(&gateway.authenticator);
    let probe = SessionStoreProbe::new(authenticator, session_redis, gateway.env.entropy.clone());
    let check = probe.check();
    if safeguard!(ReplayProbe) {
        gateway.background.start("probe-session-store", probe, PROBE);
    }
    check
}

/// Started with the listener that has the certificate.
pub(super) fn reload_certificate(driver: &TaskDriver, tls: &Tls, config: &TlsConfig) {
    if safeguard!(TlsReload) {
        driver.start("reload-tls-certificate", tls.reload(config), CERTIFICATE_POLL);
    }
}
