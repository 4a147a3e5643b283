//! Emergency override of the rules file: two platform operators approve it, and every instance
//! applies it within seconds. The newest approved override is active until an empty one restores the
//! file.
//!
//! Not here: what rules mean ([`crate::firewall`]) and the approval itself
//! ([`crate::admin::two_person`]).

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use auth::oidc::ServiceAccount;
use contracts::clock::Clock;
use contracts::id::RequestId;
use contracts::text::Reason;
use metrics::gauge;
use redis::aio::ConnectionManager;
use serde::Serialize;
use service_kit::background::{BackgroundTask, TaskDriver};
use service_kit::postgres::{Database, StoreError, read_again};
use service_kit::problem::chain;
use tokio::sync::Mutex;

use crate::admin::two_person::{ApprovalError, ApprovalRequest, Content, TwoPersonAction};
use crate::background::change_notifier::{ChangeNotifier, Position};
use crate::firewall::{Firewall, Source, file};

pub(crate) mod store;

use store::RuleOverride;

/// Redis channel.
const CHANNEL: &str = "bff:edge-rules";
const OVERRIDE: TwoPersonAction = TwoPersonAction {
    name: "edge-rules",
    requests: "bff.edge_rule_requests",
    approvals: "bff.edge_rules",
    content: Some(Content { name: "rules", validate }),
    repeat: "to apply the rules again",
};

/// Returns a sentence for the operator if the rules are invalid.
pub(crate) fn validate(rules: &str) -> Result<(), String> {
    file::parse(rules).map(drop).map_err(|error| format!("The rules are invalid: {error}"))
}

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
    /// The newest override that this instance applied, or tried to. Changed by polls only.
    current: ArcSwapOption<RuleOverride>,
    /// Held during a poll.
    polling: Mutex<()>,
}

/// The active rules of this instance.
#[derive(Debug, Serialize)]
pub struct RulesInForce {
    source: Source,
    rules: Arc<str>,
    /// The newest approved override, also one that restored the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    order: Option<Arc<RuleOverride>>,
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
            current: ArcSwapOption::empty(),
            polling: Mutex::default(),
        }))
    }

    /// Applies overrides until shutdown.
    pub fn follow(&self, listener: redis::Client, driver: &TaskDriver) {
        self.0.notifier.start("follow-rule-overrides", self.clone(), listener, driver);
    }

    /// Applies the newest override if it has changed. If this version cannot parse its rules, the
    /// old ones stay active and an error is logged.
    pub async fn poll(&self) -> Result<Position, StoreError> {
        let _polling = self.0.polling.lock().await;
        let newest = read_again(|| store::newest(&self.0.database)).await?;
        let reached = position(newest.as_ref());
        if reached == position(self.0.current.load().as_deref()) {
            return Ok(reached);
        }
        match newest.as_ref().map(RuleOverride::rules).transpose() {
            Ok(rules) => self.apply(rules.flatten(), newest.as_ref()),
            Err(error) => {
                tracing::error!(%error, "The rule override is invalid; keeping the active rules.");
            }
        }
        self.0.current.store(newest.map(Arc::new));
        Ok(reached)
    }

    fn apply(&self, rules: Option<file::Rules>, newest: Option<&RuleOverride>) {
        let (id, approved_by) =
            newest.map(|newest| (newest.id.as_str(), newest.approved_by.as_str())).unzip();
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
    ) -> Result<ApprovalRequest, ApprovalError> {
        let mut request = ApprovalRequest::new(id, by, reason, self.0.clock.now());
        request.content = Some(rules);
        OVERRIDE.request(&self.0.database, request).await
    }

    /// Approves a request: active here at once, on other instances within seconds.
    pub async fn approve(&self, id: RequestId, by: &ServiceAccount) -> Result<(), ApprovalError> {
        OVERRIDE.approve(&self.0.database, id, by, self.0.clock.now()).await?;
        if let Err(error) = self.poll().await {
            tracing::warn!(error = %chain(&error), "Failed to apply a rule override here; the next poll does.");
        }
        self.0.notifier.notify().await;
        Ok(())
    }

    /// Returns at once, also during a poll.
    pub fn in_force(&self) -> RulesInForce {
        let (source, rules) = self.0.rules.active();
        RulesInForce { source, rules, order: self.0.current.load_full() }
    }
}

impl BackgroundTask for RuleOverrides {
    type Status = Position;
    type Error = StoreError;

    async fn activate(&mut self) -> Result<Position, StoreError> {
        self.poll().await
    }
}

fn position(newest: Option<&RuleOverride>) -> Position {
    Position { sequence: newest.map_or(0, |newest| newest.sequence) }
}
