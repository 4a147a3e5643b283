//! Checks that no attestation was used twice (row F-29). A constraint forbids it; this check reads
//! the rows, so that a lost constraint is noticed.

use std::time::Duration;

use contracts::clock::Clock;
use jiff::{SignedDuration, Timestamp};
use metrics::counter;
use service_kit::postgres::{Database, StoreError};
use service_kit::problem::chain;
use tokio::time::{MissedTickBehavior, interval};

const CHECK_INTERVAL: Duration = Duration::from_secs(5);
/// Older uses are not checked again.
const LOOKBACK: SignedDuration = SignedDuration::from_hours(24);

/// Checks every [`CHECK_INTERVAL`] until shutdown.
pub async fn watch(database: Database, clock: Clock) {
    let (mut tick, mut reported) = (interval(CHECK_INTERVAL), 0);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        match used_twice(&database, clock.now() - LOOKBACK).await {
            Ok(number) => reported = report(number, reported),
            Err(error) => {
                tracing::debug!(error = %chain(&error), "Failed to check the uses of attestations.");
            }
        }
    }
}

/// Returns the highest number reported so far, because the counter must not fall.
fn report(number: u64, reported: u64) -> u64 {
    if number > reported {
        tracing::error!(attestations = number, "An attestation was used by two requests.");
    }
    let highest = number.max(reported);
    counter!("bff_backoffice_mfa_attestation_replay_success_total").absolute(highest);
    highest
}

const USED_TWICE_SQL: &str = "SELECT bff.mfa_attestations_used_twice($1)";

/// Attestations of all tenants with two uses by different requests since then. Runs as the system.
pub async fn used_twice(database: &Database, since: Timestamp) -> Result<u64, StoreError> {
    let connection = database.connection().await?;
    let statement = connection.prepare_cached(USED_TWICE_SQL).await?;
    let number: i64 = connection.query_one(&statement, &[&since]).await?.get(0);
    Ok(number.max(0).unsigned_abs())
}
