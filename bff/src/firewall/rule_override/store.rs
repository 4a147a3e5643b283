//! Rule overrides in Postgres, as rows of the platform's own tenant.

use auth::oidc::ServiceAccount;
use contracts::id::{RequestId, TenantId};
use jiff::Timestamp;
use service_kit::pg_row;
use service_kit::postgres::{Database, StoreError, Transaction, read};
use tokio_postgres::Row;

use crate::firewall::file::{self, Rules, RulesError};

/// A request that another operator must approve.
#[derive(Debug, Clone)]
pub struct ApprovalRequest {
    pub id: RequestId,
    /// TOML; empty restores the file.
    pub rules: String,
    pub reason: String,
    pub by: ServiceAccount,
    pub requested_at: Timestamp,
    /// It cannot be approved from this instant on.
    pub expires_at: Timestamp,
}

/// The approval by another operator.
#[derive(Debug, Clone)]
pub struct Approval {
    pub by: ServiceAccount,
    pub at: Timestamp,
}

/// A request that was approved.
#[derive(Debug, Clone)]
pub struct RuleOverride {
    pub sequence: i64,
    pub request: ApprovalRequest,
    pub approval: Approval,
}

impl RuleOverride {
    /// Returns the rules; `None` if it restores the file.
    pub fn rules(&self) -> Result<Option<Rules>, RulesError> {
        let text = &self.request.rules;
        if text.trim().is_empty() { Ok(None) } else { file::parse(text).map(Some) }
    }
}

const REQUEST: &str = "
    INSERT INTO bff.edge_rule_requests
        (tenant_id, id, rules, reason, requested_by, requested_subject, requested_at, expires_at)
    VALUES (bff.current_tenant_id(), $1, $2, $3, $4, $5, $6, $7)
    ON CONFLICT DO NOTHING";

/// False if a request with this id exists.
pub(super) async fn request(
    transaction: &Transaction<'_>,
    request: &ApprovalRequest,
) -> Result<bool, StoreError> {
    let statement = transaction.prepare_cached(REQUEST).await?;
    let (id, by) = (request.id.as_str(), &request.by);
    let values: [&(dyn tokio_postgres::types::ToSql + Sync); 7] = [
        &id,
        &request.rules,
        &request.reason,
        &by.email,
        &by.subject,
        &request.requested_at,
        &request.expires_at,
    ];
    Ok(transaction.execute(&statement, &values).await? == 1)
}

const FIND: &str = "
    SELECT id, rules, reason, requested_by, requested_subject, requested_at, expires_at
    FROM bff.edge_rule_requests
    WHERE tenant_id = bff.current_tenant_id() AND id = $1";

pub(super) async fn find(
    transaction: &Transaction<'_>,
    id: RequestId,
) -> Result<Option<ApprovalRequest>, StoreError> {
    let statement = transaction.prepare_cached(FIND).await?;
    let row = transaction.query_opt(&statement, &[&id.as_str()]).await?;
    row.as_ref().map(request_from_row).transpose()
}

const APPROVE: &str = "
    INSERT INTO bff.edge_rules
        (tenant_id, request_id, requested_by, requested_subject, expires_at,
         approved_by, approved_subject, approved_at)
    VALUES (bff.current_tenant_id(), $1, $2, $3, $4, $5, $6, $7)
    ON CONFLICT (tenant_id, request_id) DO NOTHING";

/// Returns false if it was approved before. Concurrent approvals are serialised.
pub(super) async fn approve(
    transaction: &Transaction<'_>,
    request: &ApprovalRequest,
    approval: &Approval,
) -> Result<bool, StoreError> {
    let statement = transaction.prepare_cached(APPROVE).await?;
    let (id, requester, approver) = (request.id.as_str(), &request.by, &approval.by);
    let values: [&(dyn tokio_postgres::types::ToSql + Sync); 7] = [
        &id,
        &requester.email,
        &requester.subject,
        &request.expires_at,
        &approver.email,
        &approver.subject,
        &approval.at,
    ];
    Ok(transaction.execute(&statement, &values).await? == 1)
}

const NEWEST: &str = "
    SELECT approval.sequence, approval.approved_by, approval.approved_subject, approval.approved_at,
           request.id, request.rules, request.reason, request.requested_by, request.requested_subject,
           request.requested_at, request.expires_at
    FROM bff.edge_rules AS approval
    JOIN bff.edge_rule_requests AS request
        ON request.tenant_id = approval.tenant_id AND request.id = approval.request_id
    WHERE approval.tenant_id = bff.current_tenant_id()
    ORDER BY approval.sequence DESC
    LIMIT 1";

/// Reads the newest override.
pub(super) async fn newest(database: &Database) -> Result<Option<RuleOverride>, StoreError> {
    let mut connection = database.connection().await?;
    let transaction = read(&mut connection, TenantId::platform()).await?;
    let statement = transaction.prepare_cached(NEWEST).await?;
    let row = transaction.query_opt(&statement, &[]).await?;
    row.as_ref().map(override_from_row).transpose()
}

fn override_from_row(row: &Row) -> Result<RuleOverride, StoreError> {
    Ok(RuleOverride {
        sequence: pg_row::get(row, "sequence")?,
        request: request_from_row(row)?,
        approval: Approval {
            by: account(row, "approved_by", "approved_subject")?,
            at: pg_row::get(row, "approved_at")?,
        },
    })
}

fn request_from_row(row: &Row) -> Result<ApprovalRequest, StoreError> {
    Ok(ApprovalRequest {
        id: pg_row::id(row, "id")?,
        rules: pg_row::get(row, "rules")?,
        reason: pg_row::get(row, "reason")?,
        by: account(row, "requested_by", "requested_subject")?,
        requested_at: pg_row::get(row, "requested_at")?,
        expires_at: pg_row::get(row, "expires_at")?,
    })
}

fn account(
    row: &Row,
    email: &'static str,
    subject: &'static str,
) -> Result<ServiceAccount, StoreError> {
    Ok(ServiceAccount { email: pg_row::get(row, email)?, subject: pg_row::get(row, subject)? })
}
