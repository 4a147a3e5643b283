//! Statements about tenants in Postgres: written in the caller's transaction, read across tenants
//! through the one function that may ([`after`] runs as the system).

use contracts::id::{EventId, IdError};
use jiff::Timestamp;
use service_kit::postgres::{Database, StoreError, Transaction};
use service_kit::problem::chain;

use super::Statement;

const INSERT: &str = "
    INSERT INTO bff.tenant_standings (tenant_id, suspended, stated_at, reason, cause, recorded_at)
    VALUES ($1, $2, $3, $4, $5, $6)
    ON CONFLICT (tenant_id, cause) DO NOTHING";

/// Writes it down, once per event.
pub async fn insert(
    transaction: &Transaction<'_>,
    statement: &Statement,
    (cause, reason): (EventId, &str),
    now: Timestamp,
) -> Result<(), StoreError> {
    let prepared = transaction.prepare_cached(INSERT).await?;
    let (tenant, cause) = (statement.tenant.as_str(), cause.as_str());
    let Statement { suspended, stated_at, .. } = statement;
    transaction.execute(&prepared, &[&tenant, suspended, stated_at, &reason, &cause, &now]).await?;
    Ok(())
}

const AFTER: &str = "
    SELECT sequence, tenant_id, suspended, stated_at FROM bff.tenant_standings_after($1)";

/// The statements about all tenants after `last`, and the last one's sequence.
pub(super) async fn after(
    database: &Database,
    last: i64,
) -> Result<(Vec<Statement>, i64), StoreError> {
    let connection = database.connection().await?;
    let statement = connection.prepare_cached(AFTER).await?;
    let rows = connection.query(&statement, &[&last]).await?;
    let last = rows.last().map_or(last, |row| row.get(0));
    Ok((rows.iter().filter_map(readable).collect(), last))
}

/// A row that no code of ours wrote must not hide those after it.
fn readable(row: &tokio_postgres::Row) -> Option<Statement> {
    from_row(row)
        .inspect_err(|error| {
            tracing::error!(error = %chain(error), "A tenant's standing cannot be read.");
        })
        .ok()
}

fn from_row(row: &tokio_postgres::Row) -> Result<Statement, StoreError> {
    let tenant: &str = row.get(1);
    let tenant = tenant
        .parse()
        .map_err(|error: IdError| StoreError::Row { column: "tenant_id", source: error.into() })?;
    Ok(Statement { tenant, suspended: row.get(2), stated_at: row.get(3) })
}
