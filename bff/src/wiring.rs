//! Starts the gateway: builds its state ([`GatewayBuilder`]), starts its background tasks ([`tasks`]) and opens
//! its listeners ([`listeners`]).

use std::sync::Arc;

use futures_util::FutureExt;
use service_kit::config::SettingErrors;
use service_kit::health::Readiness;
use service_kit::http_client;
use service_kit::lifecycle::Lifecycle;
use service_kit::telemetry::Telemetry;

use crate::config::GatewayConfig;
use crate::firewall::Firewall;
use crate::http::tls::Tls;
use crate::sessions::session_store;
use crate::sessions::session_store::watch::ReplayCheck;
use crate::state::Gateway;

mod builder;
mod listeners;
mod tasks;

pub(crate) use builder::GatewayBuilder;
#[cfg(test)]
pub(crate) use listeners::public_server;

use builder::RedisConnections;

/// Loads the files that [`run`] loads beyond those that the settings' own rules read.
pub fn check(config: &GatewayConfig) -> Result<(), SettingErrors> {
    http_client::install_crypto_provider();
    let mut errors = SettingErrors::default();
    let rules = Firewall::load(config.edge.rules_file.as_deref(), config.edge.trusted_proxy_hops);
    errors.check(&["edge", "rules_file"], rules);
    if let Some(tls) = &config.public.tls {
        errors.check(&["public", "tls"], Tls::load(tls));
    }
    errors.result()
}

/// Runs the gateway until it receives a stop signal.
pub async fn run(config: GatewayConfig) -> anyhow::Result<()> {
    #[cfg(feature = "sabotage")]
    contracts::safeguard::switch_off(&config.guards_off);
    http_client::install_crypto_provider();
    let telemetry = Telemetry::start("bff-backoffice", &config.telemetry)?;
    let lifecycle = Lifecycle::new();
    let redis = RedisConnections::new(&config.redis)?;
    let mut builder = GatewayBuilder::new(&config, redis.session.clone(), lifecycle.clone());
    builder.cache = Some(redis.cache.clone());
    let gateway = builder.build()?;
    let replay_check = tasks::start(&config, &gateway, redis.session.clone())?;
    let readiness = readiness(&gateway, redis, replay_check);
    listeners::open_internal(&config.internal, &gateway, readiness.clone(), &telemetry).await?;
    listeners::open_public(&config.public, gateway, readiness).await?;
    lifecycle.run_until_signal().await?;
    telemetry.finish();
    Ok(())
}

fn readiness(gateway: &Gateway, redis: RedisConnections, replay_check: ReplayCheck) -> Readiness {
    let authenticator = Arc::clone(&gateway.authenticator);
    let database = gateway.database.clone();
    Readiness::new(gateway.lifecycle.clone())
        .requires("session-tier", "No mutations and no streams; reads go on.", move || {
            session_store::ping(redis.session.clone()).boxed()
        })
        .requires("durable-store", "No mutations; reads go on.", move || {
            let database = database.clone();
            async move { database.ping().await.map_err(|error| error.to_string()) }.boxed()
        })
        .requires("iam-keys", "Nobody can be authenticated.", move || {
            let authenticator = Arc::clone(&authenticator);
            async move {
                // An unknown key id triggers the first fetch.
                authenticator.keys.holding("").await;
                let is_loaded = authenticator.keys.is_loaded();
                is_loaded.then_some(()).ok_or_else(|| "iam's keys were never read".to_owned())
            }
            .boxed()
        })
        .uses("cache-tier", "Every read goes to the upstreams; slower.", move || {
            session_store::ping(redis.cache.clone()).boxed()
        })
        .requires("replay-check", "A stolen request could be sent again.", move || {
            std::future::ready(replay_check.result()).boxed()
        })
}
