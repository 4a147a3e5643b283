//! Lock actions and their ledger (gateway-api section 7): nothing is asked of lock-integration that
//! is not written down before, and what came of it is written down after. Rows are only ever
//! inserted, each with the hash of the one before it in its tenant's chain.
//!
//! [`AtLock`] says who may act on which lock, an [`Action`] is what a mutation writes down,
//! [`ledger`] appends and [`chain`] makes the hashes, which [`verify`] checks. [`reconcile`] finds out what
//! nobody wrote down, [`watch`] finds gaps and [`freeze`] stops the routes for one. Not here: the order of work, which
//! is [`crate::mutation`]'s.

use contracts::clock::{Clock, Entropy};
use contracts::id::{Id, KeyCredentialId, LockAuditId, LockDeviceId};
use contracts::locks::{LockActionKind, LockActionPhase};
use metrics::counter;
use serde::Deserialize;
use serde_json::json;
use service_kit::postgres::{StoreError, Transaction};
use service_kit::problem::ApiResult;
use upstream_clients::{CallError, Reply, TransportError};

use crate::mutation::{Deed, Request};
use crate::store::unavailable;

pub mod chain;
pub mod freeze;
pub mod ledger;
pub mod page;
mod place;
pub mod reconcile;
pub mod verify;
pub mod watch;

pub use place::{AtLock, Place};

use ledger::Row;

/// A lock action, on its way through the one path of mutations.
#[derive(Debug, Clone)]
pub struct Action {
    /// Of its `requested` row.
    id: LockAuditId,
    kind: LockActionKind,
    lock: LockDeviceId,
    /// `None`: nobody could say where it is, and nothing is sent.
    place: Option<Place>,
}

/// What came of it.
#[derive(Debug, Clone)]
pub struct Ending {
    phase: LockActionPhase,
    key: Option<KeyCredentialId>,
    error: Option<String>,
}

/// What both answers of lock-integration say.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct KeyOfAnswer {
    key_credential_id: KeyCredentialId,
}

impl Action {
    pub fn new(
        kind: LockActionKind,
        (lock, place): (LockDeviceId, Option<Place>),
        (clock, entropy): (&Clock, &Entropy),
    ) -> Self {
        Self { id: LockAuditId::generate(clock, entropy), kind, lock, place }
    }

    /// What an answer, or its absence, says of the effect.
    pub fn ending<T>(&self, called: &Result<Reply<T>, CallError>) -> Ending {
        match called {
            Ok(reply) => {
                let told = serde_json::from_slice::<KeyOfAnswer>(&reply.body);
                let key = told.ok().map(|told| told.key_credential_id);
                Ending { phase: LockActionPhase::Success, key, error: None }
            }
            Err(error) => {
                let is_open = self.place.is_some() && leaves_it_open(error);
                let phase =
                    if is_open { LockActionPhase::Unknown } else { LockActionPhase::Failure };
                Ending { phase, key: None, error: Some(error.to_string()) }
            }
        }
    }

    /// Before lock-integration is called, in the transaction of the claim; unless nothing may be.
    pub async fn note_request(
        &self,
        transaction: &Transaction<'_>,
        (request, deed): (&Request, &Deed),
        clock: &Clock,
    ) -> ApiResult<()> {
        if freeze::is_frozen(transaction).await.map_err(unavailable)? {
            return Err(freeze::frozen());
        }
        let row = self.row(request, deed, (self.id, LockActionPhase::Requested));
        ledger::append(transaction, row, clock.now()).await.map_err(unavailable)
    }

    /// After it was called, in the transaction that settles the claim.
    pub async fn note_ending(
        &self,
        transaction: &Transaction<'_>,
        (request, deed): (&Request, &Deed),
        ending: &Ending,
        (clock, entropy): (&Clock, &Entropy),
    ) -> Result<(), StoreError> {
        let id = LockAuditId::generate(clock, entropy);
        let mut row = self.row(request, deed, (id, ending.phase));
        if let Some(key) = ending.key {
            row.detail["keyCredentialId"] = key.as_str().into();
        }
        if let Some(error) = &ending.error {
            row.detail["error"] = error.as_str().into();
        }
        ledger::append(transaction, row, clock.now()).await
    }

    /// Counted whether or not the ledger took it.
    pub fn count(&self, ending: &Ending) {
        let vendor = self.place.as_ref().map_or("unknown", |place| &place.vendor);
        count(ending.phase, vendor);
    }

    fn row(
        &self,
        request: &Request,
        deed: &Deed,
        (id, phase): (LockAuditId, LockActionPhase),
    ) -> Row {
        let principal = &request.principal;
        let detail = self.place.as_ref().map(|place| json!({"vendor": place.vendor}));
        Row {
            id: id.to_string(),
            action_id: self.id.to_string(),
            action: self.kind.name().to_owned(),
            phase: phase.name().to_owned(),
            property: self.place.as_ref().map(|place| place.property.to_string()),
            lock: self.lock.to_string(),
            operator: principal.operator.to_string(),
            device: principal.device.to_string(),
            roles: principal.roles.iter().map(|role| role.name().to_owned()).collect(),
            session: Some(deed.session.to_string()),
            request: request.context.id.to_string(),
            trace: Some(request.context.trace_id.clone()),
            key: request.slot.key.as_str().to_owned(),
            body_digest: request.body_digest().to_vec(),
            attestation: deed.second_factor.map(|factor| factor.attestation().to_string()),
            detail: detail.unwrap_or_else(|| json!({})),
        }
    }
}

pub(crate) fn count(phase: LockActionPhase, vendor: &str) {
    counter!(
        "bff_backoffice_lock_action_total",
        "outcome" => phase.name(), "vendor" => vendor.to_owned()
    )
    .increment(1);
}

/// Whether lock-integration may have done it all the same. A refusal and an error of its own are
/// its word that it did not (seed F-10); a request that never left cannot have been carried out.
fn leaves_it_open(error: &CallError) -> bool {
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
    fn only_what_may_have_happened_is_left_open() {
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
            assert_eq!(leaves_it_open(&error), is_open, "{error}");
        }
    }
}
