//! Tenant statuses in Postgres: written in the caller's transaction, read across tenants by a
//! system function ([`after`]).

use contracts::id::EventId;
use jiff::Timestamp;
use service_kit::pg_row;
use service_kit::postgres::{Database, StoreError, Transaction, Values};
use service_kit::problem::chain;
use tokio_postgres::Row;

use super::TenantStatus;

const INSERT_SQL: &str = "
    INSERT INTO bff.tenant_standings (tenant_id, suspended, stated_at, reason, cause, recorded_at)
    VALUES ($1, $2, $3, $4, $5, $6)
    ON CONFLICT (tenant_id, cause) DO NOTHING";

/// Writes it down, once per event.
pub(crate) async fn insert(
    transaction: &Transaction<'_>,
    status: &TenantStatus,
    cause: EventId,
    reason: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    let (tenant, cause) = (status.tenant.as_str(), cause.as_str());
    let TenantStatus { suspended, stated_at, .. } = status;
    let values: Values<'_> = &[&tenant, suspended, stated_at, &reason, &cause, &now];
    transaction.execute(INSERT_SQL, values).await.map(drop)
}

const AFTER_SQL: &str = "
    SELECT sequence, tenant_id, suspended, stated_at FROM bff.tenant_standings_after($1)";

/// Reads the rows of all tenants after `last`, and the last one's sequence.
pub(super) async fn after(
    database: &Database,
    last: i64,
) -> Result<(Vec<TenantStatus>, i64), StoreError> {
    let rows = database.query(AFTER_SQL, &[&last]).await?;
    let last = rows.last().map_or(last, |row| row.get(0));
    Ok((rows.iter().filter_map(parse_or_log).collect(), last))
}

/// An unreadable row is logged and skipped, so that it does not block later ones.
fn parse_or_log(row: &Row) -> Option<TenantStatus> {
    from_row(row)
        .inspect_err(|error| {
            tracing::error!(error = %chain(error), "A tenant's status cannot be read.");
        })
        .ok()
}

fn from_row(row: &Row) -> Result<TenantStatus, StoreError> {
    Ok(TenantStatus {
        tenant: pg_row::id(row, "tenant_id")?,
        suspended: pg_row::get(row, "suspended")?,
        stated_at: pg_row::get(row, "stated_at")?,
    })
}
