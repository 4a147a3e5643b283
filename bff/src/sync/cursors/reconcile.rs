//! Compares the cached cursors with sync-service's and marks those that differ (row F-35), so that
//! a property's dashboard says how many of its desktops are stale. Corrects none: the next handshake
//! does. Safe to run twice and at once.
//!
//! Not here: when it runs; a scheduler asks for it every few minutes.

use std::time::Duration;

use contracts::id::{PropertyId, TenantId};
use contracts::upstream::sync::SyncCursors;
use jiff::{SignedDuration, Timestamp};
use metrics::{counter, gauge};
use serde::Serialize;
use service_kit::pg_row as row;
use service_kit::postgres::{StoreError, write};
use service_kit::problem::chain;
use tokio::time::Instant;
use tokio_postgres::types::ToSql;

use super::signed;
use crate::background::job_lease::{Job, exclusively};
use crate::edge::proof_only::ServiceCalls;
use crate::state::Gateway;

/// A desktop that pulled has so long to tell the gateway. A cursor ahead of sync-service's has none.
const TELLS_WITHIN: SignedDuration = SignedDuration::from_mins(1);
/// One question.
const ASKED_FOR: Duration = Duration::from_millis(1200);
/// No question is begun after so long; the next run asks in another order.
const RUNS_FOR: Duration = Duration::from_secs(20);

/// What came of one run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Compared {
    /// Whose cursors were compared.
    pub properties: u32,
    /// About which sync-service could not be asked.
    pub unasked: u32,
    /// Desktops newly marked.
    pub diverged: u32,
    /// Desktops that agree again by themselves.
    pub healed: u32,
}

const JOB: Job = Job { name: "reconcile-cursors", lease: Duration::from_secs(40) };

/// Looks at every property; `None` when another instance is at it.
pub async fn run(gateway: &Gateway, calls: &ServiceCalls) -> Result<Option<Compared>, StoreError> {
    let work = Box::pin(compare(gateway, calls));
    let done = exclusively(&gateway.database, &gateway.env.entropy, JOB, work).await?;
    if let Some(done) = done {
        note(done, gateway.env.clock.unix_seconds());
    }
    Ok(done)
}

async fn compare(gateway: &Gateway, calls: &ServiceCalls) -> Result<Compared, StoreError> {
    let (until, mut done) = (Instant::now() + RUNS_FOR, Compared::default());
    for place in places(gateway).await? {
        if Instant::now() < until {
            one(gateway, calls, place, &mut done).await?;
        } else {
            done.unasked += 1;
        }
    }
    Ok(done)
}

/// In no order, so that a run that ends early does not always leave the same ones out.
const PLACES: &str =
    "SELECT tenant_id, property_id FROM bff.places_with_sync_cursors() ORDER BY random()";

/// Runs as the system.
async fn places(gateway: &Gateway) -> Result<Vec<(TenantId, PropertyId)>, StoreError> {
    let connection = gateway.database.connection().await?;
    let statement = connection.prepare_cached(PLACES).await?;
    let rows = connection.query(&statement, &[]).await?;
    rows.iter().map(|row| Ok((row::id(row, "tenant_id")?, row::id(row, "property_id")?))).collect()
}

async fn one(
    gateway: &Gateway,
    calls: &ServiceCalls,
    (tenant, property): (TenantId, PropertyId),
    done: &mut Compared,
) -> Result<(), StoreError> {
    let asked_at = gateway.env.now();
    let context = calls.with_deadline(Instant::now() + ASKED_FOR);
    match gateway.upstreams.sync_cursors_of(&context, (tenant, property)).await {
        Ok(told) if told.property_id == property => {
            let (diverged, healed) = mark(gateway, tenant, &told, asked_at).await?;
            done.properties += 1;
            done.diverged += diverged;
            done.healed += healed;
        }
        Ok(_) => {
            tracing::error!("sync-service answered about another property than was asked for.");
            done.unasked += 1;
        }
        Err(error) => {
            tracing::warn!(error = %chain(&error), "The cursors of a property were not compared.");
            done.unasked += 1;
        }
    }
    Ok(())
}

/// A desktop sync-service does not know differs, too. `judged` is null where nobody can say yet:
/// sync-service is ahead, and the desktop may be about to tell. What changed since the question was
/// asked is left alone.
const MARK: &str = "
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

/// Desktops newly marked, and those whose mark was taken away.
async fn mark(
    gateway: &Gateway,
    tenant: TenantId,
    told: &SyncCursors,
    asked_at: Timestamp,
) -> Result<(u32, u32), StoreError> {
    let devices: Vec<&str> = told.items.iter().map(|it| it.device_id.as_str()).collect();
    let versions: Vec<i64> = told.items.iter().map(|it| signed(it.version)).collect();
    let pulled: Vec<Timestamp> = told.items.iter().map(|it| it.last_pull_at).collect();
    let property = told.property_id.as_str();
    let mut connection = gateway.database.connection().await?;
    let transaction = write(&mut connection, tenant).await?;
    let statement = transaction.prepare_cached(MARK).await?;
    let values: [&(dyn ToSql + Sync); 6] =
        [&property, &devices, &versions, &pulled, &asked_at, &(asked_at - TELLS_WITHIN)];
    let rows = transaction.query(&statement, &values).await?;
    transaction.commit().await?;
    let diverged = rows.iter().filter(|row| row.get::<_, bool>(0)).count();
    Ok((diverged as u32, (rows.len() - diverged) as u32))
}

/// Numbers alone: whose cursors differ is in the table, behind its isolation.
fn note(done: Compared, now: i64) {
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
        tracing::warn!(properties, diverged, "Cached cursors are not sync-service's.");
    }
}
