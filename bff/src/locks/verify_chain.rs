//! Whether a tenant's chain is whole: every row has its place, goes on from the one before, is as
//! it was written, and the last is the one the head names.

use contracts::id::TenantId;
use jiff::Timestamp;
use metrics::gauge;
use serde::Serialize;
use service_kit::pg_row as row;
use service_kit::postgres::{Database, StoreError, Transaction, read};

use super::hash_chain::{Content, FIRST};
use super::row::from_row;

/// Rows read at once.
const PIECE: i64 = 500;

/// What was found of one chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    pub tenant_id: TenantId,
    /// Rows that are as they were written, before the first that is not.
    pub whole: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broken: Option<Broken>,
}

/// The first row that is not as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Broken {
    pub sequence: i64,
    pub what: What,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum What {
    /// There is no row in its place.
    Missing,
    /// Its content, or what it goes on from, is another than was written.
    Altered,
    /// It stands after the end that was written down.
    Added,
}

/// How far the chain was followed.
struct Walk {
    sequence: i64,
    hash: Vec<u8>,
}

const PIECES: &str = "
    SELECT tenant_id, sequence, id, action_id, action, phase, property_id, lock_id, operator_id,
           device_id, roles, session_id, request_id, trace_id, idempotency_key, body_digest,
           mfa_attestation_id, detail, occurred_at, prev_hash, hash
    FROM bff.lock_action_proxy_audit
    WHERE tenant_id = bff.current_tenant_id() AND sequence > $1
    ORDER BY sequence
    LIMIT $2";

const HEAD: &str = "
    SELECT sequence, hash FROM bff.lock_audit_heads WHERE tenant_id = bff.current_tenant_id()";

/// What is appended meanwhile is not looked at.
const ONE_MOMENT: &str = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ";

const TENANTS: &str = "SELECT bff.tenants_with_lock_actions() AS tenant_id";

/// Every tenant's chain. Runs as the system, which sees no more of them than their ids.
pub async fn verify_all(database: &Database) -> Result<Vec<Verdict>, StoreError> {
    let connection = database.connection().await?;
    let statement = connection.prepare_cached(TENANTS).await?;
    let rows = connection.query(&statement, &[]).await?;
    drop(connection);
    let mut verdicts = Vec::with_capacity(rows.len());
    for row in &rows {
        verdicts.push(verify(database, row::id(row, "tenant_id")?).await?);
    }
    let broken = verdicts.iter().filter(|verdict| verdict.broken.is_some());
    for Verdict { tenant_id, broken, .. } in broken.clone() {
        tracing::error!(tenant = %tenant_id, ?broken, "The ledger of lock actions is not as it was written.");
    }
    gauge!("bff_backoffice_lock_audit_chains_broken").set(broken.count() as f64);
    Ok(verdicts)
}

/// Follows the chain from its first row.
pub async fn verify(database: &Database, tenant: TenantId) -> Result<Verdict, StoreError> {
    let mut connection = database.connection().await?;
    let transaction = read(&mut connection, tenant).await?;
    transaction.batch_execute(ONE_MOMENT).await?;
    let (last, hash) = head(&transaction).await?;
    let mut walk = Walk { sequence: 0, hash: FIRST.to_vec() };
    let broken = loop {
        let before = walk.sequence;
        if let Some(broken) = walk.piece(&transaction).await? {
            break Some(broken);
        }
        if walk.sequence == before {
            break walk.ends(last, &hash);
        }
    };
    let whole = broken.as_ref().map_or(walk.sequence, |broken| broken.sequence - 1);
    Ok(Verdict { tenant_id: tenant, whole, broken })
}

async fn head(transaction: &Transaction<'_>) -> Result<(i64, Vec<u8>), StoreError> {
    let statement = transaction.prepare_cached(HEAD).await?;
    match transaction.query_opt(&statement, &[]).await? {
        Some(head) => Ok((row::get(&head, "sequence")?, row::get(&head, "hash")?)),
        None => Ok((0, FIRST.to_vec())),
    }
}

impl Walk {
    async fn piece(&mut self, transaction: &Transaction<'_>) -> Result<Option<Broken>, StoreError> {
        let statement = transaction.prepare_cached(PIECES).await?;
        for row in transaction.query(&statement, &[&self.sequence, &PIECE]).await? {
            if let Some(broken) = self.step(&row)? {
                return Ok(Some(broken));
            }
        }
        Ok(None)
    }

    fn step(&mut self, row: &tokio_postgres::Row) -> Result<Option<Broken>, StoreError> {
        let (next, content) = (self.sequence + 1, content(row)?);
        let (before, hash): (&[u8], &[u8]) = (row::get(row, "prev_hash")?, row::get(row, "hash")?);
        if content.sequence != next {
            return Ok(Some(Broken { sequence: next, what: What::Missing }));
        }
        if before != self.hash || content.hash(before) != hash {
            return Ok(Some(Broken { sequence: next, what: What::Altered }));
        }
        *self = Self { sequence: next, hash: hash.to_vec() };
        Ok(None)
    }

    /// The end that is there against the one that was written down.
    fn ends(&self, last: i64, hash: &[u8]) -> Option<Broken> {
        let (sequence, what) = match self.sequence.cmp(&last) {
            std::cmp::Ordering::Less => (self.sequence + 1, What::Missing),
            std::cmp::Ordering::Greater => (last + 1, What::Added),
            std::cmp::Ordering::Equal if self.hash == hash => return None,
            std::cmp::Ordering::Equal => (last, What::Altered),
        };
        Some(Broken { sequence, what })
    }
}

fn content(row: &tokio_postgres::Row) -> Result<Content, StoreError> {
    Ok(Content {
        tenant: row::get(row, "tenant_id")?,
        sequence: row::get(row, "sequence")?,
        at: row::get::<Timestamp>(row, "occurred_at")?,
        row: from_row(row)?,
    })
}
