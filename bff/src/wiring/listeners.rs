//! Opens the internal and the public listener.

use service_kit::health::Readiness;
use service_kit::identity::{Identity, RequireAccount};
use service_kit::request::Observer;
use service_kit::serve::{ConnectionLimits, ListenerConfig, Plain, Server, bind};
use service_kit::telemetry::Telemetry;
use service_kit::{connection_metrics, request_metrics};

use super::tasks;
use crate::config::{InternalConfig, PublicConfig};
use crate::http::tls::Tls;
use crate::http::{internal_router, middleware};
use crate::state::Gateway;

/// Opens the internal listener: metrics, health, jobs and administration.
pub(super) async fn open_internal(
    config: &InternalConfig,
    gateway: &Gateway,
    readiness: Readiness,
    telemetry: &Telemetry,
) -> anyhow::Result<()> {
    let listener = bind(config.listen).await?;
    let identity = Identity::configured(config.oidc.as_ref(), gateway.env.clock.clone());
    let guard = RequireAccount::new(identity, "bff_backoffice_internal_auth_failure_total");
    let app = internal_router::app(gateway.clone(), readiness, telemetry, &guard);
    let listener_config = listener_config("internal", config.connections, gateway);
    Server::new(app, listener_config).serve(listener, Plain, &gateway.lifecycle);
    tracing::info!(address = %config.listen, "The internal listener is open.");
    Ok(())
}

/// Opens the public listener, with TLS if it is configured.
pub(super) async fn open_public(
    config: &PublicConfig,
    gateway: Gateway,
    readiness: Readiness,
) -> anyhow::Result<()> {
    let (lifecycle, driver) = (gateway.lifecycle.clone(), gateway.background.clone());
    let listener = bind(config.listen).await?;
    let server = public_server(config, gateway, readiness);
    if let Some(config) = &config.tls {
        let tls = Tls::load(config)?;
        tasks::reload_certificate(&driver, &tls, config);
        server.serve(listener, tls.acceptor, &lifecycle);
    } else {
        server.serve(listener, Plain, &lifecycle);
    }
    tracing::info!(address = %config.listen, "The public listener is open.");
    Ok(())
}

/// Builds the public listener's server, with its limits.
pub(crate) fn public_server(
    config: &PublicConfig,
    gateway: Gateway,
    readiness: Readiness,
) -> Server {
    let listener_config = listener_config("public", config.connections, &gateway);
    let client_address = gateway.firewall.client_address();
    let app = middleware::public(gateway, readiness, &config.allowed_origins);
    match client_address {
        Some(client) => Server::behind_proxies(app, listener_config, client),
        None => Server::new(app, listener_config),
    }
}

fn listener_config(
    name: &'static str,
    limits: ConnectionLimits,
    gateway: &Gateway,
) -> ListenerConfig {
    let metrics = request_metrics!("bff_backoffice");
    let observer = Observer { metrics, env: gateway.env.clone() };
    ListenerConfig { name, limits, metrics: connection_metrics!("bff_backoffice"), observer }
}
