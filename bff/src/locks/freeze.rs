//! The freeze of the lock routes: a gap in the ledger stops them everywhere, and two people of the
//! platform start them again, one who asks and one who approves within ten minutes.
//!
//! Not here: who finds the gap ([`super::completeness_check`]) and who may clear it ([`crate::http::internal_router`]).

use auth::oidc::ServiceAccount;
use contracts::clock::Clock;
use contracts::id::{RequestId, TenantId};
use contracts::problem::code;
use contracts::text::Reason;
use jiff::{SignedDuration, Timestamp};
use metrics::counter;
use service_kit::pg_row as row;
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
    pub fn is_whole(self) -> bool {
        self.complete == self.actions
    }

    pub(super) fn share(self) -> f64 {
        if self.actions == 0 { 1.0 } else { self.complete as f64 / self.actions as f64 }
    }
}

const ACTION: &str = "unfreeze-locks";
/// How long a request waits for its second person.
const WAITS: SignedDuration = SignedDuration::from_mins(10);

/// What one person asked for.
#[derive(Debug, Clone)]
pub struct Wish {
    pub id: RequestId,
    pub reason: String,
    pub by: ServiceAccount,
    /// From here on nobody can approve it.
    pub expires_at: Timestamp,
}

/// Why the routes were not started again.
#[derive(Debug, thiserror::Error)]
pub enum FreezeError {
    #[error("A request with this X-Request-Id exists. Send another id.")]
    Exists,
    #[error("There is no such request. Check the id.")]
    Unknown,
    #[error("Who asked for it may not approve it. Ask somebody else of the platform.")]
    SamePerson,
    #[error("The request is older than ten minutes. Ask for it again.")]
    Expired,
    #[error("The request was approved before. Ask for it anew if the routes are frozen again.")]
    Approved,
    #[error(transparent)]
    Store(#[from] StoreError),
}

const IS_FROZEN: &str = "SELECT bff.lock_proxy_is_frozen()";

/// Whether the routes are frozen, asked in the transaction of whoever wants to know.
pub async fn is_frozen(transaction: &Transaction<'_>) -> Result<bool, StoreError> {
    let statement = transaction.prepare_cached(IS_FROZEN).await?;
    Ok(transaction.query_one(&statement, &[]).await?.get(0))
}

pub fn frozen() -> ApiError {
    ApiError::new(
        &code::LOCK_PROXY_FROZEN,
        "Lock actions are stopped because their ledger has a gap. Use the house's own workaround; the platform's operators start them again.",
    )
}

const FREEZE: &str = "
    INSERT INTO bff.lock_freezes (tenant_id, actions, complete, frozen_at)
    SELECT bff.current_tenant_id(), $1, $2, $3
    WHERE NOT bff.lock_proxy_is_frozen()";

/// Stops the routes, unless they are. True when it did.
pub async fn freeze(
    database: &Database,
    found: Completeness,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let mut connection = database.connection().await?;
    let transaction = write(&mut connection, TenantId::platform()).await?;
    let statement = transaction.prepare_cached(FREEZE).await?;
    let written = transaction.execute(&statement, &[&found.actions, &found.complete, &now]).await?;
    transaction.commit().await?;
    Ok(written == 1)
}

const REQUEST: &str = "
    INSERT INTO bff.lock_unfreeze_requests
        (tenant_id, id, reason, requested_by, requested_subject, requested_at, expires_at)
    VALUES (bff.current_tenant_id(), $1, $2, $3, $4, $5, $6)
    ON CONFLICT DO NOTHING";

/// Writes the wish down; it waits for its second person.
pub async fn request(
    database: &Database,
    (id, by, reason): (RequestId, ServiceAccount, Reason),
    clock: &Clock,
) -> Result<Wish, FreezeError> {
    let now = clock.now();
    let wish = Wish { id, reason: reason.into(), by, expires_at: now + WAITS };
    let mut connection = database.connection().await?;
    let transaction = write(&mut connection, TenantId::platform()).await?;
    let statement = transaction.prepare_cached(REQUEST).await?;
    let values: [&(dyn tokio_postgres::types::ToSql + Sync); 6] =
        [&id.as_str(), &wish.reason, &wish.by.email, &wish.by.subject, &now, &wish.expires_at];
    let written = transaction.execute(&statement, &values).await?;
    if written == 0 {
        return Err(FreezeError::Exists);
    }
    audit(&transaction, (&wish, &wish.by), Step::Requested, now).await?;
    transaction.commit().await?;
    Ok(wish)
}

/// Starts the routes again, on every instance at once. Gaps until now freeze nothing any more.
pub async fn approve(
    database: &Database,
    id: RequestId,
    by: ServiceAccount,
    clock: &Clock,
) -> Result<(), FreezeError> {
    let now = clock.now();
    let mut connection = database.connection().await?;
    let transaction = write(&mut connection, TenantId::platform()).await?;
    let wish = find(&transaction, id).await?.ok_or(FreezeError::Unknown)?;
    let outcome = match judge(&wish, &by, now) {
        Ok(()) if !clear(&transaction, (&wish, &by), now).await? => Err(FreezeError::Approved),
        judged => judged,
    };
    let step = if outcome.is_ok() { Step::Approved } else { Step::Refused };
    audit(&transaction, (&wish, &by), step, now).await?;
    transaction.commit().await?;
    outcome
}

/// Two people within the time; the table's constraints ask the same.
fn judge(wish: &Wish, by: &ServiceAccount, now: Timestamp) -> Result<(), FreezeError> {
    if wish.by.email == by.email || wish.by.subject == by.subject {
        return Err(FreezeError::SamePerson);
    }
    if now >= wish.expires_at { Err(FreezeError::Expired) } else { Ok(()) }
}

const FIND: &str = "
    SELECT id, reason, requested_by, requested_subject, expires_at
    FROM bff.lock_unfreeze_requests
    WHERE tenant_id = bff.current_tenant_id() AND id = $1";

async fn find(transaction: &Transaction<'_>, id: RequestId) -> Result<Option<Wish>, StoreError> {
    let statement = transaction.prepare_cached(FIND).await?;
    let row = transaction.query_opt(&statement, &[&id.as_str()]).await?;
    row.as_ref().map(from_row).transpose()
}

fn from_row(row: &Row) -> Result<Wish, StoreError> {
    let by = ServiceAccount {
        email: row::get(row, "requested_by")?,
        subject: row::get(row, "requested_subject")?,
    };
    let (id, reason) = (row::id(row, "id")?, row::get(row, "reason")?);
    Ok(Wish { id, reason, by, expires_at: row::get(row, "expires_at")? })
}

const CLEAR: &str = "
    INSERT INTO bff.lock_unfreezes
        (tenant_id, request_id, requested_by, requested_subject, expires_at,
         approved_by, approved_subject, approved_at)
    VALUES (bff.current_tenant_id(), $1, $2, $3, $4, $5, $6, $7)
    ON CONFLICT DO NOTHING";

/// False when it was approved before. Two approvals at once: the second waits.
async fn clear(
    transaction: &Transaction<'_>,
    (wish, by): (&Wish, &ServiceAccount),
    now: Timestamp,
) -> Result<bool, StoreError> {
    let statement = transaction.prepare_cached(CLEAR).await?;
    let values: [&(dyn tokio_postgres::types::ToSql + Sync); 7] = [
        &wish.id.as_str(),
        &wish.by.email,
        &wish.by.subject,
        &wish.expires_at,
        &by.email,
        &by.subject,
        &now,
    ];
    Ok(transaction.execute(&statement, &values).await? == 1)
}

async fn audit(
    transaction: &Transaction<'_>,
    (wish, account): (&Wish, &ServiceAccount),
    step: Step,
    now: Timestamp,
) -> Result<(), StoreError> {
    let reason = &wish.reason;
    let digest = Sha256::digest(reason).into();
    let entry = Entry { action: ACTION, step, request: wish.id, account, reason, digest };
    audit::write(transaction, &entry, now).await?;
    counter!("bff_backoffice_admin_action_total", "action" => ACTION, "step" => step.name())
        .increment(1);
    Ok(())
}
