//! An environment is kept for the next drill only if the last one left it as it says.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::time::Duration;

use chaos::drill_env::{DrillEnv, EnvOptions, Pids, stand_in_fault};
use chaos::restore::restore;
use launcher::progress::Progress;
use launcher::run_as::remove_any;

/// Why the environment cannot be kept; empty if it can.
async fn unusable(env: &DrillEnv, before: &Pids, restarted: &[&str]) -> String {
    env.unusable(before, restarted).await.unwrap().unwrap_or_default()
}

/// Waits until this is why: a signal takes effect a moment after it was sent.
async fn until_unusable(env: &DrillEnv, before: &Pids, why: fn(&str) -> bool) -> String {
    let is_so = async |env: &DrillEnv| Ok(why(&unusable(env, before, &[]).await));
    env.wait_until("the reason", Duration::from_secs(5), is_so).await.unwrap();
    unusable(env, before, &[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_drill_leaves_behind_is_found_and_removed() {
    let folder = DrillEnv::folder("tests").join("kept-env");
    // A test that failed leaves a database that takes no connections.
    remove_any(&folder).unwrap();
    let options = EnvOptions::new(folder);
    let mut env = DrillEnv::open(options, &Progress::quiet()).await.unwrap();
    let before = env.pids();
    assert_eq!(unusable(&env, &before, &[]).await, "");

    let cache = env.stack.process("redis-cache").unwrap();
    cache.pause().await.unwrap();
    until_unusable(&env, &before, |why| why == "redis-cache is stopped").await;
    cache.kill().await.unwrap();
    assert_eq!(unusable(&env, &before, &[]).await, "redis-cache does not run");
    env.stack.restart("redis-cache").await.unwrap();
    assert_eq!(unusable(&env, &before, &[]).await, "redis-cache is another process");
    assert_eq!(unusable(&env, &before, &["redis-cache"]).await, "");

    let before = env.pids();
    env.add_fault(&stand_in_fault("pricing", "status")).await.unwrap();
    env.write_edge_rules("# a comment\n").unwrap();
    env.set_database_available("inventory", false).await.unwrap();
    env.stack.process("staff").unwrap().pause().await.unwrap();
    until_unusable(&env, &before, |why| why == "staff is stopped").await;
    env.stack.process("staff").unwrap().resume().await.unwrap();
    let is_faults = |why: &str| why.starts_with("faults are set at the stand-ins: [{");
    let left = until_unusable(&env, &before, is_faults).await;
    let end = "; the edge rules are not empty; databases take no connections: [\"inventory\"]";
    assert!(left.ends_with(end), "{left}");

    restore(&mut env).await.unwrap();
    assert_eq!(unusable(&env, &env.pids(), &[]).await, "");
    env.close().await.unwrap();
}
