//! Revocations in Postgres: written in the caller's transaction, read across tenants through the
//! one function that may ([`after`] runs as the system).

use contracts::id::TenantId;
use contracts::text::Reason;
use jiff::Timestamp;
use service_kit::postgres::{Database, StoreError, Transaction};
use service_kit::problem::chain;

use super::{KEPT_FOR, Revocation, Target};

/// What to write down.
#[derive(Debug, Clone)]
pub struct Order {
    pub tenant: TenantId,
    pub target: Target,
    /// Tokens issued up to here are void.
    pub revoked_at: Timestamp,
    pub reason: Reason,
    /// What led to it: told twice, it is written once.
    pub cause: String,
}

const INSERT: &str = "
    INSERT INTO bff.revocations (tenant_id, kind, target_id, revoked_at, reason, cause, recorded_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7)
    ON CONFLICT (tenant_id, kind, target_id, cause) DO NOTHING";

/// Writes it down; false when its cause was told before.
pub async fn insert(
    transaction: &Transaction<'_>,
    order: &Order,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let (tenant, reason, cause) = (order.tenant.as_str(), order.reason.as_str(), &order.cause);
    let (kind, id) = (order.target.kind(), order.target.id());
    let statement = transaction.prepare_cached(INSERT).await?;
    let rows = transaction
        .execute(&statement, &[&tenant, &kind, &id, &order.revoked_at, &reason, cause, &now])
        .await?;
    Ok(rows == 1)
}

const AFTER: &str = "
    SELECT sequence, tenant_id, kind, target_id, revoked_at, reason, recorded_at
    FROM bff.revocations_after($1, $2)";

/// The live rows of all tenants after `last`, and the last one's sequence.
pub(super) async fn after(
    database: &Database,
    last: i64,
    now: Timestamp,
) -> Result<(Vec<Revocation>, i64), StoreError> {
    let connection = database.connection().await?;
    let statement = connection.prepare_cached(AFTER).await?;
    let rows = connection.query(&statement, &[&last, &(now - KEPT_FOR)]).await?;
    let last = rows.last().map_or(last, |row| row.get(0));
    Ok((rows.iter().filter_map(readable).collect(), last))
}

/// A row that no code of ours wrote must not hide those after it.
fn readable(row: &tokio_postgres::Row) -> Option<Revocation> {
    from_row(row)
        .inspect_err(|error| tracing::error!(error = %chain(error), "A revocation cannot be read."))
        .ok()
}

fn from_row(row: &tokio_postgres::Row) -> Result<Revocation, StoreError> {
    let target = Target::parse(row.get(2), row.get(3));
    let tenant: &str = row.get(1);
    let reason: &str = row.get(5);
    Ok(Revocation {
        tenant: tenant.parse().map_err(|error| misplaced("tenant_id", error))?,
        target: target.map_err(|error| misplaced("target_id", error))?,
        revoked_at: row.get(4),
        reason: reason.into(),
        recorded_at: row.get(6),
    })
}

fn misplaced(
    column: &'static str,
    error: impl std::error::Error + Send + Sync + 'static,
) -> StoreError {
    StoreError::Row { column, source: Box::new(error) }
}

const EVER: &str = "
    SELECT EXISTS (SELECT FROM bff.revocations
                   WHERE tenant_id = $1 AND kind = $2 AND target_id = $3 AND revoked_at >= $4)";

/// Whether the target was revoked at or after `since`, however long ago that is.
pub async fn was_revoked(
    transaction: &Transaction<'_>,
    tenant: TenantId,
    target: Target,
    since: Timestamp,
) -> Result<bool, StoreError> {
    let statement = transaction.prepare_cached(EVER).await?;
    let values = [tenant.as_str(), target.kind(), target.id()];
    let row =
        transaction.query_one(&statement, &[&values[0], &values[1], &values[2], &since]).await?;
    Ok(row.get(0))
}
