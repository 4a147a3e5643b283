//! Verifies a tenant's hash chain: no row is missing, altered or added, and the last row is the one
//! that the head records.

use std::time::Duration;

use contracts::id::TenantId;
use jiff::Timestamp;
use metrics::gauge;
use serde::Serialize;
use service_kit::background::BackgroundTask;
use service_kit::pg_row;
use service_kit::postgres::{Database, StoreError, Transaction, read};

use super::hash_chain::{Content, GENESIS_HASH};
use super::row::from_row;
use crate::background::job::Job;

/// Rows read at once.
const BATCH_ROWS: i64 = 500;

/// Report of one chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ChainReport {
    pub tenant_id: TenantId,
    /// Intact rows before the first fault.
    #[serde(rename = "whole")]
    pub intact_rows: i64,
    #[serde(rename = "broken", skip_serializing_if = "Option::is_none")]
    pub first_fault: Option<FirstFault>,
}

/// The first row that fails verification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FirstFault {
    pub sequence: i64,
    #[serde(rename = "what")]
    pub tampering: Tampering,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Tampering {
    /// The row is missing.
    Missing,
    /// The content or `prev_hash` was changed.
    Altered,
    /// The row comes after the recorded head.
    Added,
}

/// Result of verifying every chain.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Verified {
    chains: usize,
    rows: i64,
    /// Each with its first fault.
    broken: Vec<ChainReport>,
}

/// Last verified row.
struct ChainCursor {
    sequence: i64,
    hash: Vec<u8>,
}

const BATCH_SQL: &str = "
    SELECT tenant_id, sequence, id, action_id, action, phase, property_id, lock_id, operator_id,
           device_id, roles, session_id, request_id, trace_id, idempotency_key, body_digest,
           mfa_attestation_id, detail, occurred_at, prev_hash, hash
    FROM bff.lock_action_proxy_audit
    WHERE tenant_id = bff.current_tenant_id() AND sequence > $1
    ORDER BY sequence
    LIMIT $2";

const HEAD_SQL: &str = "
    SELECT sequence, hash FROM bff.lock_audit_heads WHERE tenant_id = bff.current_tenant_id()";

/// Rows appended meanwhile are not read.
const SET_REPEATABLE_READ_SQL: &str = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ";

const TENANTS_SQL: &str = "SELECT bff.tenants_with_lock_actions() AS tenant_id";

/// Verifies every tenant's chain. A broken chain is a result like any other; the alert fires on the
/// metric.
#[derive(Debug)]
pub(crate) struct ChainVerification {
    pub database: Database,
}

impl Job for ChainVerification {
    const NAME: &'static str = "verify-lock-audit";
    const LEASE: Option<Duration> = None;
}

impl BackgroundTask for ChainVerification {
    type Status = Verified;
    type Error = StoreError;

    async fn activate(&mut self) -> Result<Verified, StoreError> {
        verify_all(&self.database).await
    }
}

/// Runs as the system, which sees only the tenants' ids.
async fn verify_all(database: &Database) -> Result<Verified, StoreError> {
    let rows = database.query(TENANTS_SQL, &[]).await?;
    let mut reports = Vec::with_capacity(rows.len());
    for row in &rows {
        reports.push(verify(database, pg_row::id(row, "tenant_id")?).await?);
    }
    let (chains, rows) = (reports.len(), reports.iter().map(|report| report.intact_rows).sum());
    let mut broken = reports;
    broken.retain(|report| report.first_fault.is_some());
    for ChainReport { tenant_id, first_fault, .. } in &broken {
        tracing::error!(tenant = %tenant_id, broken = ?first_fault, "The lock audit log was tampered with.");
    }
    gauge!("bff_backoffice_lock_audit_chains_broken").set(broken.len() as f64);
    Ok(Verified { chains, rows, broken })
}

/// Verifies the chain from its first row.
pub(crate) async fn verify(
    database: &Database,
    tenant: TenantId,
) -> Result<ChainReport, StoreError> {
    let mut connection = database.connection().await?;
    let transaction = read(&mut connection, tenant).await?;
    transaction.batch_execute(SET_REPEATABLE_READ_SQL).await?;
    let (last, hash) = head(&transaction).await?;
    let mut cursor = ChainCursor { sequence: 0, hash: GENESIS_HASH.to_vec() };
    let first_fault = loop {
        let before = cursor.sequence;
        if let Some(first_fault) = cursor.check_batch(&transaction).await? {
            break Some(first_fault);
        }
        if cursor.sequence == before {
            break cursor.check_end(last, &hash);
        }
    };
    let intact_rows =
        first_fault.as_ref().map_or(cursor.sequence, |first_fault| first_fault.sequence - 1);
    Ok(ChainReport { tenant_id: tenant, intact_rows, first_fault })
}

async fn head(transaction: &Transaction<'_>) -> Result<(i64, Vec<u8>), StoreError> {
    match transaction.query_opt(HEAD_SQL, &[]).await? {
        Some(head) => Ok((pg_row::get(&head, "sequence")?, pg_row::get(&head, "hash")?)),
        None => Ok((0, GENESIS_HASH.to_vec())),
    }
}

impl ChainCursor {
    async fn check_batch(
        &mut self,
        transaction: &Transaction<'_>,
    ) -> Result<Option<FirstFault>, StoreError> {
        for row in transaction.query(BATCH_SQL, &[&self.sequence, &BATCH_ROWS]).await? {
            if let Some(first_fault) = self.check_row(&row)? {
                return Ok(Some(first_fault));
            }
        }
        Ok(None)
    }

    fn check_row(&mut self, row: &tokio_postgres::Row) -> Result<Option<FirstFault>, StoreError> {
        let (next, content) = (self.sequence + 1, content(row)?);
        let (before, hash): (&[u8], &[u8]) =
            (pg_row::get(row, "prev_hash")?, pg_row::get(row, "hash")?);
        if content.sequence != next {
            return Ok(Some(FirstFault { sequence: next, tampering: Tampering::Missing }));
        }
        if before != self.hash || content.hash(before) != hash {
            return Ok(Some(FirstFault { sequence: next, tampering: Tampering::Altered }));
        }
        *self = Self { sequence: next, hash: hash.to_vec() };
        Ok(None)
    }

    /// Compares the last row with the recorded head.
    fn check_end(&self, last: i64, hash: &[u8]) -> Option<FirstFault> {
        let (sequence, tampering) = match self.sequence.cmp(&last) {
            std::cmp::Ordering::Less => (self.sequence + 1, Tampering::Missing),
            std::cmp::Ordering::Greater => (last + 1, Tampering::Added),
            std::cmp::Ordering::Equal if self.hash == hash => return None,
            std::cmp::Ordering::Equal => (last, Tampering::Altered),
        };
        Some(FirstFault { sequence, tampering })
    }
}

fn content(row: &tokio_postgres::Row) -> Result<Content, StoreError> {
    Ok(Content {
        tenant: pg_row::get(row, "tenant_id")?,
        sequence: pg_row::get(row, "sequence")?,
        at: pg_row::get::<Timestamp>(row, "occurred_at")?,
        row: from_row(row)?,
    })
}
