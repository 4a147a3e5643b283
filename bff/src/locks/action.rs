//! A lock action on its way through the one path of mutations.

use contracts::env::Env;
use contracts::id::{KeyCredentialId, LockAuditId, LockDeviceId};
use contracts::locks::{LockActionKind, LockActionPhase};
use contracts::safeguard;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use metrics::counter;
use serde::Deserialize;
use serde_json::json;
use service_kit::postgres::{StoreError, Transaction};
use service_kit::problem::ApiResult;
use upstream_clients::{CallError, TransportError};

use super::location::LockLocation;
use super::row::Row;
use super::{audit_log, freeze};
use crate::admin::freeze::is_frozen;
use crate::mutation::{ClaimedMutation, EffectLog, Forwarded};
use crate::problems::unavailable;

/// Writes the audit rows of one lock action, before and after it is sent.
#[derive(Debug, Clone)]
pub(crate) struct Action {
    /// Id of its `requested` row.
    id: LockAuditId,
    kind: LockActionKind,
    lock: LockDeviceId,
    /// `None` if the location is unknown; nothing is sent then.
    location: Option<LockLocation>,
    env: Env,
}

/// How a lock action ended.
#[derive(Debug, Clone)]
struct LockOutcome {
    phase: LockActionPhase,
    key: Option<KeyCredentialId>,
    error: Option<String>,
}

/// Common part of lock-integration's replies.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct KeyReply {
    key_credential_id: KeyCredentialId,
}

impl Action {
    pub(crate) fn new(
        kind: LockActionKind,
        lock: LockDeviceId,
        location: Option<LockLocation>,
        env: Env,
    ) -> Self {
        Self { id: env.new_id(), kind, lock, location, env }
    }

    /// Derives the outcome from the reply or its absence.
    fn outcome(&self, forwarded: &Forwarded) -> LockOutcome {
        match forwarded {
            Ok(reply) => {
                let reply = serde_json::from_slice::<KeyReply>(&reply.body);
                let key = reply.ok().map(|reply| reply.key_credential_id);
                LockOutcome { phase: LockActionPhase::Success, key, error: None }
            }
            Err(error) => {
                let is_open = self.location.is_some() && is_indeterminate(error);
                let phase =
                    if is_open { LockActionPhase::Unknown } else { LockActionPhase::Failure };
                LockOutcome { phase, key: None, error: Some(error.to_string()) }
            }
        }
    }

    async fn append_request(
        &self,
        transaction: &Transaction<'_>,
        claimed: ClaimedMutation<'_>,
    ) -> ApiResult<()> {
        if !safeguard!(LockAudit) {
            return Ok(());
        }
        if safeguard!(LockFreeze)
            && is_frozen::<freeze::LockRoutes>(transaction).await.map_err(unavailable)?
        {
            return Err(freeze::frozen());
        }
        let row = self.row(claimed, self.id, LockActionPhase::Requested);
        audit_log::append(transaction, row, self.env.now()).await.map_err(unavailable)
    }

    async fn append_outcome(
        &self,
        transaction: &Transaction<'_>,
        claimed: ClaimedMutation<'_>,
        outcome: &LockOutcome,
    ) -> Result<(), StoreError> {
        let vendor = self.location.as_ref().map_or("unknown", |location| &location.vendor);
        // Counted even if the row is not written.
        count(outcome.phase, vendor);
        if !safeguard!(LockAudit) {
            return Ok(());
        }
        let mut row = self.row(claimed, self.env.new_id(), outcome.phase);
        if let Some(key) = outcome.key {
            row.detail["keyCredentialId"] = key.as_str().into();
        }
        if let Some(error) = &outcome.error {
            row.detail["error"] = error.as_str().into();
        }
        audit_log::append(transaction, row, self.env.now()).await
    }

    fn row(&self, claimed: ClaimedMutation<'_>, id: LockAuditId, phase: LockActionPhase) -> Row {
        let ClaimedMutation { request, mutation, .. } = claimed;
        let principal = &request.principal;
        let detail = self.location.as_ref().map(|location| json!({"vendor": location.vendor}));
        Row {
            id: id.to_string(),
            action_id: self.id.to_string(),
            action: self.kind.into_str().to_owned(),
            phase: phase.into_str().to_owned(),
            property: self.location.as_ref().map(|location| location.property.to_string()),
            lock: self.lock.to_string(),
            operator: principal.operator.to_string(),
            device: principal.device.to_string(),
            roles: principal.roles.iter().map(|role| role.name().to_owned()).collect(),
            session: Some(mutation.session.to_string()),
            request: request.context.id.to_string(),
            trace: Some(request.context.trace_id.clone()),
            key: request.scope.key.as_str().to_owned(),
            body_digest: request.body_digest().to_vec(),
            attestation: mutation.second_factor.map(|factor| factor.attestation().to_string()),
            detail: detail.unwrap_or_else(|| json!({})),
        }
    }
}

impl EffectLog for Action {
    fn before<'a>(
        &'a self,
        transaction: &'a Transaction<'_>,
        claimed: ClaimedMutation<'a>,
    ) -> BoxFuture<'a, ApiResult<()>> {
        self.append_request(transaction, claimed).boxed()
    }

    fn after<'a>(
        &'a self,
        transaction: &'a Transaction<'_>,
        claimed: ClaimedMutation<'a>,
        forwarded: &'a Forwarded,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        async move {
            let outcome = self.outcome(forwarded);
            self.append_outcome(transaction, claimed, &outcome).await
        }
        .boxed()
    }
}

fn count(phase: LockActionPhase, vendor: &str) {
    counter!(
        "bff_backoffice_lock_action_total",
        "outcome" => phase.into_str(), "vendor" => vendor.to_owned()
    )
    .increment(1);
}

/// Whether lock-integration may have executed the action despite the error. A refusal or its own
/// error means that it did not (seed F-10); a request that was never sent cannot have been
/// executed.
fn is_indeterminate(error: &CallError) -> bool {
    match error {
        CallError::Timeout
        | CallError::Status { status: 408, .. }
        | CallError::SchemaDrift { .. }
        | CallError::TooLarge { .. } => true,
        CallError::Unavailable(cause) => {
            !matches!(cause, TransportError::Connect(_) | TransportError::Trust(_))
        }
        CallError::Status { .. }
        | CallError::BreakerOpen
        | CallError::ConcurrencyLimit
        | CallError::NotConfigured
        | CallError::Store(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_indeterminate_errors_leave_the_outcome_unknown() {
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        for (error, is_open) in [
            (CallError::Timeout, true),
            (CallError::SchemaDrift { path: "a".to_owned() }, true),
            (CallError::TooLarge { limit: 1 }, true),
            (CallError::Unavailable(TransportError::Connect(refused)), false),
            (CallError::Status { status: 408, problem: None }, true),
            (CallError::Status { status: 503, problem: None }, false),
            (CallError::Status { status: 422, problem: None }, false),
            (CallError::BreakerOpen, false),
            (CallError::ConcurrencyLimit, false),
            (CallError::NotConfigured, false),
        ] {
            assert_eq!(is_indeterminate(&error), is_open, "{error}");
        }
    }
}
