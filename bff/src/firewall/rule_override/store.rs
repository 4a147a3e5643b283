//! Orders of edge rules in Postgres, as rows of the platform's own tenant.

use auth::oidc::ServiceAccount;
use contracts::id::{RequestId, TenantId};
use jiff::Timestamp;
use service_kit::pg_row as row;
use service_kit::postgres::{Database, StoreError, Transaction, read};
use tokio_postgres::Row;

use crate::firewall::file::{self, Rules, RulesError};

/// What one person asked for.
#[derive(Debug, Clone)]
pub struct Request {
    pub id: RequestId,
    /// TOML; empty: back to the file.
    pub rules: String,
    pub reason: String,
    pub by: ServiceAccount,
    pub requested_at: Timestamp,
    /// From here on nobody can approve it.
    pub expires_at: Timestamp,
}

/// What another said.
#[derive(Debug, Clone)]
pub struct Approval {
    pub by: ServiceAccount,
    pub at: Timestamp,
}

/// A request that was approved.
#[derive(Debug, Clone)]
pub struct Order {
    pub sequence: i64,
    pub request: Request,
    pub approval: Approval,
}

impl Order {
    /// `None` when it gives way to the file.
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

/// False when there is a request of this id.
pub(super) async fn request(
    transaction: &Transaction<'_>,
    request: &Request,
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
) -> Result<Option<Request>, StoreError> {
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

/// False when it was approved before. Two approvals at once: the second waits.
pub(super) async fn approve(
    transaction: &Transaction<'_>,
    request: &Request,
    approval: &Approval,
) -> Result<bool, StoreError> {
    let statement = transaction.prepare_cached(APPROVE).await?;
    let (id, asked, said) = (request.id.as_str(), &request.by, &approval.by);
    let values: [&(dyn tokio_postgres::types::ToSql + Sync); 7] = [
        &id,
        &asked.email,
        &asked.subject,
        &request.expires_at,
        &said.email,
        &said.subject,
        &approval.at,
    ];
    Ok(transaction.execute(&statement, &values).await? == 1)
}

const NEWEST: &str = "
    SELECT said.sequence, said.approved_by, said.approved_subject, said.approved_at,
           asked.id, asked.rules, asked.reason, asked.requested_by, asked.requested_subject,
           asked.requested_at, asked.expires_at
    FROM bff.edge_rules AS said
    JOIN bff.edge_rule_requests AS asked
        ON asked.tenant_id = said.tenant_id AND asked.id = said.request_id
    WHERE said.tenant_id = bff.current_tenant_id()
    ORDER BY said.sequence DESC
    LIMIT 1";

/// The order that holds.
pub(super) async fn newest(database: &Database) -> Result<Option<Order>, StoreError> {
    let mut connection = database.connection().await?;
    let transaction = read(&mut connection, TenantId::platform()).await?;
    let statement = transaction.prepare_cached(NEWEST).await?;
    let row = transaction.query_opt(&statement, &[]).await?;
    row.as_ref().map(order_from_row).transpose()
}

fn order_from_row(row: &Row) -> Result<Order, StoreError> {
    Ok(Order {
        sequence: row::get(row, "sequence")?,
        request: request_from_row(row)?,
        approval: Approval {
            by: account(row, "approved_by", "approved_subject")?,
            at: row::get(row, "approved_at")?,
        },
    })
}

fn request_from_row(row: &Row) -> Result<Request, StoreError> {
    Ok(Request {
        id: row::id(row, "id")?,
        rules: row::get(row, "rules")?,
        reason: row::get(row, "reason")?,
        by: account(row, "requested_by", "requested_subject")?,
        requested_at: row::get(row, "requested_at")?,
        expires_at: row::get(row, "expires_at")?,
    })
}

fn account(
    row: &Row,
    email: &'static str,
    subject: &'static str,
) -> Result<ServiceAccount, StoreError> {
    Ok(ServiceAccount { email: row::get(row, email)?, subject: row::get(row, subject)? })
}
