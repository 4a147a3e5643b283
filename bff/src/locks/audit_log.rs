//! Rows of `bff.lock_action_proxy_audit`, appended to a tenant's chain in their caller's
//! transaction. Whoever appends holds the end of the chain until the commit, so it is the last
//! thing a transaction does.

use jiff::Timestamp;
use service_kit::pg_row as row;
use service_kit::postgres::{StoreError, Transaction};

use super::hash_chain::{Content, FIRST};
use super::row::Row;

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
