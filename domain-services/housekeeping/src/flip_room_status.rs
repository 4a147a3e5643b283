//! `POST /api/v1/housekeeping/rooms/{id}/status`: a supervisor sets the status of a room, with a
//! reason.
//!
//! Status, audit row and event are written in one transaction. Of two concurrent flips the second is
//! refused, because the version has changed.

use axum::extract::State;
use axum::response::Response;
use contracts::event::{CloudEvent, RetentionClass};
use contracts::id::{EventId, Id, RoomId};
use contracts::problem::{Problem, code};
use contracts::upstream::housekeeping::{FlipRoomStatus, RoomStatus};
use http::HeaderMap;
use jiff::Timestamp;
use serde_json::json;
use service_kit::caller::Caller;
use service_kit::etag;
use service_kit::extract::{Json, Path};
use service_kit::postgres::{self, StoreError, Transaction, Values};
use service_kit::problem::{ApiError, ApiResult};
use service_kit::request::RequestContext;
use service_kit::service::Shared;

use crate::get_room_status::{Room, respond, tag};
use crate::supervisor::Supervisor;

#[cfg(test)]
mod tests;

const ROOM_STATUS_CHANGED: &str = "melmastoon.housekeeping.room_status.changed.v1";

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
    ),
)]
pub(crate) async fn handler(
    State(shared): State<Shared>,
    Supervisor(caller): Supervisor,
    axum::Extension(context): axum::Extension<RequestContext>,
    Path(room): Path<RoomId>,
    headers: HeaderMap,
    Json(request): Json<FlipRoomStatus>,
) -> ApiResult<Response> {
    let mut connection = shared.database.connection().await?;
    let transaction = postgres::write(&mut connection, caller.0.tenant).await?;
    let found = Room::find(&transaction, room).await?.ok_or_else(ApiError::not_found)?;
    // After the read, so that properties of other tenants look unknown.
    caller.require(found.property)?;
    check_version(&headers, found.version)?;
    check_flip(found.status, request.status)?;
    let flip = Flip { room, found, request, caller, context, at: shared.clock.now() };
    let flipped = flip.write(&transaction, &shared).await?;
    transaction.commit().await?;
    Ok(respond(room, &flipped))
}

/// Checks `If-Match` (RFC 9110 section 13.1.1).
fn check_version(headers: &HeaderMap, version: u32) -> Result<(), ApiError> {
    if etag::may_change(headers, &tag(version)) { Ok(()) } else { Err(changed_meanwhile()) }
}

fn changed_meanwhile() -> ApiError {
    ApiError::new(
        &code::OCC_CONFLICT,
        "The status of the room has changed since you read it. Read it again, then decide.",
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

/// Which status may follow which. Cleaning advances one step at a time; any room may become dirty or be
/// closed; a closed room becomes dirty first.
fn may_flip(from: RoomStatus, to: RoomStatus) -> bool {
    use RoomStatus::{Clean, Cleaning, Dirty, Inspected, OutOfOrder, OutOfService, Ready};
    let is_next_step = matches!(
        (from, to),
        (Dirty, Cleaning) | (Cleaning, Clean) | (Clean, Inspected) | (Inspected, Ready)
    );
    is_next_step || (from != to && matches!(to, Dirty | OutOfOrder | OutOfService))
}

/// A flip that passed all checks.
struct Flip {
    room: RoomId,
    found: Room,
    request: FlipRoomStatus,
    caller: Caller,
    context: RequestContext,
    at: Timestamp,
}

/// $5 is the version that was read. Inserts the first status; returns no row if the version has changed.
pub(crate) const FLIP_SQL: &str = "
    INSERT INTO housekeeping.room_status AS state
        (tenant_id, room_id, property_id, status, since, version)
    VALUES (housekeeping.current_tenant_id(), $1, $2, $3, $4, 1)
    ON CONFLICT (tenant_id, room_id) DO UPDATE
        SET status = excluded.status, since = excluded.since, version = state.version + 1
        WHERE state.version = $5::integer
    RETURNING state.version";

pub(crate) const INSERT_AUDIT_SQL: &str = "
    INSERT INTO housekeeping.room_status_audit
        (tenant_id, room_id, property_id, from_status, to_status, reason, actor_type, actor_id, occurred_at)
    VALUES (housekeeping.current_tenant_id(), $1, $2, $3, $4, $5, 'user', $6, $7)";

pub(crate) const INSERT_OUTBOX_SQL: &str = "
    INSERT INTO housekeeping.outbox
        (tenant_id, event_id, event_type, ordering_key, event, occurred_at, next_attempt_at)
    VALUES (housekeeping.current_tenant_id(), $1, $2, $3, $4, $5, $5)";

impl Flip {
    /// Writes the flip and returns the new status.
    async fn write(self, transaction: &Transaction<'_>, shared: &Shared) -> ApiResult<Room> {
        let version = self.flip(transaction).await?.ok_or_else(changed_meanwhile)?;
        self.audit(transaction).await?;
        self.write_event(transaction, shared).await?;
        Ok(Room {
            status: self.request.status,
            since: self.at,
            version,
            has_status: true,
            ..self.found
        })
    }

    async fn flip(&self, transaction: &Transaction<'_>) -> Result<Option<u32>, StoreError> {
        let (room, property) = (self.room.as_str(), self.found.property.as_str());
        let (status, read) = (self.request.status.name(), self.found.version.cast_signed());
        let row =
            transaction.query_opt(FLIP_SQL, &[&room, &property, &status, &self.at, &read]).await?;
        row.map(|row| service_kit::pg_row::count(&row, "version")).transpose()
    }

    async fn audit(&self, transaction: &Transaction<'_>) -> Result<(), StoreError> {
        let (room, property) = (self.room.as_str(), self.found.property.as_str());
        // The first flip has no earlier status.
        let from = self.found.has_status.then(|| self.found.status.name());
        let (to, operator) = (self.request.status.name(), self.caller.0.operator.as_str());
        let reason = self.request.reason.as_str();
        let values: Values<'_> = &[&room, &property, &from, &to, &reason, &operator, &self.at];
        transaction.execute(INSERT_AUDIT_SQL, values).await.map(drop)
    }

    async fn write_event(&self, transaction: &Transaction<'_>, shared: &Shared) -> ApiResult<()> {
        let event = self.event(EventId::generate(&shared.clock, &shared.entropy));
        let whole = serde_json::to_value(&event).expect("an event is plain JSON");
        let (id, kind) = (event.id.as_str(), event.kind.as_str());
        let values: Values<'_> = &[&id, &kind, &event.orderingkey, &whole, &self.at];
        transaction.execute(INSERT_OUTBOX_SQL, values).await?;
        Ok(())
    }

    fn event(&self, id: EventId) -> CloudEvent {
        let (caller, room) = (&self.caller.0, self.room);
        CloudEvent {
            specversion: "1.0".to_owned(),
            id,
            source: "/services/housekeeping-service".to_owned(),
            kind: ROOM_STATUS_CHANGED.to_owned(),
            subject: room.to_string(),
            time: self.at.into(),
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
                "from": self.found.status.name(), "to": self.request.status.name(),
                "reason": self.request.reason, "manual": true,
            }),
        }
    }
}
