//! Finds out what became of lock actions whose end nobody wrote down, or knew: lock-integration is
//! asked for their idempotency key, and its word is one more row of the ledger. An action that it
//! cannot be asked about gets `unknown`, so that it is at least written down, and is asked about
//! again the next time. Safe to run twice and at once.
//!
//! Not here: when it runs; a scheduler asks for it each minute.

use std::time::Duration;

use contracts::id::{Id, LockAuditId, TenantId};
use contracts::locks::LockActionPhase;
use jiff::SignedDuration;
use metrics::counter;
use serde::Serialize;
use serde_json::Value;
use service_kit::pg_row as row;
use service_kit::postgres::{StoreError, read, write};
use service_kit::problem::chain;
use tokio::time::Instant;

use super::audit_log;
use super::row::{Row, from_row};
use crate::background::job_lease::{Job, exclusively};
use crate::edge::proof_only::ServiceCalls;
use crate::state::Gateway;

/// Younger ones may still be under way: longer than any lease, and than lock-integration takes.
pub const OLDER_THAN: SignedDuration = SignedDuration::from_secs(60);
const LOOKS_BACK: SignedDuration = SignedDuration::from_hours(72);
/// One question.
const ASKED_FOR: Duration = Duration::from_millis(1200);
/// No question is begun after so long; the next run goes on.
const RUNS_FOR: Duration = Duration::from_secs(10);
/// Actions of a tenant that are looked at in one run.
const MOST: i64 = 100;

/// What came of one run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Reconciled {
    pub success: u32,
    pub failure: u32,
    /// Newly written down as unknown.
    pub unknown: u32,
    /// As unknown as before.
    pub left: u32,
}

/// An action without an end.
struct Open {
    /// Its `requested` row.
    row: Row,
    is_unknown: bool,
}

const JOB: Job = Job { name: "reconcile-locks", lease: Duration::from_secs(30) };

/// Looks at every tenant; `None` when another instance is at it.
pub async fn run(
    gateway: &Gateway,
    calls: &ServiceCalls,
) -> Result<Option<Reconciled>, StoreError> {
    let work = Box::pin(reconcile(gateway, calls));
    exclusively(&gateway.database, &gateway.env.entropy, JOB, work).await
}

async fn reconcile(gateway: &Gateway, calls: &ServiceCalls) -> Result<Reconciled, StoreError> {
    let (until, mut done) = (Instant::now() + RUNS_FOR, Reconciled::default());
    for tenant in tenants(gateway).await? {
        for open in open_actions(gateway, tenant).await? {
            if Instant::now() < until {
                one(gateway, calls, (tenant, open), &mut done).await?;
            }
        }
    }
    Ok(done)
}

const TENANTS: &str = "SELECT bff.tenants_with_open_lock_actions($1, $2) AS tenant_id";

/// Runs as the system.
async fn tenants(gateway: &Gateway) -> Result<Vec<TenantId>, StoreError> {
    let now = gateway.env.now();
    let connection = gateway.database.connection().await?;
    let statement = connection.prepare_cached(TENANTS).await?;
    let rows = connection.query(&statement, &[&(now - LOOKS_BACK), &(now - OLDER_THAN)]).await?;
    rows.iter().map(|row| row::id(row, "tenant_id")).collect()
}

const OPEN: &str = "
    SELECT r.*, EXISTS (SELECT FROM bff.lock_action_proxy_audit u
                        WHERE u.tenant_id = r.tenant_id AND u.action_id = r.id
                          AND u.phase = 'unknown') AS is_unknown
    FROM bff.lock_action_proxy_audit r
    WHERE r.tenant_id = bff.current_tenant_id() AND r.phase = 'requested'
      AND r.occurred_at >= $1 AND r.occurred_at < $2
      AND NOT EXISTS (SELECT FROM bff.lock_action_proxy_audit e
                      WHERE e.tenant_id = r.tenant_id AND e.action_id = r.id
                        AND e.phase IN ('success', 'failure'))
    ORDER BY r.sequence
    LIMIT $3";

async fn open_actions(gateway: &Gateway, tenant: TenantId) -> Result<Vec<Open>, StoreError> {
    let now = gateway.env.now();
    let mut connection = gateway.database.connection().await?;
    let transaction = read(&mut connection, tenant).await?;
    let statement = transaction.prepare_cached(OPEN).await?;
    let rows =
        transaction.query(&statement, &[&(now - LOOKS_BACK), &(now - OLDER_THAN), &MOST]).await?;
    let open = |row: &tokio_postgres::Row| {
        Ok(Open { row: from_row(row)?, is_unknown: row::get(row, "is_unknown")? })
    };
    rows.iter().map(open).collect()
}

async fn one(
    gateway: &Gateway,
    calls: &ServiceCalls,
    (tenant, open): (TenantId, Open),
    done: &mut Reconciled,
) -> Result<(), StoreError> {
    let (phase, key) = ask(gateway, calls, tenant, &open.row).await;
    if phase == LockActionPhase::Unknown && open.is_unknown {
        done.left += 1;
        return Ok(());
    }
    let id = LockAuditId::generate(&gateway.env.clock, &gateway.env.entropy);
    let row = open.row.reconciled((id, phase), key);
    if append_once(gateway, tenant, row).await? {
        counter!("bff_backoffice_lock_reconciled_total", "outcome" => phase.name()).increment(1);
        *match phase {
            LockActionPhase::Success => &mut done.success,
            LockActionPhase::Unknown => &mut done.unknown,
            _ => &mut done.failure,
        } += 1;
    }
    Ok(())
}

/// lock-integration's word, and which key it speaks of.
async fn ask(
    gateway: &Gateway,
    calls: &ServiceCalls,
    tenant: TenantId,
    row: &Row,
) -> (LockActionPhase, Option<String>) {
    if row.property.is_none() {
        // Nothing was sent.
        return (LockActionPhase::Failure, None);
    }
    let context = calls.with_deadline(Instant::now() + ASKED_FOR);
    match gateway.upstreams.lock_operation(&context, tenant, &row.key).await {
        Ok(Some(done)) if done.action.name() == row.action && done.lock_id.as_str() == row.lock => {
            (LockActionPhase::Success, Some(done.key_credential_id.to_string()))
        }
        // Nothing, or something else: then this was refused.
        Ok(_) => (LockActionPhase::Failure, None),
        Err(error) => {
            tracing::warn!(error = %chain(&error), "Nobody can say yet what became of a lock action.");
            (LockActionPhase::Unknown, None)
        }
    }
}

const HAS_ENDED: &str = "
    SELECT EXISTS (SELECT FROM bff.lock_action_proxy_audit
                   WHERE tenant_id = bff.current_tenant_id() AND action_id = $1
                     AND (phase IN ('success', 'failure') OR phase = $2))";

/// False when somebody wrote it down meanwhile.
async fn append_once(gateway: &Gateway, tenant: TenantId, row: Row) -> Result<bool, StoreError> {
    let mut connection = gateway.database.connection().await?;
    let transaction = write(&mut connection, tenant).await?;
    audit_log::take(&transaction).await?;
    let statement = transaction.prepare_cached(HAS_ENDED).await?;
    let values: [&(dyn tokio_postgres::types::ToSql + Sync); 2] = [&row.action_id, &row.phase];
    if transaction.query_one(&statement, &values).await?.get(0) {
        return Ok(false);
    }
    audit_log::append(&transaction, row, gateway.env.now()).await?;
    transaction.commit().await?;
    Ok(true)
}

impl Row {
    /// The row that follows this `requested` one.
    fn reconciled(&self, (id, phase): (LockAuditId, LockActionPhase), key: Option<String>) -> Self {
        let mut row = Self { id: id.to_string(), phase: phase.name().to_owned(), ..self.clone() };
        if !row.detail.is_object() {
            row.detail = Value::Object(serde_json::Map::new());
        }
        row.detail["source"] = "reconciler".into();
        if let Some(key) = key {
            row.detail["keyCredentialId"] = key.into();
        }
        row
    }
}
