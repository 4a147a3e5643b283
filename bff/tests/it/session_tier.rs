//! What the gateway finds out about its session tier by itself.

use std::sync::Arc;

use bff::sessions::session_store::watch::Watch;
use contracts::clock::Entropy;

use crate::house::{House, session_url};

fn watch(house: &House, tier: &str) -> Watch {
    let tier = bff::sessions::session_store::connect(&tier.into()).unwrap();
    Watch::new(Arc::clone(&house.gateway.authenticator), tier, Entropy::system())
}

#[tokio::test]
async fn an_instance_whose_used_proofs_are_accepted_elsewhere_is_not_ready() {
    let house = House::open().await;
    // Another database: an instance that was given another tier than the others.
    let apart = watch(&house, &format!("{}/9", session_url()));
    apart.replay().await;
    assert_eq!(apart.check().holds().unwrap_err(), "a proof that was used is accepted again");
    let together = watch(&house, &session_url());
    together.replay().await;
    assert!(together.check().holds().is_ok());
}

#[tokio::test]
async fn a_tier_that_is_away_says_nothing_about_replays() {
    let house = House::open().await;
    let away = watch(&house, "redis://127.0.0.1:1");
    away.replay().await;
    assert!(away.check().holds().is_ok());
}

#[tokio::test]
async fn the_tier_says_which_server_it_is_and_how_full() {
    let tier = || bff::sessions::session_store::connect(&session_url().into()).unwrap();
    let condition = bff::sessions::session_store::condition(tier()).await.unwrap();
    assert_eq!(condition.run_id.len(), 40);
    let used = condition.memory_used.unwrap();
    assert!((0.0..1.0).contains(&used), "{used}");
    let again = bff::sessions::session_store::condition(tier()).await.unwrap();
    assert_eq!(again.run_id, condition.run_id);
}
