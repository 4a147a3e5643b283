//! Postgres: each table of the catalog that has a tenant. A row is written as its owner, and looked
//! for as another tenant and as none, in one transaction that is rolled back.

use contracts::id::TenantId;
use service_kit::postgres::{Database, StoreError, Transaction, write};

use super::samples::{SAMPLES, Sample};
use super::{Finding, SyntheticTenants};

/// Partitions are reached through their parent only.
const TABLES_SQL: &str = "
    SELECT t.relname::text
    FROM pg_class t
    JOIN pg_namespace n ON n.oid = t.relnamespace
    JOIN pg_attribute a ON a.attrelid = t.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped
    WHERE n.nspname = 'bff' AND t.relkind IN ('r', 'p') AND NOT t.relispartition
    ORDER BY t.relname";

/// Adds a finding per table; after an error, of those before it.
pub(super) async fn probe(
    database: &Database,
    tenants: SyntheticTenants,
    findings: &mut Vec<Finding>,
) -> Result<(), StoreError> {
    let mut connection = database.connection().await?;
    for row in connection.query(TABLES_SQL, &[]).await? {
        let table: &str = row.get(0);
        let store = format!("postgres: bff.{table}");
        let Some(sample) = SAMPLES.iter().find(|sample| sample.table == table) else {
            findings.push(Finding::failed(&store, "there is no sample row for this table"));
            continue;
        };
        let owner = if sample.is_platform_s { TenantId::platform() } else { tenants.one };
        // Dropped without a commit: nothing stays.
        let transaction = write(&mut connection, owner).await?;
        findings.push(probe_table(&transaction, sample, &store, owner, tenants.other).await?);
    }
    Ok(())
}

async fn probe_table(
    transaction: &Transaction<'_>,
    sample: &Sample,
    store: &str,
    owner: TenantId,
    other: TenantId,
) -> Result<Finding, StoreError> {
    transaction.batch_execute(&sample.sql()).await?;
    if shows_any(transaction, sample, other.as_str()).await? {
        return Ok(Finding::leak(store, "a tenant without rows saw some"));
    }
    if shows_any(transaction, sample, "").await? {
        return Ok(Finding::leak(store, "rows were seen without a tenant"));
    }
    if !shows_any(transaction, sample, owner.as_str()).await? {
        return Ok(Finding::failed(store, "what was written was not found by its own tenant"));
    }
    Ok(Finding::clean(store))
}

/// Whether any row at all is seen as this tenant. Table names come from the list of samples.
async fn shows_any(
    transaction: &Transaction<'_>,
    sample: &Sample,
    tenant: &str,
) -> Result<bool, StoreError> {
    transaction.batch_execute(&format!("SET LOCAL app.tenant_id = '{tenant}'")).await?;
    let sql = format!("SELECT EXISTS (SELECT FROM bff.{})", sample.table);
    Ok(transaction.query_one(&sql, &[]).await?.get(0))
}
