//! Freeze of the lock routes: missing audit rows stop them on every instance. To unfreeze, one
//! platform operator sends a request and another approves it within ten minutes.
//!
//! Not here: finding missing rows ([`super::completeness_check`]) and who may unfreeze
//! ([`crate::http::internal_router`]).

use auth::oidc::ServiceAccount;
use contracts::clock::Clock;
use contracts::id::{RequestId, TenantId};
use contracts::problem::code;
use contracts::text::Reason;
use jiff::{SignedDuration, Timestamp};
use metrics::counter;
use service_kit::pg_row;
use service_kit::postgres::{Database, StoreError, Transaction, write};
use service_kit::problem::ApiError;
use sha2::{Digest, Sha256};
use tokio_postgres::Row;

use crate::admin::audit::{self, Entry, Step};

/// Lock actions of all tenants, and those with both rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Completeness {
    pub actions: i64,
    pub complete: i64,
}

impl Completeness {
    pub fn is_complete(self) -> bool {
        self.complete == self.actions
    }

    pub(super) fn share(self) -> f64 {
        if self.actions == 0 { 1.0 } else { self.complete as f64 / self.actions as f64 }
    }
}

const ACTION: &str = "unfreeze-locks";
/// How long a request can be approved.
const APPROVAL_TTL: SignedDuration = SignedDuration::from_mins(10);

/// A request that another operator must approve.
#[derive(Debug, Clone)]
pub struct ApprovalRequest {
    pub id: RequestId,
    pub reason: String,
    pub by: ServiceAccount,
    /// It cannot be approved from this instant on.
    pub expires_at: Timestamp,
}

/// Why an unfreeze request or approval failed.
#[derive(Debug, thiserror::Error)]
pub enum FreezeError {
    #[error("A request with this X-Request-Id already exists. Send another ID.")]
    Exists,
    #[error("The request was not found. Check the ID.")]
    Unknown,
    #[error("You cannot approve your own request. Ask another platform operator.")]
    SamePerson,
    #[error("The request has expired. Send a new one.")]
    Expired,
    #[error("The request was already approved. Send a new one if the routes are frozen again.")]
    Approved,
    #[error(transparent)]
    Store(#[from] StoreError),
}

const IS_FROZEN_SQL: &str = "SELECT bff.lock_proxy_is_frozen()";

/// Whether the routes are frozen, read in the caller's transaction.
pub async fn is_frozen(transaction: &Transaction<'_>) -> Result<bool, StoreError> {
    let statement = transaction.prepare_cached(IS_FROZEN_SQL).await?;
    Ok(transaction.query_one(&statement, &[]).await?.get(0))
}

pub fn frozen() -> ApiError {
    ApiError::new(
        &code::LOCK_PROXY_FROZEN,
        "Lock actions are suspended because audit records are missing. Use the property's manual procedure until the platform operators re-enable them.",
    )
}

const FREEZE_SQL: &str = "
    INSERT INTO bff.lock_freezes (tenant_id, actions, complete, frozen_at)
    SELECT bff.current_tenant_id(), $1, $2, $3
    WHERE NOT bff.lock_proxy_is_frozen()";

/// Freezes the routes. Returns false if they are frozen already.
pub async fn freeze(
    database: &Database,
    found: Completeness,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let mut connection = database.connection().await?;
    let transaction = write(&mut connection, TenantId::platform()).await?;
    let statement = transaction.prepare_cached(FREEZE_SQL).await?;
    let written = transaction.execute(&statement, &[&found.actions, &found.complete, &now]).await?;
    transaction.commit().await?;
    Ok(written == 1)
}

const REQUEST_SQL: &str = "
    INSERT INTO bff.lock_unfreeze_requests
        (tenant_id, id, reason, requested_by, requested_subject, requested_at, expires_at)
    VALUES (bff.current_tenant_id(), $1, $2, $3, $4, $5, $6)
    ON CONFLICT DO NOTHING";

/// Stores a request, which another operator must approve.
pub async fn request(
    database: &Database,
    id: RequestId,
    by: ServiceAccount,
    reason: Reason,
    clock: &Clock,
) -> Result<ApprovalRequest, FreezeError> {
    let now = clock.now();
    let request = ApprovalRequest { id, reason: reason.into(), by, expires_at: now + APPROVAL_TTL };
    let mut connection = database.connection().await?;
    let transaction = write(&mut connection, TenantId::platform()).await?;
    let statement = transaction.prepare_cached(REQUEST_SQL).await?;
    let values: [&(dyn tokio_postgres::types::ToSql + Sync); 6] = [
        &id.as_str(),
        &request.reason,
        &request.by.email,
        &request.by.subject,
        &now,
        &request.expires_at,
    ];
    let written = transaction.execute(&statement, &values).await?;
    if written == 0 {
        return Err(FreezeError::Exists);
    }
    audit(&transaction, &request, &request.by, Step::Requested, now).await?;
    transaction.commit().await?;
    Ok(request)
}

/// Unfreezes the routes on every instance. Rows missing until now no longer freeze them.
pub async fn approve(
    database: &Database,
    id: RequestId,
    by: ServiceAccount,
    clock: &Clock,
) -> Result<(), FreezeError> {
    let now = clock.now();
    let mut connection = database.connection().await?;
    let transaction = write(&mut connection, TenantId::platform()).await?;
    let request = find(&transaction, id).await?.ok_or(FreezeError::Unknown)?;
    let outcome = match check_approval(&request, &by, now) {
        Ok(()) if !unfreeze(&transaction, &request, &by, now).await? => Err(FreezeError::Approved),
        checked => checked,
    };
    let step = if outcome.is_ok() { Step::Approved } else { Step::Refused };
    audit(&transaction, &request, &by, step, now).await?;
    transaction.commit().await?;
    outcome
}

/// Requires a different operator and an unexpired request; the table's constraints do too.
fn check_approval(
    request: &ApprovalRequest,
    by: &ServiceAccount,
    now: Timestamp,
) -> Result<(), FreezeError> {
    if request.by.email == by.email || request.by.subject == by.subject {
        return Err(FreezeError::SamePerson);
    }
    if now >= request.expires_at { Err(FreezeError::Expired) } else { Ok(()) }
}

const FIND_SQL: &str = "
    SELECT id, reason, requested_by, requested_subject, expires_at
    FROM bff.lock_unfreeze_requests
    WHERE tenant_id = bff.current_tenant_id() AND id = $1";

async fn find(
    transaction: &Transaction<'_>,
    id: RequestId,
) -> Result<Option<ApprovalRequest>, StoreError> {
    let statement = transaction.prepare_cached(FIND_SQL).await?;
    let row = transaction.query_opt(&statement, &[&id.as_str()]).await?;
    row.as_ref().map(from_row).transpose()
}

fn from_row(row: &Row) -> Result<ApprovalRequest, StoreError> {
    let by = ServiceAccount {
        email: pg_row::get(row, "requested_by")?,
        subject: pg_row::get(row, "requested_subject")?,
    };
    let (id, reason) = (pg_row::id(row, "id")?, pg_row::get(row, "reason")?);
    Ok(ApprovalRequest { id, reason, by, expires_at: pg_row::get(row, "expires_at")? })
}

const UNFREEZE_SQL: &str = "
    INSERT INTO bff.lock_unfreezes
        (tenant_id, request_id, requested_by, requested_subject, expires_at,
         approved_by, approved_subject, approved_at)
    VALUES (bff.current_tenant_id(), $1, $2, $3, $4, $5, $6, $7)
    ON CONFLICT DO NOTHING";

/// Returns false if it was approved before. Concurrent approvals are serialised.
async fn unfreeze(
    transaction: &Transaction<'_>,
    request: &ApprovalRequest,
    by: &ServiceAccount,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let statement = transaction.prepare_cached(UNFREEZE_SQL).await?;
    let values: [&(dyn tokio_postgres::types::ToSql + Sync); 7] = [
        &request.id.as_str(),
        &request.by.email,
        &request.by.subject,
        &request.expires_at,
        &by.email,
        &by.subject,
        &now,
    ];
    Ok(transaction.execute(&statement, &values).await? == 1)
}

async fn audit(
    transaction: &Transaction<'_>,
    request: &ApprovalRequest,
    account: &ServiceAccount,
    step: Step,
    now: Timestamp,
) -> Result<(), StoreError> {
    let reason = &request.reason;
    let digest = Sha256::digest(reason).into();
    let entry = Entry { action: ACTION, step, request: request.id, account, reason, digest };
    audit::write(transaction, &entry, now).await?;
    counter!("bff_backoffice_admin_action_total", "action" => ACTION, "step" => step.name())
        .increment(1);
    Ok(())
}
