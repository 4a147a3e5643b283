//! `POST /internal/events`: what the platform tells the gateway, in the Pub/Sub push form.
//!
//! Each event is consumed once: its row in `bff.inbox` and what it changes are one transaction.
//! A duplicate and a kind nobody here waits for are acknowledged; anything else that fails is
//! delivered again. What an event of a service makes old is read anew. On the internal listener alone,
//! behind its check of service identities.

use std::time::Duration;

use axum::extract::State;
use composer::Composer;
use composer::event_routing::upstream_of_event;
use contracts::env::Env;
use contracts::event::CloudEvent;
use contracts::json;
use contracts::text::Reason;
use contracts::upstream::iam::{SESSION_REVOKED, SessionRevoked};
use contracts::upstream::tenant::{TENANT_REACTIVATED, TENANT_SUSPENDED, TenantStatusChanged};
use http::StatusCode;
use jiff::Timestamp;
use metrics::counter;
use serde::de::DeserializeOwned;
use service_kit::extract::{Json, refused};
use service_kit::postgres::{Database, StoreError, Transaction, write};
use service_kit::problem::{ApiError, ApiResult};
use service_kit::pubsub_push::Push;

use super::sessions::target;
use crate::problems::unavailable;
use crate::sessions::revocation::Feed;
use crate::sessions::revocation::store::{self, Order};
use crate::sessions::tenant_status::{self, Standings, Statement};

/// How far iam's clock may be ahead of ours.
const SKEW: Duration = Duration::from_secs(60);

/// What an event changes here.
enum Change {
    Revocation(Order),
    /// With its reason.
    Standing(Statement, Reason),
}

/// Acknowledges with 204.
pub async fn take_event(
    State(feed): State<Feed>,
    State(standings): State<Standings>,
    State(database): State<Database>,
    State(env): State<Env>,
    State(composer): State<Composer>,
    Json(push): Json<Push>,
) -> ApiResult<StatusCode> {
    let event = push.event()?;
    let outcome = match change(&event, env.now())? {
        None => outdate(&composer, &event),
        Some(change) => {
            let consumed = consume(&database, &event, &change, env.now()).await;
            let is_new = consumed.map_err(unavailable)?;
            if is_new {
                change.carry_out(&feed, &standings).await;
            }
            if is_new { "consumed" } else { "duplicate" }
        }
    };
    counter!("bff_backoffice_event_consumed_total", "outcome" => outcome).increment(1);
    Ok(StatusCode::NO_CONTENT)
}

/// What was read before the event is not fresh any more. Twice does no harm, so nothing is noted.
fn outdate(composer: &Composer, event: &CloudEvent) -> &'static str {
    let Some(upstream) = upstream_of_event(&event.kind) else { return "ignored" };
    composer.snapshots().invalidate(event.tenantid, event.propertyid, upstream);
    "outdated"
}

/// None for kinds that nobody here writes down.
fn change(event: &CloudEvent, now: Timestamp) -> Result<Option<Change>, ApiError> {
    Ok(match event.kind.as_str() {
        SESSION_REVOKED => Some(Change::Revocation(order(event, now)?)),
        TENANT_SUSPENDED => Some(standing(event, true, now)?),
        TENANT_REACTIVATED => Some(standing(event, false, now)?),
        _ => None,
    })
}

impl Change {
    async fn write(
        &self,
        transaction: &Transaction<'_>,
        event: &CloudEvent,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        match self {
            Self::Revocation(order) => store::insert(transaction, order, now).await.map(drop),
            Self::Standing(statement, reason) => {
                tenant_status::store::insert(
                    transaction,
                    statement,
                    (event.id, reason.as_str()),
                    now,
                )
                .await
            }
        }
    }

    /// After the commit.
    async fn carry_out(&self, feed: &Feed, standings: &Standings) {
        match self {
            Self::Revocation(order) => feed.carry_out(order).await,
            Self::Standing(..) => standings.announce().await,
        }
    }
}

fn data<T: DeserializeOwned>(event: &CloudEvent) -> ApiResult<T> {
    json::from_value(&event.data).map_err(|error| refused("event.data", &error))
}

/// What iam revoked. iam's own clock says up to when, because it dates the tokens too.
fn order(event: &CloudEvent, now: Timestamp) -> Result<Order, ApiError> {
    let data: SessionRevoked = data(event)?;
    Ok(Order {
        tenant: event.tenantid,
        target: target("event.data", event.tenantid, (&data.kind, &data.id))?,
        revoked_at: event.time.min(now + SKEW),
        reason: reason(&data.reason),
        cause: event.id.to_string(),
    })
}

/// The reason of an event, made to fit: what it says must be done whatever its reason looks like.
fn reason(given: &str) -> Reason {
    Reason::fitted(given, "No reason was given.")
}

/// What tenant-service said of the tenant. Its own clock says when, because statements overtake
/// one another.
fn standing(event: &CloudEvent, suspended: bool, now: Timestamp) -> Result<Change, ApiError> {
    let data: TenantStatusChanged = data(event)?;
    if event.subject != event.tenantid.as_str() {
        let detail = "The subject of a tenant's event is the tenant itself.";
        return Err(ApiError::field("event.subject", "INVALID", detail));
    }
    let stated_at = tenant_status::not_ahead(event.time, now);
    let statement = Statement { tenant: event.tenantid, suspended, stated_at };
    Ok(Change::Standing(statement, reason(&data.reason)))
}

/// False when the event was consumed before.
async fn consume(
    database: &Database,
    event: &CloudEvent,
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

const RECEIVE: &str = "
    INSERT INTO bff.inbox (tenant_id, event_type, event_id, received_at, processed_at, attempts)
    VALUES ($1, $2, $3, $4, $4, 1) ON CONFLICT DO NOTHING";

/// Notes the event; false when it was noted before. Two deliveries at once: the second waits.
async fn receive(
    transaction: &Transaction<'_>,
    event: &CloudEvent,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let statement = transaction.prepare_cached(RECEIVE).await?;
    let (tenant, id) = (event.tenantid.as_str(), event.id.as_str());
    let rows = transaction.execute(&statement, &[&tenant, &event.kind, &id, &now]).await?;
    Ok(rows == 1)
}
