//! Emergency override of the rules file: one platform operator requests it, another approves it
//! within ten minutes, and every instance applies it within seconds. The newest approved override
//! is active until an empty one restores the file.
//!
//! Not here: what rules mean ([`crate::firewall`]) and who may override them
//! ([`crate::http::internal_router`]).

use std::sync::Arc;

use auth::oidc::ServiceAccount;
use contracts::clock::Clock;
use contracts::id::{RequestId, TenantId};
use contracts::text::Reason;
use jiff::{SignedDuration, Timestamp};
use metrics::{counter, gauge};
use redis::aio::ConnectionManager;
use service_kit::lifecycle::Lifecycle;
use service_kit::postgres::{Database, StoreError, read_again, write};
use service_kit::problem::chain;
use sha2::{Digest, Sha256};

use crate::admin::audit::{self, Entry, Step};
use crate::background::change_notifier::ChangeNotifier;
use crate::firewall::file::{self, RulesError};
use crate::firewall::{Firewall, Source};

pub mod store;

use store::{Approval, ApprovalRequest, RuleOverride};

/// Redis channel.
const CHANNEL: &str = "bff:edge-rules";
const ACTION: &str = "edge-rules";
/// How long a request can be approved.
pub const APPROVAL_TTL: SignedDuration = SignedDuration::from_mins(10);

/// The overrides, and the firewall they change.
#[derive(Debug, Clone)]
pub struct RuleOverrides(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    rules: Arc<Firewall>,
    /// A separate pool, so that requests never delay it.
    database: Database,
    notifier: ChangeNotifier,
    clock: Clock,
    /// The newest override that this instance applied, or tried to.
    current: tokio::sync::Mutex<Option<RuleOverride>>,
}

/// The active rules of this instance.
#[derive(Debug)]
pub struct RulesInForce {
    pub source: Source,
    pub text: Arc<str>,
    /// The newest approved override, if any.
    pub rule_override: Option<RuleOverride>,
}

/// Why a request or approval failed.
#[derive(Debug, thiserror::Error)]
pub enum OverrideError {
    #[error(transparent)]
    Rules(#[from] RulesError),
    #[error("A request with this X-Request-Id already exists. Send another ID.")]
    Exists,
    #[error("The request was not found. Check the ID.")]
    Unknown,
    #[error("You cannot approve your own request. Ask another platform operator.")]
    SamePerson,
    #[error("The request has expired. Send a new one.")]
    Expired,
    #[error("The request was already approved. Send a new one to apply the rules again.")]
    Approved,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl RuleOverrides {
    /// `database` should be a pool that requests do not use.
    pub fn new(
        rules: Arc<Firewall>,
        database: Database,
        redis: ConnectionManager,
        clock: Clock,
    ) -> Self {
        let notifier = ChangeNotifier::new(CHANNEL, redis);
        Self(Arc::new(Inner {
            rules,
            database,
            notifier,
            clock,
            current: tokio::sync::Mutex::default(),
        }))
    }

    /// Applies overrides until shutdown.
    pub fn follow(&self, listener: redis::Client, lifecycle: &Lifecycle) {
        let overrides = self.clone();
        self.0.notifier.subscribe(listener, lifecycle, move || {
            let overrides = overrides.clone();
            async move { overrides.poll_logging_errors().await }
        });
    }

    async fn poll_logging_errors(&self) {
        if let Err(error) = self.poll().await {
            tracing::warn!(error = %chain(&error), "Failed to refresh the rule override; keeping the active rules.");
        }
    }

    /// Applies the newest override if it has changed. If this version cannot parse its rules, the
    /// old ones stay active and an error is logged.
    pub async fn poll(&self) -> Result<(), StoreError> {
        let mut current = self.0.current.lock().await;
        let newest = read_again(|| store::newest(&self.0.database)).await?;
        if newest.as_ref().map(|newest| newest.sequence)
            == current.as_ref().map(|newest| newest.sequence)
        {
            return Ok(());
        }
        match newest.as_ref().map(RuleOverride::rules).transpose() {
            Ok(rules) => self.apply(rules.flatten(), newest.as_ref()),
            Err(error) => {
                tracing::error!(%error, "The rule override is invalid; keeping the active rules.");
            }
        }
        *current = newest;
        Ok(())
    }

    fn apply(&self, rules: Option<file::Rules>, newest: Option<&RuleOverride>) {
        let (id, approved_by) = newest
            .map(|newest| (newest.request.id.as_str(), newest.approval.by.email.as_str()))
            .unzip();
        tracing::warn!(id, approved_by, is_file = rules.is_none(), "A rule override was applied.");
        gauge!("bff_backoffice_edge_rules_ordered").set(f64::from(u8::from(rules.is_some())));
        self.0.rules.set_override(rules);
    }

    /// Stores a request, which another operator must approve.
    pub async fn request(
        &self,
        id: RequestId,
        by: ServiceAccount,
        rules: String,
        reason: Reason,
    ) -> Result<ApprovalRequest, OverrideError> {
        file::parse(&rules)?;
        let now = self.0.clock.now();
        let reason = reason.into();
        let request = ApprovalRequest {
            id,
            rules,
            reason,
            by,
            requested_at: now,
            expires_at: now + APPROVAL_TTL,
        };
        let mut connection = self.0.database.connection().await?;
        let transaction = write(&mut connection, TenantId::platform()).await?;
        if !store::request(&transaction, &request).await? {
            return Err(OverrideError::Exists);
        }
        audit(&transaction, &request, &request.by, Step::Requested, now).await?;
        transaction.commit().await?;
        Ok(request)
    }

    /// Approves a request: active here at once, on other instances within seconds.
    pub async fn approve(&self, id: RequestId, by: ServiceAccount) -> Result<(), OverrideError> {
        let now = self.0.clock.now();
        let mut connection = self.0.database.connection().await?;
        let transaction = write(&mut connection, TenantId::platform()).await?;
        let request = store::find(&transaction, id).await?.ok_or(OverrideError::Unknown)?;
        // Validated again: another version may have accepted the request.
        file::parse(&request.rules)?;
        let outcome = match check_approval(&request, &by, now) {
            Ok(()) => {
                let approval = Approval { by: by.clone(), at: now };
                let is_first = store::approve(&transaction, &request, &approval).await?;
                if is_first { Ok(()) } else { Err(OverrideError::Approved) }
            }
            refused => refused,
        };
        let step = if outcome.is_ok() { Step::Approved } else { Step::Refused };
        audit(&transaction, &request, &by, step, now).await?;
        transaction.commit().await?;
        drop(connection);
        outcome?;
        self.poll_logging_errors().await;
        self.0.notifier.notify().await;
        Ok(())
    }

    pub async fn in_force(&self) -> RulesInForce {
        let (source, text) = self.0.rules.active();
        RulesInForce { source, text, rule_override: self.0.current.lock().await.clone() }
    }
}

/// Requires a different operator and an unexpired request; the table's constraints do too.
fn check_approval(
    request: &ApprovalRequest,
    by: &ServiceAccount,
    now: Timestamp,
) -> Result<(), OverrideError> {
    if request.by.email == by.email || request.by.subject == by.subject {
        return Err(OverrideError::SamePerson);
    }
    if now >= request.expires_at { Err(OverrideError::Expired) } else { Ok(()) }
}

async fn audit(
    transaction: &service_kit::postgres::Transaction<'_>,
    request: &ApprovalRequest,
    account: &ServiceAccount,
    step: Step,
    now: Timestamp,
) -> Result<(), StoreError> {
    let digest = Sha256::digest(&request.rules).into();
    let reason = &request.reason;
    let entry = Entry { action: ACTION, step, request: request.id, account, reason, digest };
    audit::write(transaction, &entry, now).await?;
    counter!("bff_backoffice_admin_action_total", "action" => ACTION, "step" => step.name())
        .increment(1);
    Ok(())
}
