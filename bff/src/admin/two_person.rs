//! Two-person approval: one platform operator requests an action and another approves it within ten
//! minutes. Requests and approvals are rows of the platform's own tenant; each step is audited.
//!
//! Not here: what an approval changes ([`crate::firewall::rule_override`], [`crate::locks::freeze`])
//! and who is a platform operator ([`crate::http::internal_router`]).

use auth::oidc::ServiceAccount;
use contracts::id::{RequestId, TenantId};
use contracts::text::Reason;
use jiff::{SignedDuration, Timestamp};
use metrics::counter;
use service_kit::pg_row;
use service_kit::postgres::{Database, StoreError, Transaction, Values, write};
use sha2::{Digest, Sha256};
use tokio_postgres::Row;

use crate::admin::audit::{self, Entry, Step};

/// How long a request can be approved.
const APPROVAL_TTL: SignedDuration = SignedDuration::from_mins(10);

/// An action that takes two operators.
#[derive(Debug)]
pub(crate) struct TwoPersonAction {
    /// Name in the admin audit and in metrics.
    pub name: &'static str,
    /// Table of requests.
    pub requests: &'static str,
    /// Table of approvals, whose constraints also require two operators and the time limit.
    pub approvals: &'static str,
    /// The change that a request describes, for an action that needs a description.
    pub content: Option<Content>,
    /// When to send another request after this one was approved; ends a sentence.
    pub repeat: &'static str,
}

/// The part of a request that describes the change.
#[derive(Debug)]
pub(crate) struct Content {
    /// Its column in the table of requests and its member in the body of a request.
    pub name: &'static str,
    /// Returns a sentence for the operator if the content is invalid.
    pub validate: fn(&str) -> Result<(), String>,
}

/// A request that another operator must approve.
#[derive(Debug, Clone)]
pub struct ApprovalRequest {
    pub id: RequestId,
    pub by: ServiceAccount,
    pub reason: String,
    pub content: Option<String>,
    pub requested_at: Timestamp,
    /// It cannot be approved from this instant on.
    pub expires_at: Timestamp,
}

impl ApprovalRequest {
    /// A request without content.
    pub fn new(id: RequestId, by: ServiceAccount, reason: Reason, now: Timestamp) -> Self {
        let expires_at = now + APPROVAL_TTL;
        Self { id, by, reason: reason.into(), content: None, requested_at: now, expires_at }
    }

    /// Requires a different operator and an unexpired request.
    fn check_approval(&self, by: &ServiceAccount, now: Timestamp) -> Result<(), ApprovalError> {
        if self.by.email == by.email || self.by.subject == by.subject {
            return Err(ApprovalError::SamePerson);
        }
        if now >= self.expires_at { Err(ApprovalError::Expired) } else { Ok(()) }
    }
}

/// Why a request or an approval failed.
#[derive(Debug, thiserror::Error)]
pub enum ApprovalError {
    #[error("{detail}")]
    Invalid { member: &'static str, detail: String },
    #[error("A request with this X-Request-Id already exists. Send another ID.")]
    Exists,
    #[error("The request was not found. Check the ID.")]
    Unknown,
    #[error("You cannot approve your own request. Ask another platform operator.")]
    SamePerson,
    #[error("The request has expired. Send a new one.")]
    Expired,
    #[error("The request was already approved. Send a new one {repeat}.")]
    Approved { repeat: &'static str },
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl TwoPersonAction {
    /// Stores a request, whose content is valid and which another operator must approve.
    pub(crate) async fn request(
        &self,
        database: &Database,
        request: ApprovalRequest,
    ) -> Result<ApprovalRequest, ApprovalError> {
        let mut connection = database.connection().await?;
        let transaction = write(&mut connection, TenantId::platform()).await?;
        if !self.insert_request(&transaction, &request).await? {
            return Err(ApprovalError::Exists);
        }
        let now = request.requested_at;
        self.audit(&transaction, &request, &request.by, Step::Requested, now).await?;
        transaction.commit().await?;
        Ok(request)
    }

    /// Approves a request. A refusal is audited too.
    pub(crate) async fn approve(
        &self,
        database: &Database,
        id: RequestId,
        by: &ServiceAccount,
        now: Timestamp,
    ) -> Result<(), ApprovalError> {
        let mut connection = database.connection().await?;
        let transaction = write(&mut connection, TenantId::platform()).await?;
        let request = self.find(&transaction, id).await?.ok_or(ApprovalError::Unknown)?;
        // Another version may have accepted the request.
        self.validate(&request)?;
        let outcome = match request.check_approval(by, now) {
            Ok(()) if !self.insert_approval(&transaction, &request, by, now).await? => {
                Err(ApprovalError::Approved { repeat: self.repeat })
            }
            checked => checked,
        };
        let step = if outcome.is_ok() { Step::Approved } else { Step::Refused };
        self.audit(&transaction, &request, by, step, now).await?;
        transaction.commit().await?;
        outcome
    }

    fn validate(&self, request: &ApprovalRequest) -> Result<(), ApprovalError> {
        let Some(content) = &self.content else { return Ok(()) };
        (content.validate)(request.content.as_deref().unwrap_or_default())
            .map_err(|detail| ApprovalError::Invalid { member: content.name, detail })
    }

    /// Returns false if a request with this id exists.
    async fn insert_request(
        &self,
        transaction: &Transaction<'_>,
        request: &ApprovalRequest,
    ) -> Result<bool, StoreError> {
        let ApprovalRequest { id, by, reason, requested_at, expires_at, .. } = request;
        let (id, by, subject) = (id.as_str(), &by.email, &by.subject);
        let base: Values<'_> = &[&id, reason, by, subject, requested_at, expires_at];
        let mut values = base.to_vec();
        let (mut column, mut value) = (String::new(), "");
        if let Some(content) = &self.content {
            (column, value) = (format!(", {}", content.name), ", $7");
            values.push(&request.content);
        }
        let sql = format!(
            "INSERT INTO {}
                 (tenant_id, id, reason, requested_by, requested_subject, requested_at, expires_at{column})
             VALUES (bff.current_tenant_id(), $1, $2, $3, $4, $5, $6{value})
             ON CONFLICT DO NOTHING",
            self.requests
        );
        Ok(transaction.execute(&sql, &values).await? == 1)
    }

    async fn find(
        &self,
        transaction: &Transaction<'_>,
        id: RequestId,
    ) -> Result<Option<ApprovalRequest>, StoreError> {
        let sql = format!(
            "SELECT id, {} AS content, reason, requested_by, requested_subject, requested_at, expires_at
             FROM {} WHERE tenant_id = bff.current_tenant_id() AND id = $1",
            self.content.as_ref().map_or("NULL::text", |content| content.name),
            self.requests
        );
        let row = transaction.query_opt(&sql, &[&id.as_str()]).await?;
        row.as_ref().map(from_row).transpose()
    }

    /// Returns false if it was approved before. Concurrent approvals are serialised.
    async fn insert_approval(
        &self,
        transaction: &Transaction<'_>,
        request: &ApprovalRequest,
        by: &ServiceAccount,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let sql = format!(
            "INSERT INTO {}
                 (tenant_id, request_id, requested_by, requested_subject, expires_at,
                  approved_by, approved_subject, approved_at)
             VALUES (bff.current_tenant_id(), $1, $2, $3, $4, $5, $6, $7)
             ON CONFLICT (tenant_id, request_id) DO NOTHING",
            self.approvals
        );
        let (id, asker, expires_at) = (request.id.as_str(), &request.by, &request.expires_at);
        let ServiceAccount { email, subject } = by;
        let values: Values<'_> =
            &[&id, &asker.email, &asker.subject, expires_at, email, subject, &now];
        Ok(transaction.execute(&sql, values).await? == 1)
    }

    async fn audit(
        &self,
        transaction: &Transaction<'_>,
        request: &ApprovalRequest,
        account: &ServiceAccount,
        step: Step,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let (action, reason) = (self.name, &request.reason);
        let digest = Sha256::digest(request.content.as_ref().unwrap_or(reason)).into();
        let entry = Entry { action, step, request: request.id, account, reason, digest };
        audit::write(transaction, &entry, now).await?;
        counter!("bff_backoffice_admin_action_total", "action" => action, "step" => step.name())
            .increment(1);
        Ok(())
    }
}

fn from_row(row: &Row) -> Result<ApprovalRequest, StoreError> {
    let by = ServiceAccount {
        email: pg_row::get(row, "requested_by")?,
        subject: pg_row::get(row, "requested_subject")?,
    };
    Ok(ApprovalRequest {
        id: pg_row::id(row, "id")?,
        by,
        reason: pg_row::get(row, "reason")?,
        content: pg_row::get(row, "content")?,
        requested_at: pg_row::get(row, "requested_at")?,
        expires_at: pg_row::get(row, "expires_at")?,
    })
}
