//! Append-only audit of platform operators' actions. A step is written in the transaction of its
//! change.

use auth::oidc::ServiceAccount;
use contracts::id::RequestId;
use jiff::Timestamp;
use service_kit::postgres::{StoreError, Transaction, Values};

#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum Step {
    Requested,
    Approved,
    /// An approval was refused.
    Refused,
}

impl Step {
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// One line of the audit.
#[derive(Debug)]
pub(crate) struct Entry<'a> {
    pub action: &'static str,
    pub step: Step,
    pub request: RequestId,
    pub account: &'a ServiceAccount,
    pub reason: &'a str,
    /// SHA-256 of the requested content.
    pub digest: [u8; 32],
}

const WRITE_SQL: &str = "
    INSERT INTO bff.admin_audit
        (tenant_id, action, step, request_id, account, subject, reason, digest, occurred_at)
    VALUES (bff.current_tenant_id(), $1, $2, $3, $4, $5, $6, $7, $8)";

/// Writes an entry, in a transaction of the platform's own tenant.
pub(crate) async fn write(
    transaction: &Transaction<'_>,
    entry: &Entry<'_>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let Entry { action, step, request, account, reason, digest } = entry;
    let ServiceAccount { email, subject } = account;
    let (step, request, digest) = (step.name(), request.as_str(), &digest[..]);
    let values: Values<'_> = &[action, &step, &request, email, subject, reason, &digest, &now];
    transaction.execute(WRITE_SQL, values).await.map(drop)
}
