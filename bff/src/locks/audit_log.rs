//! Appends rows of `bff.lock_action_proxy_audit` to a tenant's chain, in the caller's transaction.
//! The chain head stays locked until the commit, so append last.

use jiff::Timestamp;
use service_kit::pg_row;
use service_kit::postgres::{StoreError, Transaction, Values};

use super::hash_chain::{Content, GENESIS_HASH};
use super::row::Row;

const LOCK_CHAIN_HEAD_SQL: &str = "
    INSERT INTO bff.lock_audit_heads AS head (tenant_id, sequence, hash)
    VALUES (bff.current_tenant_id(), 0, $1)
    ON CONFLICT (tenant_id) DO UPDATE SET sequence = head.sequence
    RETURNING tenant_id, sequence, hash";

/// Locks and returns the chain head. Changes nothing.
pub(super) async fn lock_head(
    transaction: &Transaction<'_>,
) -> Result<tokio_postgres::Row, StoreError> {
    transaction.query_one(LOCK_CHAIN_HEAD_SQL, &[&&GENESIS_HASH[..]]).await
}

const APPEND_SQL: &str = "
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
    let head = lock_head(transaction).await?;
    let sequence = pg_row::get::<i64>(&head, "sequence")? + 1;
    // In Postgres's precision, so that the hash can be recomputed.
    let at = Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now);
    let (tenant, before) =
        (pg_row::get(&head, "tenant_id")?, pg_row::get::<Vec<u8>>(&head, "hash")?);
    let content = Content { tenant, sequence, at, row };
    let hash = content.hash(&before);
    let row = &content.row;
    let values: Values<'_> = &[
        &sequence,
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
        &at,
        &before,
        &&hash[..],
    ];
    transaction.execute(APPEND_SQL, values).await.map(drop)
}
