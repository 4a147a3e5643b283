//! Checks that no attestation was used twice (row F-29). A constraint forbids it; this check reads
//! the rows, so that a lost constraint is noticed.

use std::time::Duration;

use contracts::clock::Clock;
use jiff::{SignedDuration, Timestamp};
use metrics::counter;
use serde::Serialize;
use service_kit::background::{BackgroundTask, Schedule};
use service_kit::postgres::{Database, StoreError};

pub(crate) const CHECK: Schedule = Schedule::every(Duration::from_secs(5));
/// Older uses are not checked again.
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
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Found {
    used_twice: u64,
}

impl AttestationCheck {
    pub(crate) fn new(database: Database, clock: Clock) -> Self {
        Self { database, clock, reported: 0 }
    }
}

impl BackgroundTask for AttestationCheck {
    type Status = Found;
    type Error = StoreError;

    async fn activate(&mut self) -> Result<Found, StoreError> {
        let used_twice = used_twice(&self.database, self.clock.now() - LOOKBACK).await?;
        self.reported = report(used_twice, self.reported);
        Ok(Found { used_twice })
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
pub(crate) async fn used_twice(database: &Database, since: Timestamp) -> Result<u64, StoreError> {
    let connection = database.connection().await?;
    let statement = connection.prepare_cached(USED_TWICE_SQL).await?;
    let number: i64 = connection.query_one(&statement, &[&since]).await?.get(0);
    Ok(number.max(0).unsigned_abs())
}
