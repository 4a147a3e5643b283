//! Reconciles lock actions without a final row: queries lock-integration by their idempotency key
//! and appends its answer to the audit log. While lock-integration is unavailable the row is
//! `unknown`, and the next run queries again. Safe to run twice and concurrently.
//!
//! Not here: when it runs; a scheduler starts it every minute.

use std::time::Duration;

use contracts::id::{Id, LockAuditId, TenantId};
use contracts::locks::LockActionPhase;
use jiff::SignedDuration;
use metrics::counter;
use serde::Serialize;
use serde_json::Value;
use service_kit::background::BackgroundTask;
use service_kit::pg_row;
use service_kit::postgres::{StoreError, Values, write};
use service_kit::problem::chain;
use tokio::time::Instant;

use super::audit_log;
use super::row::{Row, from_row};
use crate::background::job::Job;
use crate::edge::proof_only::ServiceCalls;
use crate::state::Gateway;

const LOOKBACK: SignedDuration = SignedDuration::from_hours(72);
/// Timeout of one call.
const CALL_TIMEOUT: Duration = Duration::from_millis(1200);
/// No call starts after this; the next run continues.
const RUN_LIMIT: Duration = Duration::from_secs(10);
/// Limit per tenant and run.
const MAX_ACTIONS_PER_TENANT: i64 = 100;

/// Result of one run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Reconciled {
    pub success: u32,
    pub failure: u32,
    /// Newly recorded as unknown.
    pub unknown: u32,
    /// Still unknown.
    pub left: u32,
}

/// An action without a final row.
struct OpenAction {
    /// Its `requested` row.
    row: Row,
    is_unknown: bool,
}

/// Reconciles every tenant.
#[derive(Debug)]
pub(crate) struct LockReconciler {
    pub gateway: Gateway,
    pub calls: ServiceCalls,
}

impl Job for LockReconciler {
    const NAME: &'static str = "reconcile-locks";
    const LEASE: Option<Duration> = Some(Duration::from_secs(30));
}

impl BackgroundTask for LockReconciler {
    type Status = Reconciled;
    type Error = StoreError;

    async fn activate(&mut self) -> Result<Reconciled, StoreError> {
        let (deadline, mut done) = (Instant::now() + RUN_LIMIT, Reconciled::default());
        for tenant in tenants(&self.gateway).await? {
            for action in open_actions(&self.gateway, tenant).await? {
                if Instant::now() < deadline {
                    self.reconcile(tenant, action, &mut done).await?;
                }
            }
        }
        Ok(done)
    }
}

const TENANTS_SQL: &str = "SELECT bff.tenants_with_open_lock_actions($1, $2) AS tenant_id";

/// Runs as the system.
async fn tenants(gateway: &Gateway) -> Result<Vec<TenantId>, StoreError> {
    let (now, min_age) = (gateway.env.now(), gateway.lock_audit.reconcile_after());
    let values: Values<'_> = &[&(now - LOOKBACK), &(now - min_age)];
    let rows = gateway.database.query(TENANTS_SQL, values).await?;
    rows.iter().map(|row| pg_row::id(row, "tenant_id")).collect()
}

const OPEN_ACTIONS_SQL: &str = "
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

async fn open_actions(gateway: &Gateway, tenant: TenantId) -> Result<Vec<OpenAction>, StoreError> {
    let (now, min_age) = (gateway.env.now(), gateway.lock_audit.reconcile_after());
    let values: Values<'_> = &[&(now - LOOKBACK), &(now - min_age), &MAX_ACTIONS_PER_TENANT];
    let rows = gateway.database.read(tenant, OPEN_ACTIONS_SQL, values).await?;
    let action = |row: &tokio_postgres::Row| {
        Ok(OpenAction { row: from_row(row)?, is_unknown: pg_row::get(row, "is_unknown")? })
    };
    rows.iter().map(action).collect()
}

impl LockReconciler {
    async fn reconcile(
        &self,
        tenant: TenantId,
        action: OpenAction,
        done: &mut Reconciled,
    ) -> Result<(), StoreError> {
        let (phase, key) = self.fetch_outcome(tenant, &action.row).await;
        if phase == LockActionPhase::Unknown && action.is_unknown {
            done.left += 1;
            return Ok(());
        }
        let id = LockAuditId::generate(&self.gateway.env.clock, &self.gateway.env.entropy);
        let row = action.row.reconciled(id, phase, key);
        if append_once(&self.gateway, tenant, row).await? {
            counter!("bff_backoffice_lock_reconciled_total", "outcome" => phase.into_str())
                .increment(1);
            *match phase {
                LockActionPhase::Success => &mut done.success,
                LockActionPhase::Unknown => &mut done.unknown,
                _ => &mut done.failure,
            } += 1;
        }
        Ok(())
    }

    /// Returns lock-integration's outcome, and the key credential.
    async fn fetch_outcome(
        &self,
        tenant: TenantId,
        row: &Row,
    ) -> (LockActionPhase, Option<String>) {
        if row.property.is_none() {
            // Nothing was sent.
            return (LockActionPhase::Failure, None);
        }
        let context = self.calls.with_deadline(Instant::now() + CALL_TIMEOUT);
        match self.gateway.upstreams.lock_operation(&context, tenant, &row.key).await {
            Ok(Some(done))
                if done.action.into_str() == row.action && done.lock_id.as_str() == row.lock =>
            {
                (LockActionPhase::Success, Some(done.key_credential_id.to_string()))
            }
            // Nothing or another action was done under the key: this one was refused.
            Ok(_) => (LockActionPhase::Failure, None),
            Err(error) => {
                tracing::warn!(error = %chain(&error), "The outcome of a lock action is still unknown.");
                (LockActionPhase::Unknown, None)
            }
        }
    }
}

const HAS_ENDED_SQL: &str = "
    SELECT EXISTS (SELECT FROM bff.lock_action_proxy_audit
                   WHERE tenant_id = bff.current_tenant_id() AND action_id = $1
                     AND (phase IN ('success', 'failure') OR phase = $2))";

/// Returns false if another worker recorded it meanwhile.
async fn append_once(gateway: &Gateway, tenant: TenantId, row: Row) -> Result<bool, StoreError> {
    let mut connection = gateway.database.connection().await?;
    let transaction = write(&mut connection, tenant).await?;
    audit_log::lock_head(&transaction).await?;
    if transaction.query_one(HAS_ENDED_SQL, &[&row.action_id, &row.phase]).await?.get(0) {
        return Ok(false);
    }
    audit_log::append(&transaction, row, gateway.env.now()).await?;
    transaction.commit().await?;
    Ok(true)
}

impl Row {
    /// Builds the final row of this `requested` row.
    fn reconciled(&self, id: LockAuditId, phase: LockActionPhase, key: Option<String>) -> Self {
        let mut row =
            Self { id: id.to_string(), phase: phase.into_str().to_owned(), ..self.clone() };
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
