//! Probes of the session store.

use std::sync::Arc;
use std::time::Duration;

use contracts::clock::Entropy;
use service_kit::background::BackgroundTask;
use service_kit::testing::proxy::Proxy;
use tokio::time::Instant;
use url::Url;

use crate::sessions::session_store::watch::SessionStoreProbe;
use crate::tests::test_gateway::{TestGateway, TestOptions, UNREACHABLE_REDIS, session_url};

fn watch(gateway: &TestGateway, redis_connection: &str) -> SessionStoreProbe {
    let redis_connection =
        crate::sessions::session_store::connect(&redis_connection.into()).unwrap();
    SessionStoreProbe::new(
        Arc::clone(&gateway.state.authenticator),
        redis_connection,
        Entropy::system(),
    )
}

#[tokio::test]
async fn an_instance_whose_used_proofs_another_accepts_is_not_ready() {
    let gateway = TestGateway::open().await;
    // Another database: an instance that was given another tier than the others.
    let mut apart = watch(&gateway, &format!("{}/9", session_url()));
    apart.activate().await.unwrap();
    assert_eq!(apart.check().result().unwrap_err(), "a used proof was accepted again");
    let mut together = watch(&gateway, &session_url());
    together.activate().await.unwrap();
    assert!(together.check().result().is_ok());
}

#[tokio::test]
async fn a_store_that_is_unavailable_says_nothing_about_replays() {
    let gateway = TestGateway::open().await;
    let mut away = watch(&gateway, UNREACHABLE_REDIS);
    away.activate().await.unwrap();
    assert!(away.check().result().is_ok());
}

#[tokio::test]
async fn the_store_says_which_server_it_is_and_how_full() {
    let redis_connection =
        || crate::sessions::session_store::connect(&session_url().into()).unwrap();
    let server_info =
        crate::sessions::session_store::server_info(redis_connection()).await.unwrap();
    assert_eq!(server_info.run_id.len(), 40);
    let used = server_info.memory_used.unwrap();
    assert!((0.0..1.0).contains(&used), "{used}");
    let again = crate::sessions::session_store::server_info(redis_connection()).await.unwrap();
    assert_eq!(again.run_id, server_info.run_id);
}

/// A proxy of the session store, and the URL of the store behind it.
async fn proxied() -> (Proxy, String) {
    let mut url = Url::parse(&session_url()).unwrap();
    let store = url.socket_addrs(|| None).unwrap()[0];
    let proxy = Proxy::start(store).await.unwrap();
    url.set_ip_host(proxy.address.ip()).unwrap();
    url.set_port(Some(proxy.address.port())).unwrap();
    (proxy, url.into())
}

#[tokio::test]
async fn the_first_dashboard_after_the_store_falls_silent_keeps_its_deadline() {
    let (proxy, redis_url) = proxied().await;
    let unresponsive_timeout = Duration::from_millis(100);
    let options = TestOptions { redis_url, unresponsive_timeout, ..TestOptions::usual() };
    let gateway = TestGateway::build(options).await;
    let path = format!("/api/bff/backoffice/v1/dashboard?propertyId={}", gateway.property);
    gateway.get(&path).await.status(200);
    proxy.silence_all();
    let begun = Instant::now();
    gateway.get(&path).await.status(200);
    let took = begun.elapsed().as_millis();
    assert!((500..900).contains(&took), "{took} ms, for a deadline of 550 ms");
}
