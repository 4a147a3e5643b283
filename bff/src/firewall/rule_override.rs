//! Edge rules that people of the platform order in a hurry, past the file: one asks, another
//! approves within ten minutes, and every instance takes them within seconds. The newest that was
//! approved holds until an empty one gives way to the file again.
//!
//! Not here: what rules mean ([`crate::firewall`]) and who may order ([`crate::http::internal_router`]).

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
use crate::background::change_notifier::Bell;
use crate::firewall::file::{self, RulesError};
use crate::firewall::{EdgeRules, Source};

pub mod store;

use store::{Approval, Order, Request};

/// Its name in the session tier.
const BELL: &str = "bff:edge-rules";
const ACTION: &str = "edge-rules";
/// How long a request waits for its second person.
pub const WAITS: SignedDuration = SignedDuration::from_mins(10);

/// The orders, and the rules they change.
#[derive(Debug, Clone)]
pub struct Orders(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    rules: Arc<EdgeRules>,
    /// Requests of desks never crowd it out.
    database: Database,
    bell: Bell,
    clock: Clock,
    /// The order this instance has taken, or tried to.
    taken: tokio::sync::Mutex<Option<Order>>,
}

/// What is in force on this instance.
#[derive(Debug)]
pub struct InForce {
    pub source: Source,
    pub text: Arc<str>,
    /// The newest approved order, if any.
    pub order: Option<Order>,
}

/// Why an order was not taken.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    #[error(transparent)]
    Rules(#[from] RulesError),
    #[error("A request with this X-Request-Id exists. Send another id.")]
    Exists,
    #[error("There is no such request. Check the id.")]
    Unknown,
    #[error("Who asked for it may not approve it. Ask somebody else of the platform.")]
    SamePerson,
    #[error("The request is older than ten minutes. Ask for it again.")]
    Expired,
    #[error("The request was approved before. Ask for it anew if it should hold again.")]
    Approved,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Orders {
    /// `database` should be a pool of its own.
    pub fn new(
        rules: Arc<EdgeRules>,
        database: Database,
        tier: ConnectionManager,
        clock: Clock,
    ) -> Self {
        let bell = Bell::new(BELL, tier);
        Self(Arc::new(Inner { rules, database, bell, clock, taken: tokio::sync::Mutex::default() }))
    }

    /// Takes what is ordered, until the program stops.
    pub fn follow(&self, listener: redis::Client, lifecycle: &Lifecycle) {
        let orders = self.clone();
        self.0.bell.follow(listener, lifecycle, move || {
            let orders = orders.clone();
            async move { orders.catch_up_or_say_so().await }
        });
    }

    async fn catch_up_or_say_so(&self) {
        if let Err(error) = self.catch_up().await {
            tracing::warn!(error = %chain(&error), "Ordered edge rules were not read; those in force stay.");
        }
    }

    /// Reads the newest order and takes it when it is another than before. One whose rules this
    /// version cannot read leaves the old ones in force, and says so.
    pub async fn catch_up(&self) -> Result<(), StoreError> {
        let mut taken = self.0.taken.lock().await;
        let newest = read_again(|| store::newest(&self.0.database)).await?;
        if newest.as_ref().map(|order| order.sequence) == taken.as_ref().map(|order| order.sequence)
        {
            return Ok(());
        }
        match newest.as_ref().map(Order::rules).transpose() {
            Ok(rules) => self.take(rules.flatten(), newest.as_ref()),
            Err(error) => {
                tracing::error!(%error, "Ordered edge rules were not taken; the old ones stay in force.");
            }
        }
        *taken = newest;
        Ok(())
    }

    fn take(&self, rules: Option<file::Rules>, order: Option<&Order>) {
        let (id, approved_by) = order
            .map(|order| (order.request.id.as_str(), order.approval.by.email.as_str()))
            .unzip();
        tracing::warn!(
            id,
            approved_by,
            is_file = rules.is_none(),
            "An order of edge rules is in force."
        );
        gauge!("bff_backoffice_edge_rules_ordered").set(f64::from(u8::from(rules.is_some())));
        self.0.rules.take_order(rules);
    }

    /// Writes the request down; it waits for its second person.
    pub async fn request(
        &self,
        id: RequestId,
        by: ServiceAccount,
        rules: String,
        reason: Reason,
    ) -> Result<Request, OrderError> {
        file::parse(&rules)?;
        let now = self.0.clock.now();
        let reason = reason.into();
        let request = Request { id, rules, reason, by, requested_at: now, expires_at: now + WAITS };
        let mut connection = self.0.database.connection().await?;
        let transaction = write(&mut connection, TenantId::platform()).await?;
        if !store::request(&transaction, &request).await? {
            return Err(OrderError::Exists);
        }
        audit(&transaction, &request, &request.by, Step::Requested, now).await?;
        transaction.commit().await?;
        Ok(request)
    }

    /// Puts the request into force, here at once and elsewhere within seconds.
    pub async fn approve(&self, id: RequestId, by: ServiceAccount) -> Result<(), OrderError> {
        let now = self.0.clock.now();
        let mut connection = self.0.database.connection().await?;
        let transaction = write(&mut connection, TenantId::platform()).await?;
        let request = store::find(&transaction, id).await?.ok_or(OrderError::Unknown)?;
        // Judged again: this version may not be the one that took the request.
        file::parse(&request.rules)?;
        let outcome = match judge(&request, &by, now) {
            Ok(()) => {
                let approval = Approval { by: by.clone(), at: now };
                let is_first = store::approve(&transaction, &request, &approval).await?;
                if is_first { Ok(()) } else { Err(OrderError::Approved) }
            }
            refused => refused,
        };
        let step = if outcome.is_ok() { Step::Approved } else { Step::Refused };
        audit(&transaction, &request, &by, step, now).await?;
        transaction.commit().await?;
        drop(connection);
        outcome?;
        self.catch_up_or_say_so().await;
        self.0.bell.ring().await;
        Ok(())
    }

    pub async fn in_force(&self) -> InForce {
        let (source, text) = self.0.rules.told();
        InForce { source, text, order: self.0.taken.lock().await.clone() }
    }
}

/// Two people within the time; the table's constraints ask the same.
fn judge(request: &Request, by: &ServiceAccount, now: Timestamp) -> Result<(), OrderError> {
    if request.by.email == by.email || request.by.subject == by.subject {
        return Err(OrderError::SamePerson);
    }
    if now >= request.expires_at { Err(OrderError::Expired) } else { Ok(()) }
}

async fn audit(
    transaction: &service_kit::postgres::Transaction<'_>,
    request: &Request,
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
