//! Probes of the session store.

use std::sync::Arc;

use contracts::clock::Entropy;
use service_kit::background::BackgroundTask;

use crate::sessions::session_store::watch::SessionStoreProbe;
use crate::tests::test_gateway::{TestGateway, UNREACHABLE_REDIS, session_url};

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
