//! Compares cached cursors with sync-service's and marks those that differ (row F-35), so that the
//! dashboard shows how many desktops are stale. The next handshake corrects them. Safe to run twice
//! and concurrently.
//!
//! Not here: when it runs; a scheduler starts it every few minutes.

use std::time::Duration;

use contracts::id::{PropertyId, TenantId};
use contracts::upstream::sync::SyncCursors;
use jiff::{SignedDuration, Timestamp};
use metrics::{counter, gauge};
use serde::Serialize;
use service_kit::background::BackgroundTask;
use service_kit::pg_row;
use service_kit::postgres::{StoreError, Values, write};
use service_kit::problem::chain;
use tokio::time::Instant;

use super::signed;
use crate::background::job::Job;
use crate::edge::proof_only::ServiceCalls;
use crate::state::Gateway;

/// Time for a desktop to report its pull. A cursor ahead of sync-service's differs at once.
const REPORT_GRACE: SignedDuration = SignedDuration::from_mins(1);
/// Timeout of one call.
const CALL_TIMEOUT: Duration = Duration::from_millis(1200);
/// No call starts after this; the next run uses another order.
const RUN_LIMIT: Duration = Duration::from_secs(20);

/// Result of one run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Compared {
    /// Compared properties.
    pub properties: u32,
    /// Properties that could not be compared.
    pub unasked: u32,
    /// Desktops newly marked.
    pub diverged: u32,
    /// Desktops that agree again.
    pub healed: u32,
}

/// Compares every property.
#[derive(Debug)]
pub(crate) struct CursorReconciler {
    pub gateway: Gateway,
    pub calls: ServiceCalls,
}

impl Job for CursorReconciler {
    const NAME: &'static str = "reconcile-cursors";
    const LEASE: Option<Duration> = Some(Duration::from_secs(40));
}

impl BackgroundTask for CursorReconciler {
    type Status = Compared;
    type Error = StoreError;

    async fn activate(&mut self) -> Result<Compared, StoreError> {
        let (deadline, mut done) = (Instant::now() + RUN_LIMIT, Compared::default());
        for (tenant, property) in properties_with_cursors(&self.gateway).await? {
            if Instant::now() < deadline {
                self.compare(tenant, property, &mut done).await?;
            } else {
                done.unasked += 1;
            }
        }
        record_metrics(done, self.gateway.env.clock.unix_seconds());
        Ok(done)
    }
}

/// In random order, so that a run that ends early does not always skip the same ones.
const PROPERTIES_SQL: &str =
    "SELECT tenant_id, property_id FROM bff.places_with_sync_cursors() ORDER BY random()";

/// Runs as the system.
async fn properties_with_cursors(
    gateway: &Gateway,
) -> Result<Vec<(TenantId, PropertyId)>, StoreError> {
    let rows = gateway.database.query(PROPERTIES_SQL, &[]).await?;
    rows.iter()
        .map(|row| Ok((pg_row::id(row, "tenant_id")?, pg_row::id(row, "property_id")?)))
        .collect()
}

impl CursorReconciler {
    async fn compare(
        &self,
        tenant: TenantId,
        property: PropertyId,
        done: &mut Compared,
    ) -> Result<(), StoreError> {
        let Self { gateway, calls } = self;
        let requested_at = gateway.env.now();
        let context = calls.with_deadline(Instant::now() + CALL_TIMEOUT);
        match gateway.upstreams.sync_cursors_of(&context, tenant, property).await {
            Ok(reported) if reported.property_id == property => {
                let (diverged, healed) = mark(gateway, tenant, &reported, requested_at).await?;
                done.properties += 1;
                done.diverged += diverged;
                done.healed += healed;
                return Ok(());
            }
            Ok(_) => tracing::error!("sync-service returned another property's cursors."),
            Err(error) => {
                tracing::warn!(error = %chain(&error), "Failed to compare a property's cursors.");
            }
        }
        done.unasked += 1;
        Ok(())
    }
}

/// A desktop unknown to sync-service differs too. `judged` is null while sync-service is ahead and
/// the desktop may still report. Rows changed since the request are left alone.
const MARK_SQL: &str = "
    UPDATE bff.device_sync_status s
    SET cursor_diverged_at = CASE WHEN found.judged THEN $5 END
    FROM (
        SELECT d.device_id, d.cursor_version,
               CASE WHEN a.version IS NULL OR a.version < d.cursor_version THEN true
                    WHEN a.version = d.cursor_version THEN false
                    WHEN a.pulled_at < $6 THEN true
               END AS judged
        FROM bff.device_sync_status d
        LEFT JOIN unnest($2::text[], $3::bigint[], $4::timestamptz[]) AS a (device_id, version, pulled_at)
            USING (device_id)
        WHERE d.tenant_id = bff.current_tenant_id() AND d.property_id = $1
          AND d.cursor_version IS NOT NULL) found
    WHERE s.tenant_id = bff.current_tenant_id() AND s.device_id = found.device_id
      AND s.cursor_version = found.cursor_version AND s.cursor_noted_at < $5
      AND (s.cursor_diverged_at IS NOT NULL) <> found.judged
    RETURNING found.judged";

/// Returns the numbers of desktops newly marked and newly cleared.
async fn mark(
    gateway: &Gateway,
    tenant: TenantId,
    reported: &SyncCursors,
    requested_at: Timestamp,
) -> Result<(u32, u32), StoreError> {
    let devices: Vec<&str> = reported.items.iter().map(|item| item.device_id.as_str()).collect();
    let versions: Vec<i64> = reported.items.iter().map(|item| signed(item.version)).collect();
    let pulled: Vec<Timestamp> = reported.items.iter().map(|item| *item.last_pull_at).collect();
    let property = reported.property_id.as_str();
    let mut connection = gateway.database.connection().await?;
    let transaction = write(&mut connection, tenant).await?;
    let pulled_before = requested_at - REPORT_GRACE;
    let values: Values<'_> =
        &[&property, &devices, &versions, &pulled, &requested_at, &pulled_before];
    let rows = transaction.query(MARK_SQL, values).await?;
    transaction.commit().await?;
    let diverged = rows.iter().filter(|row| row.get::<_, bool>(0)).count();
    Ok((diverged as u32, (rows.len() - diverged) as u32))
}

/// Records numbers only: which cursors differ is in the table, behind tenant isolation.
fn record_metrics(done: Compared, now: i64) {
    let Compared { properties, unasked, diverged, healed } = done;
    for (outcome, times) in [("diverged", diverged), ("healed", healed), ("unasked", unasked)] {
        counter!("bff_backoffice_sync_cursor_reconciled_total", "outcome" => outcome)
            .increment(times.into());
    }
    if unasked == 0 {
        gauge!("bff_backoffice_sync_cursor_reconcile_last_success_timestamp_seconds")
            .set(now as f64);
    }
    if diverged > 0 {
        tracing::warn!(properties, diverged, "Cached cursors differ from sync-service's.");
    }
}
