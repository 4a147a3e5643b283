//! Rows of `bff.lock_action_proxy_audit`, appended to a tenant's chain in their caller's
//! transaction. Whoever appends holds the end of the chain until the commit, so it is the last
//! thing a transaction does.

use contracts::id::{LockDeviceId, TenantId};
use jiff::Timestamp;
use serde_json::Value;
use service_kit::postgres::{Database, StoreError, Transaction, read};
use service_kit::row;

use super::hash_chain::{Content, FIRST};
use super::location::LockLocation;

/// A row before it has its place in the chain. Texts are as they stand in the columns.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) id: String,
    pub(crate) action_id: String,
    pub(crate) action: String,
    pub(crate) phase: String,
    pub(crate) property: Option<String>,
    pub(crate) lock: String,
    pub(crate) operator: String,
    pub(crate) device: String,
    pub(crate) roles: Vec<String>,
    pub(crate) session: Option<String>,
    pub(crate) request: String,
    pub(crate) trace: Option<String>,
    pub(crate) key: String,
    pub(crate) body_digest: Vec<u8>,
    pub(crate) attestation: Option<String>,
    /// Texts by name.
    pub(crate) detail: Value,
}

const TAKE: &str = "
    INSERT INTO bff.lock_audit_heads AS head (tenant_id, sequence, hash)
    VALUES (bff.current_tenant_id(), 0, $1)
    ON CONFLICT (tenant_id) DO UPDATE SET sequence = head.sequence
    RETURNING tenant_id, sequence, hash";

/// Takes the end of the chain, which waits for whoever has it. Changes nothing.
pub(super) async fn take(transaction: &Transaction<'_>) -> Result<tokio_postgres::Row, StoreError> {
    let statement = transaction.prepare_cached(TAKE).await?;
    transaction.query_one(&statement, &[&&FIRST[..]]).await
}

const APPEND: &str = "
    WITH appended AS (
        INSERT INTO bff.lock_action_proxy_audit
            (tenant_id, sequence, id, action_id, action, phase, property_id, lock_id, operator_id,
             device_id, roles, session_id, request_id, trace_id, idempotency_key, body_digest,
             mfa_attestation_id, detail, occurred_at, prev_hash, hash)
        VALUES (bff.current_tenant_id(), $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13,
                $14, $15, $16, $17, $18, $19, $20)
        RETURNING tenant_id, sequence, hash)
    UPDATE bff.lock_audit_heads AS head SET sequence = appended.sequence, hash = appended.hash
    FROM appended WHERE head.tenant_id = appended.tenant_id";

/// Appends to the chain of the transaction's tenant.
pub(crate) async fn append(
    transaction: &Transaction<'_>,
    row: Row,
    now: Timestamp,
) -> Result<(), StoreError> {
    let head = take(transaction).await?;
    let sequence = row::get::<i64>(&head, "sequence")? + 1;
    // As Postgres keeps it, so that the hash can be made again.
    let at = Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now);
    let (tenant, before) = (row::get(&head, "tenant_id")?, row::get::<Vec<u8>>(&head, "hash")?);
    let content = Content { tenant, sequence, at, row };
    let hash = content.hash(&before);
    insert(transaction, &content, (&before, &hash)).await
}

async fn insert(
    transaction: &Transaction<'_>,
    content: &Content,
    (before, hash): (&[u8], &[u8; 32]),
) -> Result<(), StoreError> {
    let row = &content.row;
    let values: [&(dyn tokio_postgres::types::ToSql + Sync); 20] = [
        &content.sequence,
        &row.id,
        &row.action_id,
        &row.action,
        &row.phase,
        &row.property,
        &row.lock,
        &row.operator,
        &row.device,
        &row.roles,
        &row.session,
        &row.request,
        &row.trace,
        &row.key,
        &row.body_digest,
        &row.attestation,
        &row.detail,
        &content.at,
        &before,
        &&hash[..],
    ];
    let statement = transaction.prepare_cached(APPEND).await?;
    transaction.execute(&statement, &values).await?;
    Ok(())
}

const LAST_PLACE: &str = "
    SELECT property_id, coalesce(detail->>'vendor', 'unknown') AS vendor
    FROM bff.lock_action_proxy_audit
    WHERE tenant_id = bff.current_tenant_id() AND lock_id = $1 AND property_id IS NOT NULL
    ORDER BY sequence DESC
    LIMIT 1";

/// Where the lock was when it was last used.
pub(super) async fn last_location(
    database: &Database,
    tenant: TenantId,
    lock: LockDeviceId,
) -> Result<Option<LockLocation>, StoreError> {
    let mut connection = database.connection().await?;
    let transaction = read(&mut connection, tenant).await?;
    let statement = transaction.prepare_cached(LAST_PLACE).await?;
    let found = transaction.query_opt(&statement, &[&lock.as_str()]).await?;
    let place = |row: &tokio_postgres::Row| {
        Ok(LockLocation {
            property: row::id(row, "property_id")?,
            vendor: row::get(row, "vendor")?,
        })
    };
    found.as_ref().map(place).transpose()
}

/// As the columns hold it, whatever somebody made of them.
pub(super) fn from_row(row: &tokio_postgres::Row) -> Result<Row, StoreError> {
    Ok(Row {
        id: row::get(row, "id")?,
        action_id: row::get(row, "action_id")?,
        action: row::get(row, "action")?,
        phase: row::get(row, "phase")?,
        property: row::get(row, "property_id")?,
        lock: row::get(row, "lock_id")?,
        operator: row::get(row, "operator_id")?,
        device: row::get(row, "device_id")?,
        roles: row::get(row, "roles")?,
        session: row::get(row, "session_id")?,
        request: row::get(row, "request_id")?,
        trace: row::get(row, "trace_id")?,
        key: row::get(row, "idempotency_key")?,
        body_digest: row::get(row, "body_digest")?,
        attestation: row::get(row, "mfa_attestation_id")?,
        detail: row::get(row, "detail")?,
    })
}
