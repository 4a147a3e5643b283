//! `POST /api/v1/housekeeping/rooms/{id}/status`: a supervisor flips a room by hand, with a reason.
//!
//! The new status, its audit row and its event are one transaction. Two flips of a room at once:
//! the second finds another version than it read, and is told so.

use axum::extract::State;
use axum::response::Response;
use contracts::event::{CloudEvent, RetentionClass};
use contracts::id::{EventId, Id, RoomId};
use contracts::problem::{Problem, code};
use contracts::text::Reason;
use contracts::upstream::housekeeping::{FlipRoomStatus, RoomStatus};
use http::HeaderMap;
use jiff::Timestamp;
use serde_json::json;
use service_kit::caller::Caller;
use service_kit::etag;
use service_kit::extract::{Json, Path};
use service_kit::postgres::{self, StoreError, Transaction};
use service_kit::problem::{ApiError, ApiResult};
use service_kit::request::RequestContext;
use service_kit::service::{Shared, WriteProblems};

use crate::room_status::{Room, answer, tag};
use crate::supervisor::Supervisor;

#[cfg(test)]
mod tests;

const CHANGED: &str = "melmastoon.housekeeping.room_status.changed.v1";

/// Sets the room's status by hand.
#[utoipa::path(
    post,
    path = "/api/v1/housekeeping/rooms/{id}/status",
    operation_id = "flipRoomStatus",
    params(
        ("id" = String, Path, description = "The room.", pattern = "^rom_[0-7][0-9A-HJKMNP-TV-Z]{25}$"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` that was read; another version is 409."),
    ),
    request_body = FlipRoomStatus,
    responses(
        (status = 200, description = "The room's status as it is now.",
            body = contracts::upstream::housekeeping::OneRoomStatus,
            headers(("ETag" = String, description = "`\"v=<version>\"`."))),
        (status = 422, description = "The room cannot take that status from the one it has.",
            content_type = "application/problem+json", body = Problem),
        WriteProblems,
    ),
    security(("requestToken" = [])),
)]
pub(crate) async fn handler(
    State(shared): State<Shared>,
    Supervisor(caller): Supervisor,
    axum::Extension(context): axum::Extension<RequestContext>,
    Path(room): Path<RoomId>,
    headers: HeaderMap,
    Json(wish): Json<FlipRoomStatus>,
) -> ApiResult<Response> {
    check_reason(&wish.reason)?;
    let mut connection = shared.database.connection().await?;
    let transaction = postgres::write(&mut connection, caller.0.tenant).await?;
    let found = Room::find(&transaction, room).await?.ok_or_else(ApiError::not_found)?;
    // After the read: only a property of the caller's own tenant may be told from an unknown one.
    caller.require(found.property)?;
    check_version(&headers, found.version)?;
    check_flip(found.status, wish.status)?;
    let flip = Flip { room, found, wish, caller, context, at: shared.clock.now() };
    let flipped = flip.write(&transaction, &shared).await?;
    transaction.commit().await?;
    Ok(answer(room, &flipped))
}

/// A reason of blanks is none.
fn check_reason(reason: &Reason) -> Result<(), ApiError> {
    if !reason.as_str().trim().is_empty() {
        return Ok(());
    }
    Err(ApiError::field("body.reason", "INVALID", "Give a reason of 1 to 200 characters."))
}

/// `*` and a list are taken as RFC 9110 section 13.1.1 has them.
fn check_version(headers: &HeaderMap, version: u32) -> Result<(), ApiError> {
    if etag::may_change(headers, &tag(version)) { Ok(()) } else { Err(changed_meanwhile()) }
}

fn changed_meanwhile() -> ApiError {
    ApiError::new(
        &code::OCC_CONFLICT,
        "The room's status changed since you read it. Read it again and decide anew.",
    )
}

fn check_flip(from: RoomStatus, to: RoomStatus) -> Result<(), ApiError> {
    if may_flip(from, to) {
        return Ok(());
    }
    Err(ApiError::new(
        &code::ROOM_STATE_CONFLICT,
        format!(
            "A room that is {} cannot become {}. Choose a status that follows it.",
            from.name(),
            to.name()
        ),
    ))
}

/// What may follow what by hand. Cleaning goes forward one step at a time, so that nobody vouches
/// for what was not done; from anywhere a room may be found dirty or be closed. What was closed is
/// dirty until it was cleaned.
fn may_flip(from: RoomStatus, to: RoomStatus) -> bool {
    use RoomStatus::{Clean, Cleaning, Dirty, Inspected, OutOfOrder, OutOfService, Ready};
    let is_next_step = matches!(
        (from, to),
        (Dirty, Cleaning) | (Cleaning, Clean) | (Clean, Inspected) | (Inspected, Ready)
    );
    is_next_step || (from != to && matches!(to, Dirty | OutOfOrder | OutOfService))
}

/// One flip that was found legal.
struct Flip {
    room: RoomId,
    found: Room,
    wish: FlipRoomStatus,
    caller: Caller,
    context: RequestContext,
    at: Timestamp,
}

/// $5 is the version that was read. Without a row the first touch makes it; no row comes back when
/// somebody was faster.
pub(crate) const FLIP: &str = "
    INSERT INTO housekeeping.room_status AS state
        (tenant_id, room_id, property_id, status, since, version)
    VALUES (housekeeping.current_tenant_id(), $1, $2, $3, $4, 1)
    ON CONFLICT (tenant_id, room_id) DO UPDATE
        SET status = excluded.status, since = excluded.since, version = state.version + 1
        WHERE state.version = $5::integer
    RETURNING state.version";

pub(crate) const AUDIT: &str = "
    INSERT INTO housekeeping.room_status_audit
        (tenant_id, room_id, property_id, from_status, to_status, reason, actor_type, actor_id, occurred_at)
    VALUES (housekeeping.current_tenant_id(), $1, $2, $3, $4, $5, 'user', $6, $7)";

pub(crate) const TELL: &str = "
    INSERT INTO housekeeping.outbox
        (tenant_id, event_id, event_type, ordering_key, event, occurred_at, next_attempt_at)
    VALUES (housekeeping.current_tenant_id(), $1, $2, $3, $4, $5, $5)";

impl Flip {
    /// The room as it is then.
    async fn write(self, transaction: &Transaction<'_>, shared: &Shared) -> ApiResult<Room> {
        let version = self.flip(transaction).await?.ok_or_else(changed_meanwhile)?;
        self.audit(transaction).await?;
        self.tell(transaction, shared).await?;
        Ok(Room { status: self.wish.status, since: self.at, version, touched: true, ..self.found })
    }

    async fn flip(&self, transaction: &Transaction<'_>) -> Result<Option<u32>, StoreError> {
        let (room, property) = (self.room.as_str(), self.found.property.as_str());
        let (status, read) = (self.wish.status.name(), self.found.version.cast_signed());
        let statement = transaction.prepare_cached(FLIP).await?;
        let row = transaction
            .query_opt(&statement, &[&room, &property, &status, &self.at, &read])
            .await?;
        row.map(|row| service_kit::row::count(&row, "version")).transpose()
    }

    async fn audit(&self, transaction: &Transaction<'_>) -> Result<(), StoreError> {
        let (room, property) = (self.room.as_str(), self.found.property.as_str());
        // The first touch has no status before it.
        let from = self.found.touched.then(|| self.found.status.name());
        let (to, operator) = (self.wish.status.name(), self.caller.0.operator.as_str());
        let statement = transaction.prepare_cached(AUDIT).await?;
        let values: [&(dyn tokio_postgres::types::ToSql + Sync); 7] =
            [&room, &property, &from, &to, &self.wish.reason.as_str(), &operator, &self.at];
        transaction.execute(&statement, &values).await?;
        Ok(())
    }

    async fn tell(&self, transaction: &Transaction<'_>, shared: &Shared) -> ApiResult<()> {
        let event = self.event(EventId::generate(&shared.clock, &shared.entropy));
        let whole = serde_json::to_value(&event).expect("an event is plain JSON");
        let statement = transaction.prepare_cached(TELL).await?;
        let (id, kind) = (event.id.as_str(), event.kind.as_str());
        transaction
            .execute(&statement, &[&id, &kind, &event.orderingkey, &whole, &self.at])
            .await?;
        Ok(())
    }

    fn event(&self, id: EventId) -> CloudEvent {
        let (caller, room) = (&self.caller.0, self.room);
        CloudEvent {
            specversion: "1.0".to_owned(),
            id,
            source: "/services/housekeeping-service".to_owned(),
            kind: CHANGED.to_owned(),
            subject: room.to_string(),
            time: self.at,
            datacontenttype: "application/json".to_owned(),
            dataschema: None,
            tenantid: caller.tenant,
            propertyid: Some(self.found.property),
            orderingkey: format!("{}:{room}", caller.tenant),
            correlationid: self.context.id.to_string(),
            causationid: None,
            traceparent: Some(self.context.traceparent()),
            actortype: "user".to_owned(),
            actorid: caller.operator.to_string(),
            retentionclass: RetentionClass::Operational,
            data: json!({
                "roomId": room, "propertyId": self.found.property,
                "from": self.found.status.name(), "to": self.wish.status.name(),
                "reason": self.wish.reason, "manual": true,
            }),
        }
    }
}
