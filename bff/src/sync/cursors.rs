//! Cached cursors of desktops, in `bff.device_sync_status`. A desktop advances its own; a handshake
//! replaces it with sync-service's; [`reconcile`] marks those that differ.

use std::sync::Arc;

use auth::Principal;
use contracts::env::Env;
use contracts::id::{DeviceId, DeviceSyncStatusId, PropertyId, TenantId};
use contracts::sync::{CachedCursor, SyncCursor};
use jiff::Timestamp;
use service_kit::pg_row;
use service_kit::postgres::{Database, StoreError, Values};

pub(crate) mod cursor_writer;
pub(crate) mod reconcile;

const CACHED_SQL: &str = "
    SELECT cursor_version, sync_cursor_at, cursor_diverged_at
    FROM bff.device_sync_status
    WHERE tenant_id = bff.current_tenant_id() AND device_id = $1";

/// Reads the device's cached cursor.
pub(crate) async fn cached(
    database: &Database,
    tenant: TenantId,
    device: DeviceId,
) -> Result<CachedCursor, StoreError> {
    let rows = database.read(tenant, CACHED_SQL, &[&device.as_str()]).await?;
    let nothing = CachedCursor { device_id: device, cursor: None, stale: false };
    rows.first().map_or(Ok(nothing), |row| from_row(device, row))
}

fn from_row(device_id: DeviceId, row: &tokio_postgres::Row) -> Result<CachedCursor, StoreError> {
    let version: Option<i64> = pg_row::get(row, "cursor_version")?;
    let at = pg_row::optional_instant(row, "sync_cursor_at")?;
    let diverged: Option<Timestamp> = pg_row::get(row, "cursor_diverged_at")?;
    let cursor = version.zip(at).map(|(version, at)| SyncCursor { version: version as u64, at });
    Ok(CachedCursor { device_id, cursor, stale: diverged.is_some() })
}

/// A cursor reported for a desktop.
#[derive(Debug)]
pub(crate) struct CursorReport {
    pub principal: Arc<Principal>,
    pub cursor: SyncCursor,
    /// When the gateway received it.
    pub at: Timestamp,
    /// The desktop's property, if known.
    pub property: Option<PropertyId>,
}

const UPSERT_SQL: &str = "
    INSERT INTO bff.device_sync_status AS s
        (tenant_id, id, device_id, operator_id, property_id, last_heartbeat_at, cursor_version,
         sync_cursor_at, cursor_noted_at)
    VALUES (bff.current_tenant_id(), $1, $2, $3, $4, $5, $6, $7, $5)
    ON CONFLICT (tenant_id, device_id) DO UPDATE SET
        operator_id = excluded.operator_id,
        property_id = coalesce(excluded.property_id, s.property_id),
        last_heartbeat_at = greatest(s.last_heartbeat_at, excluded.last_heartbeat_at),
        cursor_version = excluded.cursor_version,
        sync_cursor_at = excluded.sync_cursor_at,
        cursor_noted_at = excluded.cursor_noted_at,
        version = s.version + 1";

/// Forwards only: a late, older report changes nothing, and no report clears the divergence mark.
const ADVANCE_CONDITION_SQL: &str =
    " WHERE s.cursor_version IS NULL OR s.cursor_version < excluded.cursor_version";

/// In any direction, because sync-service is the authority; but a later report is kept.
const RESET_CONDITION_SQL: &str = ", cursor_diverged_at = NULL
    WHERE s.cursor_noted_at IS NULL OR s.cursor_noted_at <= excluded.cursor_noted_at";

/// Advances the cursor to the desktop's report.
pub(crate) async fn advance(
    database: &Database,
    report: &CursorReport,
    env: &Env,
) -> Result<(), StoreError> {
    put(database, report, &[UPSERT_SQL, ADVANCE_CONDITION_SQL].concat(), env).await
}

/// Replaces the cursor with sync-service's (row F-35).
pub(crate) async fn reset(
    database: &Database,
    report: &CursorReport,
    env: &Env,
) -> Result<(), StoreError> {
    put(database, report, &[UPSERT_SQL, RESET_CONDITION_SQL].concat(), env).await
}

async fn put(
    database: &Database,
    report: &CursorReport,
    sql: &str,
    env: &Env,
) -> Result<(), StoreError> {
    let CursorReport { principal, cursor, at, property } = report;
    let id: DeviceSyncStatusId = env.new_id();
    let (device, operator) = (principal.device.as_str(), principal.operator.as_str());
    let property = property.as_ref().map(PropertyId::as_str);
    let (version, cursor_at) = (signed(cursor.version), *cursor.at);
    let values: Values<'_> =
        &[&id.as_str(), &device, &operator, &property, at, &version, &cursor_at];
    database.write(principal.tenant, sql, values).await.map(drop)
}

/// Converts for Postgres. A version that does not fit exceeds any version on the wire.
fn signed(version: u64) -> i64 {
    i64::try_from(version).unwrap_or(i64::MAX)
}
