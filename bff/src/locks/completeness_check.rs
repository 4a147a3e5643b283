//! Checks that every lock action has both audit rows (row F-27). An action without its second row
//! after the grace period freezes the lock routes: an unprovable action must not be followed by
//! another.

use std::time::Duration;

use contracts::clock::Clock;
use jiff::{SignedDuration, Timestamp};
use metrics::gauge;
use service_kit::postgres::{Database, StoreError};
use service_kit::problem::chain;
use tokio::time::{MissedTickBehavior, interval};

use super::freeze::{Completeness, freeze};

const CHECK_INTERVAL: Duration = Duration::from_secs(5);
/// Time for the reconciler to write the row of a crashed process.
pub const COMPLETION_GRACE: SignedDuration = SignedDuration::from_mins(5);
/// Older actions are not checked again; a freeze stays.
const LOOKBACK: SignedDuration = SignedDuration::from_hours(24);

/// Checks every [`CHECK_INTERVAL`] until shutdown.
pub async fn watch(database: Database, clock: Clock) {
    let mut tick = interval(CHECK_INTERVAL);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        if let Err(error) = check(&database, &clock).await {
            tracing::debug!(error = %chain(&error), "Failed to check the lock audit log for missing rows.");
        }
    }
}

/// Counts the actions, sets the gauges, and freezes the routes if rows are missing.
pub async fn check(database: &Database, clock: &Clock) -> Result<Completeness, StoreError> {
    let now = clock.now();
    let (found, mut is_frozen) = count(database, now - LOOKBACK, now - COMPLETION_GRACE).await?;
    gauge!("bff_backoffice_lock_audit_completeness").set(found.share());
    if !found.is_complete() {
        if freeze(database, found, now).await? {
            let Completeness { actions, complete } = found;
            tracing::error!(
                actions,
                complete,
                "Audit rows of lock actions are missing; the lock routes are frozen."
            );
        }
        is_frozen = true;
    }
    gauge!("bff_backoffice_lock_proxy_frozen").set(f64::from(u8::from(is_frozen)));
    Ok(found)
}

const COUNT_SQL: &str = "
    SELECT actions, complete, bff.lock_proxy_is_frozen() FROM bff.lock_actions_complete($1, $2)";

/// Runs as the system, which sees only the counts.
async fn count(
    database: &Database,
    since: Timestamp,
    before: Timestamp,
) -> Result<(Completeness, bool), StoreError> {
    let connection = database.connection().await?;
    let statement = connection.prepare_cached(COUNT_SQL).await?;
    let row = connection.query_one(&statement, &[&since, &before]).await?;
    Ok((Completeness { actions: row.get(0), complete: row.get(1) }, row.get(2)))
}
