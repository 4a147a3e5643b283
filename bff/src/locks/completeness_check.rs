//! Whether every lock action has its two rows (row F-27). One that has not, minutes after it began,
//! freezes the lock routes: an action nobody can prove must not be followed by another.

use std::time::Duration;

use contracts::clock::Clock;
use jiff::SignedDuration;
use metrics::gauge;
use service_kit::postgres::{Database, StoreError};
use service_kit::problem::chain;
use tokio::time::{MissedTickBehavior, interval};

use super::freeze::{Completeness, freeze};

const ASK_EVERY: Duration = Duration::from_secs(5);
/// The reconciler has so long to write what a process did not live to write.
pub const GRACE: SignedDuration = SignedDuration::from_mins(5);
/// Actions older than this were looked at often enough; a freeze stays.
const LOOKS_BACK: SignedDuration = SignedDuration::from_hours(24);

/// Asks until the program stops.
pub async fn watch(database: Database, clock: Clock) {
    let mut tick = interval(ASK_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        if let Err(error) = look(&database, &clock).await {
            tracing::debug!(error = %chain(&error), "The rows of lock actions were not counted.");
        }
    }
}

/// Counts, tells, and freezes where it must.
pub async fn look(database: &Database, clock: &Clock) -> Result<Completeness, StoreError> {
    let now = clock.now();
    let (found, mut is_frozen) = count(database, (now - LOOKS_BACK, now - GRACE)).await?;
    gauge!("bff_backoffice_lock_audit_completeness").set(found.share());
    if !found.is_whole() {
        if freeze(database, found, now).await? {
            let Completeness { actions, complete } = found;
            tracing::error!(
                actions,
                complete,
                "The ledger of lock actions has a gap: the lock routes are frozen."
            );
        }
        is_frozen = true;
    }
    gauge!("bff_backoffice_lock_proxy_frozen").set(f64::from(u8::from(is_frozen)));
    Ok(found)
}

const COUNT: &str = "
    SELECT actions, complete, bff.lock_proxy_is_frozen() FROM bff.lock_actions_complete($1, $2)";

/// Runs as the system: numbers are all it sees of the tenants.
async fn count(
    database: &Database,
    (since, before): (jiff::Timestamp, jiff::Timestamp),
) -> Result<(Completeness, bool), StoreError> {
    let connection = database.connection().await?;
    let statement = connection.prepare_cached(COUNT).await?;
    let row = connection.query_one(&statement, &[&since, &before]).await?;
    Ok((Completeness { actions: row.get(0), complete: row.get(1) }, row.get(2)))
}
