//! Checks that every lock action has both audit rows (row F-27). An action without its second row
//! after the grace period freezes the lock routes: an unprovable action must not be followed by
//! another.

use std::time::Duration;

use contracts::clock::Clock;
use jiff::{SignedDuration, Timestamp};
use metrics::gauge;
use service_kit::background::{BackgroundTask, Schedule};
use service_kit::postgres::{Database, StoreError};

use super::freeze::{Completeness, freeze};

/// The share of counted actions that have both rows; not a number while none was counted.
const COMPLETENESS_METRIC: &str = "bff_backoffice_lock_audit_completeness";
pub(crate) const CHECK: Schedule = Schedule::every(Duration::from_secs(5));
/// Older actions are not checked again; a freeze stays.
const LOOKBACK: SignedDuration = SignedDuration::from_hours(24);

/// Runs [`check`].
#[derive(Debug)]
pub(crate) struct CompletenessCheck {
    pub database: Database,
    pub clock: Clock,
    /// Age at which an action without its second row is a gap.
    pub gap_age: SignedDuration,
}

impl BackgroundTask for CompletenessCheck {
    type Status = Completeness;
    type Error = StoreError;

    async fn activate(&mut self) -> Result<Completeness, StoreError> {
        let checked = check(&self.database, &self.clock, self.gap_age).await;
        if checked.is_err() {
            // The last value says nothing about now.
            gauge!(COMPLETENESS_METRIC).set(f64::NAN);
        }
        checked
    }
}

/// Counts the actions, sets the gauges, and freezes the routes if rows are missing.
pub(crate) async fn check(
    database: &Database,
    clock: &Clock,
    gap_age: SignedDuration,
) -> Result<Completeness, StoreError> {
    let now = clock.now();
    let (found, mut is_frozen) = count(database, now - LOOKBACK, now - gap_age).await?;
    gauge!(COMPLETENESS_METRIC).set(found.share());
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
    let row = connection.query_one(COUNT_SQL, &[&since, &before]).await?;
    Ok((Completeness { actions: row.get(0), complete: row.get(1) }, row.get(2)))
}
