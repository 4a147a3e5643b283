//! Reads rule overrides from Postgres, where they are rows of the platform's own tenant.

use contracts::clock::wire;
use contracts::id::{RequestId, TenantId};
use serde::Serialize;
use service_kit::pg_row;
use service_kit::postgres::{Database, StoreError};
use tokio_postgres::Row;

use crate::firewall::file::{self, Rules, RulesError};

/// A request that was approved, as platform operators see it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RuleOverride {
    #[serde(skip)]
    pub sequence: i64,
    /// TOML; empty restores the file.
    #[serde(skip)]
    pub text: String,
    pub id: RequestId,
    pub reason: String,
    pub requested_by: String,
    pub approved_by: String,
    pub approved_at: wire::Timestamp,
}

impl RuleOverride {
    /// Returns the rules; `None` if it restores the file.
    pub(super) fn rules(&self) -> Result<Option<Rules>, RulesError> {
        if self.text.trim().is_empty() { Ok(None) } else { file::parse(&self.text).map(Some) }
    }
}

const NEWEST_SQL: &str = "
    SELECT approval.sequence, request.rules, request.id, request.reason, approval.requested_by,
           approval.approved_by, approval.approved_at
    FROM bff.edge_rules AS approval
    JOIN bff.edge_rule_requests AS request
        ON request.tenant_id = approval.tenant_id AND request.id = approval.request_id
    WHERE approval.tenant_id = bff.current_tenant_id()
    ORDER BY approval.sequence DESC
    LIMIT 1";

/// Reads the newest override.
pub(super) async fn newest(database: &Database) -> Result<Option<RuleOverride>, StoreError> {
    let rows = database.read(TenantId::platform(), NEWEST_SQL, &[]).await?;
    rows.first().map(from_row).transpose()
}

fn from_row(row: &Row) -> Result<RuleOverride, StoreError> {
    Ok(RuleOverride {
        sequence: pg_row::get(row, "sequence")?,
        text: pg_row::get(row, "rules")?,
        id: pg_row::id(row, "id")?,
        reason: pg_row::get(row, "reason")?,
        requested_by: pg_row::get(row, "requested_by")?,
        approved_by: pg_row::get(row, "approved_by")?,
        approved_at: pg_row::instant(row, "approved_at")?,
    })
}
