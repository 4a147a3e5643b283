//! Revocations in Postgres: written in the caller's transaction, read across tenants by a system
//! function ([`after`]).

use contracts::id::TenantId;
use contracts::text::Reason;
use jiff::Timestamp;
use service_kit::pg_row;
use service_kit::postgres::{Database, StoreError, Transaction};
use service_kit::problem::chain;
use tokio_postgres::Row;

use super::{REVOCATION_TTL, Revocation, Target};

/// A revocation to store.
#[derive(Debug, Clone)]
pub struct NewRevocation {
    pub tenant: TenantId,
    pub target: Target,
    /// Tokens issued up to this instant are void.
    pub revoked_at: Timestamp,
    pub reason: Reason,
    /// Id of the cause; a repeated cause is stored once.
    pub cause: String,
}

const INSERT_SQL: &str = "
    INSERT INTO bff.revocations (tenant_id, kind, target_id, revoked_at, reason, cause, recorded_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7)
    ON CONFLICT (tenant_id, kind, target_id, cause) DO NOTHING";

/// Inserts the row; false if its cause is known.
pub(crate) async fn insert(
    transaction: &Transaction<'_>,
    revocation: &NewRevocation,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let (tenant, reason, cause) =
        (revocation.tenant.as_str(), revocation.reason.as_str(), &revocation.cause);
    let (kind, id) = (revocation.target.kind(), revocation.target.id());
    let rows = transaction
        .execute(INSERT_SQL, &[&tenant, &kind, &id, &revocation.revoked_at, &reason, cause, &now])
        .await?;
    Ok(rows == 1)
}

const AFTER_SQL: &str = "
    SELECT sequence, tenant_id, kind, target_id, revoked_at, reason, recorded_at
    FROM bff.revocations_after($1, $2)";

/// Reads the live rows of all tenants after `last`, and the last one's sequence.
pub(super) async fn after(
    database: &Database,
    last: i64,
    now: Timestamp,
) -> Result<(Vec<Revocation>, i64), StoreError> {
    let rows = database.query(AFTER_SQL, &[&last, &(now - REVOCATION_TTL)]).await?;
    let last = rows.last().map_or(last, |row| row.get(0));
    Ok((rows.iter().filter_map(parse_or_log).collect(), last))
}

/// An unreadable row is logged and skipped, so that it does not block later ones.
fn parse_or_log(row: &Row) -> Option<Revocation> {
    from_row(row)
        .inspect_err(|error| tracing::error!(error = %chain(error), "A revocation cannot be read."))
        .ok()
}

fn from_row(row: &Row) -> Result<Revocation, StoreError> {
    let tenant = pg_row::id(row, "tenant_id")?;
    let target = Target::parse(tenant, pg_row::get(row, "kind")?, pg_row::get(row, "target_id")?);
    let target =
        target.map_err(|error| StoreError::Row { column: "target_id", source: error.into() })?;
    Ok(Revocation {
        tenant,
        target,
        revoked_at: pg_row::get(row, "revoked_at")?,
        reason: pg_row::get::<&str>(row, "reason")?.into(),
        recorded_at: pg_row::get(row, "recorded_at")?,
    })
}

const WAS_REVOKED_SQL: &str = "
    SELECT EXISTS (SELECT FROM bff.revocations
                   WHERE tenant_id = $1 AND kind = $2 AND target_id = $3 AND revoked_at >= $4)";

/// Whether the target was revoked at or after `since`.
pub(crate) async fn was_revoked(
    transaction: &Transaction<'_>,
    tenant: TenantId,
    target: Target,
    since: Timestamp,
) -> Result<bool, StoreError> {
    let values = [tenant.as_str(), target.kind(), target.id()];
    let row = transaction
        .query_one(WAS_REVOKED_SQL, &[&values[0], &values[1], &values[2], &since])
        .await?;
    Ok(row.get(0))
}
