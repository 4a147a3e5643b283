//! Whether an attestation was ever used twice (row F-29). The store's constraint forbids it;
//! this asks the rows themselves, so that a constraint that was lost is noticed.

use std::time::Duration;

use contracts::clock::Clock;
use jiff::{SignedDuration, Timestamp};
use metrics::counter;
use service_kit::postgres::{Database, StoreError};
use service_kit::problem::chain;
use tokio::time::{MissedTickBehavior, interval};

const ASK_EVERY: Duration = Duration::from_secs(5);
/// Uses older than this were looked at often enough.
const LOOKS_BACK: SignedDuration = SignedDuration::from_hours(24);

/// Asks until the program stops.
pub async fn watch(database: Database, clock: Clock) {
    let (mut tick, mut told) = (interval(ASK_EVERY), 0);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        match used_twice(&database, clock.now() - LOOKS_BACK).await {
            Ok(number) => told = tell(number, told),
            Err(error) => {
                tracing::debug!(error = %chain(&error), "The uses of attestations were not looked at.");
            }
        }
    }
}

/// Answers the most that was told so far: the counter never falls.
fn tell(number: u64, told: u64) -> u64 {
    if number > told {
        tracing::error!(attestations = number, "An attestation was used by two requests.");
    }
    let most = number.max(told);
    counter!("bff_backoffice_mfa_attestation_replay_success_total").absolute(most);
    most
}

const USED_TWICE: &str = "SELECT bff.mfa_attestations_used_twice($1)";

/// Attestations of all tenants with two uses by different requests since then. Runs as the system.
pub async fn used_twice(database: &Database, since: Timestamp) -> Result<u64, StoreError> {
    let connection = database.connection().await?;
    let statement = connection.prepare_cached(USED_TWICE).await?;
    let number: i64 = connection.query_one(&statement, &[&since]).await?.get(0);
    Ok(number.max(0).unsigned_abs())
}
