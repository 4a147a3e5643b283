//! `POST /internal/events`: consumes platform events in the Pub/Sub push format.
//!
//! Each event is consumed once: its row in `bff.inbox` and its changes are one transaction. Duplicates
//! and unknown types are acknowledged; a failed event is delivered again. An event also invalidates
//! the cached reads it outdates. Internal listener only, behind its check of service accounts.

use std::time::Duration;

use axum::extract::State;
use composer::Composer;
use composer::event_routing::upstream_of_event;
use contracts::env::Env;
use contracts::text::Reason;
use contracts::upstream::iam::{SESSION_REVOKED, SessionRevoked};
use contracts::upstream::tenant::{TENANT_REACTIVATED, TENANT_SUSPENDED};
use http::StatusCode;
use jiff::Timestamp;
use metrics::counter;
use service_kit::postgres::{Database, StoreError, Transaction, write};
use service_kit::problem::{ApiError, ApiResult};
use service_kit::pubsub_push::{Event, Push};

use super::sessions::target_problem;
use crate::problems::unavailable;
use crate::sessions::revocation::store::{self, NewRevocation};
use crate::sessions::revocation::{Feed, Target};
use crate::sessions::tenant_status::{self, TenantStatus, TenantStatuses};

/// How far iam's clock may be ahead of this one.
const MAX_CLOCK_SKEW: Duration = Duration::from_secs(60);

/// Change that an event makes.
enum Change {
    Revocation(NewRevocation),
    /// With its reason.
    TenantStatus(TenantStatus, Reason),
}

/// Consumes an event and acknowledges it with 204.
pub(crate) async fn receive_event(
    State(feed): State<Feed>,
    State(tenant_statuses): State<TenantStatuses>,
    State(database): State<Database>,
    State(env): State<Env>,
    State(composer): State<Composer>,
    push: Push,
) -> ApiResult<StatusCode> {
    let event = push.event()?;
    let outcome = match change(&event, env.now())? {
        None => invalidate(&composer, &event),
        Some(change) => {
            let consumed = consume(&database, &event, &change, env.now()).await;
            let is_new = consumed.map_err(unavailable)?;
            if is_new {
                change.publish(&feed, &tenant_statuses).await;
            }
            if is_new { "consumed" } else { "duplicate" }
        }
    };
    counter!("bff_backoffice_event_consumed_total", "outcome" => outcome).increment(1);
    Ok(StatusCode::NO_CONTENT)
}

/// Invalidates cached reads that the event outdates. Idempotent, so no inbox row is written.
fn invalidate(composer: &Composer, event: &Event) -> &'static str {
    let Some(upstream) = upstream_of_event(&event.kind) else { return "ignored" };
    composer.snapshots().invalidate(event.tenantid, event.property(), upstream);
    "outdated"
}

/// Returns the change; `None` for types that are not stored.
fn change(event: &Event, now: Timestamp) -> Result<Option<Change>, ApiError> {
    Ok(match event.kind.as_str() {
        SESSION_REVOKED => Some(Change::Revocation(revocation(event, now)?)),
        TENANT_SUSPENDED => Some(tenant_status_change(event, true, now)?),
        TENANT_REACTIVATED => Some(tenant_status_change(event, false, now)?),
        _ => None,
    })
}

impl Change {
    async fn write(
        &self,
        transaction: &Transaction<'_>,
        event: &Event,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        match self {
            Self::Revocation(revocation) => {
                store::insert(transaction, revocation, now).await.map(drop)
            }
            Self::TenantStatus(status, reason) => {
                tenant_status::store::insert(transaction, status, event.id, reason.as_str(), now)
                    .await
            }
        }
    }

    /// Applies the change here and notifies other instances. Call it after the commit.
    async fn publish(&self, feed: &Feed, tenant_statuses: &TenantStatuses) {
        match self {
            Self::Revocation(revocation) => feed.publish(revocation).await,
            Self::TenantStatus(..) => tenant_statuses.announce().await,
        }
    }
}

/// Builds the revocation. Its instant is by iam's clock, which also dates the tokens.
fn revocation(event: &Event, now: Timestamp) -> Result<NewRevocation, ApiError> {
    let data: SessionRevoked = event.data(&["kind", "id"])?;
    let target = Target::parse(event.tenantid, &data.kind, &data.id);
    Ok(NewRevocation {
        tenant: event.tenantid,
        target: target.map_err(|error| target_problem("event.data", error))?,
        revoked_at: (*event.time).min(now + MAX_CLOCK_SKEW),
        reason: reason(event),
        cause: event.id.to_string(),
    })
}

/// Reads the reason of an event, made to fit: the event is applied whatever its reason is, also none.
fn reason(event: &Event) -> Reason {
    Reason::fitted(&event.text("data.reason").unwrap_or_default(), "No reason was given.")
}

/// Builds the tenant status. Its instant is by tenant-service's clock, because events can arrive
/// out of order.
fn tenant_status_change(
    event: &Event,
    suspended: bool,
    now: Timestamp,
) -> Result<Change, ApiError> {
    if event.text("subject").as_deref() != Some(event.tenantid.as_str()) {
        let detail = "The subject of a tenant's event is the tenant itself.";
        return Err(ApiError::field("event.subject", "INVALID", detail));
    }
    let stated_at = tenant_status::limit_clock_skew(*event.time, now);
    let status = TenantStatus { tenant: event.tenantid, suspended, stated_at };
    Ok(Change::TenantStatus(status, reason(event)))
}

/// False when the event was consumed before.
async fn consume(
    database: &Database,
    event: &Event,
    change: &Change,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let mut connection = database.connection().await?;
    let transaction = write(&mut connection, event.tenantid).await?;
    if !receive(&transaction, event, now).await? {
        return Ok(false);
    }
    change.write(&transaction, event, now).await?;
    transaction.commit().await?;
    Ok(true)
}

const RECEIVE_SQL: &str = "
    INSERT INTO bff.inbox (tenant_id, event_type, event_id, received_at, processed_at, attempts)
    VALUES ($1, $2, $3, $4, $4, 1) ON CONFLICT DO NOTHING";

/// Notes the event; false when it was noted before. Two deliveries at once: the second waits.
async fn receive(
    transaction: &Transaction<'_>,
    event: &Event,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let (tenant, id) = (event.tenantid.as_str(), event.id.as_str());
    let rows = transaction.execute(RECEIVE_SQL, &[&tenant, &event.kind, &id, &now]).await?;
    Ok(rows == 1)
}
