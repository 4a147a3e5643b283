//! Checks that no attestation was used twice (row F-29). A constraint and the code in front of it forbid
//! it; this check reads what was recorded, so that the loss of either is noticed. A second use freezes
//! the routes that require a second factor: one that permits two actions permits any number.

use std::time::Duration;

use contracts::clock::Clock;
use jiff::{SignedDuration, Timestamp};
use metrics::{counter, gauge};
use serde::Serialize;
use service_kit::background::{BackgroundTask, Schedule};
use service_kit::postgres::{Database, StoreError};

use super::freeze::freeze;

pub(crate) const CHECK: Schedule = Schedule::every(Duration::from_secs(5));
/// Older uses are not checked again; a freeze stays.
const LOOKBACK: SignedDuration = SignedDuration::from_hours(24);

/// Counts attestations that were used twice.
#[derive(Debug)]
pub(crate) struct AttestationCheck {
    database: Database,
    clock: Clock,
    /// The highest number so far.
    reported: u64,
}

/// What a check found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SecondUses {
    pub used_twice: i64,
    /// Of these, the ones that were used since the routes were unfrozen last.
    pub unapproved: i64,
    /// Whether the routes were frozen before this check.
    frozen: bool,
}

impl AttestationCheck {
    pub(crate) fn new(database: Database, clock: Clock) -> Self {
        Self { database, clock, reported: 0 }
    }
}

impl BackgroundTask for AttestationCheck {
    type Status = SecondUses;
    type Error = StoreError;

    async fn activate(&mut self) -> Result<SecondUses, StoreError> {
        let now = self.clock.now();
        let found = second_uses(&self.database, now - LOOKBACK).await?;
        self.reported = report(found.used_twice.max(0).unsigned_abs(), self.reported);
        if found.unapproved > 0 && freeze(&self.database, found.unapproved, now).await? {
            tracing::error!(
                attestations = found.unapproved,
                "Attestations were used twice; the routes that require a second factor are frozen."
            );
        }
        let is_frozen = found.frozen || found.unapproved > 0;
        gauge!("bff_backoffice_second_factor_frozen").set(f64::from(u8::from(is_frozen)));
        Ok(found)
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

const SECOND_USES_SQL: &str = "
    SELECT used_twice, unapproved, bff.second_factor_routes_are_frozen() FROM bff.mfa_second_uses($1)";

/// Attestations of all tenants with two uses by different requests since then. Runs as the system, which
/// sees only the counts.
pub(crate) async fn second_uses(
    database: &Database,
    since: Timestamp,
) -> Result<SecondUses, StoreError> {
    let connection = database.connection().await?;
    let row = connection.query_one(SECOND_USES_SQL, &[&since]).await?;
    Ok(SecondUses { used_twice: row.get(0), unapproved: row.get(1), frozen: row.get(2) })
}
