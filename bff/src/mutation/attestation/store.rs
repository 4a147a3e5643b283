//! Attestations in Postgres: issued and used in the caller's transaction, insert-only.

use auth::Principal;
use contracts::env::Env;
use contracts::id::{AttestationId, RequestId};
use contracts::safeguard;
use jiff::Timestamp;
use service_kit::pg_row;
use service_kit::postgres::{StoreError, Transaction, Values};

use super::{ConsumeError, Issued, Purpose, Refused, Use, count};
use crate::config::ATTESTATION_LIFETIME;

const ISSUE_SQL: &str = "
    INSERT INTO bff.mfa_attestations (tenant_id, attestation_id, operator_id, device_id, thumbprint,
                                      scope, resource, body_digest, issued_at, expires_at, request_id)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";

/// Issues an attestation to the principal. Valid from the commit on.
pub(crate) async fn issue(
    transaction: &Transaction<'_>,
    principal: &Principal,
    purpose: &Purpose,
    request: RequestId,
    env: &Env,
) -> Result<Issued, StoreError> {
    let now = env.now();
    let issued = Issued { id: env.new_id(), expires_at: now + ATTESTATION_LIFETIME };
    let (tenant, operator) = (principal.tenant.as_str(), principal.operator.as_str());
    let (device, thumbprint) = (principal.device.as_str(), principal.thumbprint.as_deref());
    let (id, request) = (issued.id.as_str(), request.as_str());
    let digest = purpose.body_digest.as_ref().map(<[u8; 32]>::as_slice);
    let (scope, resource) = (purpose.scope.name(), purpose.resource.as_deref());
    let values: Values<'_> = &[
        &tenant,
        &id,
        &operator,
        &device,
        &thumbprint,
        &scope,
        &resource,
        &digest,
        &now,
        &issued.expires_at,
        &request,
    ];
    transaction.execute(ISSUE_SQL, values).await?;
    count(purpose.scope, "issued");
    Ok(issued)
}

/// Consumes the attestation in `transaction`, in `principal`'s own tenant. A rollback leaves it
/// unused. A request that resumes an unfinished one may use it again, also after its expiry.
pub(crate) async fn consume(
    transaction: &Transaction<'_>,
    principal: &Principal,
    presented: AttestationId,
    wanted: &Use<'_>,
    now: Timestamp,
) -> Result<(), ConsumeError> {
    let presentation = Presentation { transaction, principal, id: presented, wanted };
    let outcome = presentation.consume(now).await;
    if outcome.is_ok() {
        count(wanted.scope, "used");
    }
    record_refusal(presented, wanted, &outcome);
    outcome
}

/// Checks that the attestation was issued to `principal` for this request, for a repeat that gets the
/// answer of the first. Whether it was used or has expired does not matter then.
pub(crate) async fn check(
    transaction: &Transaction<'_>,
    principal: &Principal,
    presented: AttestationId,
    wanted: &Use<'_>,
) -> Result<(), ConsumeError> {
    let presentation = Presentation { transaction, principal, id: presented, wanted };
    let outcome = presentation.permitting().await.map(drop);
    record_refusal(presented, wanted, &outcome);
    outcome
}

fn record_refusal(presented: AttestationId, wanted: &Use<'_>, outcome: &Result<(), ConsumeError>) {
    let Err(ConsumeError::Refused(reason)) = outcome else { return };
    tracing::warn!(attestation = %presented, scope = wanted.scope.name(), %reason, "An attestation was refused.");
    count(wanted.scope, reason.into_str());
}

/// A stored attestation.
struct Attestation {
    operator: String,
    device: String,
    thumbprint: String,
    scope: String,
    resource: Option<String>,
    body_digest: Option<Vec<u8>>,
    expires_at: Timestamp,
}

impl Attestation {
    fn from_row(row: &tokio_postgres::Row) -> Result<Self, StoreError> {
        Ok(Self {
            operator: pg_row::get(row, "operator_id")?,
            device: pg_row::get(row, "device_id")?,
            thumbprint: pg_row::get(row, "thumbprint")?,
            scope: pg_row::get(row, "scope")?,
            resource: pg_row::get(row, "resource")?,
            body_digest: pg_row::get(row, "body_digest")?,
            expires_at: pg_row::get(row, "expires_at")?,
        })
    }

    /// Whether it was issued to this caller and covers the request.
    fn permits(&self, principal: &Principal, wanted: &Use<'_>) -> bool {
        self.operator == principal.operator.as_str()
            && self.device == principal.device.as_str()
            && principal.thumbprint.as_deref() == Some(self.thumbprint.as_str())
            && self.scope == wanted.scope.name()
            && self.resource.as_deref().is_none_or(|resource| resource == wanted.resource)
            && self.body_digest.as_deref().is_none_or(|digest| digest == wanted.body_digest)
    }
}

const FIND_SQL: &str = "
    SELECT operator_id, device_id, thumbprint, scope, resource, body_digest, expires_at
    FROM bff.mfa_attestations
    WHERE tenant_id = $1 AND attestation_id = $2";

const INSERT_USE_SQL: &str = "
    INSERT INTO bff.mfa_attestation_uses (tenant_id, attestation_id, used_by, fingerprint, used_at)
    VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT DO NOTHING";

const IS_USED_BY_SQL: &str = "
    SELECT EXISTS (SELECT FROM bff.mfa_attestation_uses
                   WHERE tenant_id = $1 AND attestation_id = $2 AND used_by = $3 AND fingerprint = $4)";

/// An attestation that a request presents for a use.
struct Presentation<'a> {
    transaction: &'a Transaction<'a>,
    principal: &'a Principal,
    id: AttestationId,
    wanted: &'a Use<'a>,
}

impl Presentation<'_> {
    async fn consume(&self, now: Timestamp) -> Result<(), ConsumeError> {
        let found = self.permitting().await?;
        if self.wanted.resumes && self.is_used().await? {
            return Ok(());
        }
        let is_new = now < found.expires_at && self.insert_use(now).await?;
        if is_new || !safeguard!(SingleUseAttestation) {
            return Ok(());
        }
        Err(if now < found.expires_at { Refused::Replayed } else { Refused::Expired }.into())
    }

    async fn permitting(&self) -> Result<Attestation, ConsumeError> {
        let (tenant, id) = self.key();
        let row = self.transaction.query_opt(FIND_SQL, &[&tenant, &id]).await?;
        let found = Attestation::from_row(&row.ok_or(Refused::Unknown)?)?;
        if found.permits(self.principal, self.wanted) {
            Ok(found)
        } else {
            Err(Refused::Mismatch.into())
        }
    }

    /// Returns false if it was used before. Waits for a concurrent transaction that uses it.
    async fn insert_use(&self, now: Timestamp) -> Result<bool, StoreError> {
        let ((tenant, id), wanted) = (self.key(), self.wanted);
        let fingerprint = wanted.fingerprint.as_slice();
        let values: Values<'_> = &[&tenant, &id, &wanted.by, &fingerprint, &now];
        Ok(self.transaction.execute(INSERT_USE_SQL, values).await? == 1)
    }

    /// Whether this request used it, under this key.
    async fn is_used(&self) -> Result<bool, StoreError> {
        let ((tenant, id), wanted) = (self.key(), self.wanted);
        let fingerprint = wanted.fingerprint.as_slice();
        let values: Values<'_> = &[&tenant, &id, &wanted.by, &fingerprint];
        Ok(self.transaction.query_one(IS_USED_BY_SQL, values).await?.get(0))
    }

    fn key(&self) -> (&str, &str) {
        (self.principal.tenant.as_str(), self.id.as_str())
    }
}
