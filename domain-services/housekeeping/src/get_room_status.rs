//! `GET /api/v1/housekeeping/rooms/{id}/status`: the status of one room, with the version for
//! `If-Match`.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use contracts::id::{PropertyId, RoomId};
use contracts::upstream::housekeeping::{OneRoomStatus, RoomStatus};
use http::header::{CACHE_CONTROL, ETAG};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use jiff::Timestamp;
use service_kit::caller::Caller;
use service_kit::etag;
use service_kit::extract::{Json, Path};
use service_kit::pg_row;
use service_kit::postgres::{self, Database, StoreError, Transaction};
use service_kit::problem::{ApiError, ApiResult};
use tokio_postgres::Row;

/// The room's status, since when, and its version.
#[utoipa::path(
    get,
    path = "/api/v1/housekeeping/rooms/{id}/status",
    operation_id = "getRoomStatus",
    params(("id" = String, Path, description = "The room.", pattern = "^rom_[0-7][0-9A-HJKMNP-TV-Z]{25}$")),
    responses((status = 200, description = "The room's status.", body = OneRoomStatus,
        headers(("ETag" = String, description = "`\"v=<version>\"`, for `If-Match`.")))),
)]
pub(crate) async fn handler(
    State(database): State<Database>,
    caller: Caller,
    Path(room): Path<RoomId>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let mut connection = database.connection().await?;
    let transaction = postgres::read(&mut connection, caller.0.tenant).await?;
    let found = Room::find(&transaction, room).await?.ok_or_else(ApiError::not_found)?;
    // After the read, so that properties of other tenants look unknown.
    caller.require(found.property)?;
    if etag::holds(&headers, &tag(found.version)) {
        return Ok((StatusCode::NOT_MODIFIED, with_tag(found.version)).into_response());
    }
    Ok(respond(room, &found))
}

fn with_tag(version: u32) -> [(HeaderName, HeaderValue); 2] {
    let tag = HeaderValue::from_str(&tag(version)).expect("a tag is ASCII");
    [(ETAG, tag), (CACHE_CONTROL, HeaderValue::from_static("private, no-cache"))]
}

/// The response, with the version as a strong entity tag.
pub(crate) fn respond(room_id: RoomId, room: &Room) -> Response {
    let body = OneRoomStatus {
        room_id,
        property_id: room.property,
        status: room.status,
        since: room.since.into(),
        version: room.version,
    };
    (with_tag(room.version), Json(body)).into_response()
}

pub(crate) fn tag(version: u32) -> String {
    format!("\"v={version}\"")
}

/// The current status of a room.
#[derive(Debug)]
pub(crate) struct Room {
    pub(crate) property: PropertyId,
    pub(crate) status: RoomStatus,
    pub(crate) since: Timestamp,
    pub(crate) version: u32,
    /// Whether the status was ever set.
    pub(crate) has_status: bool,
}

/// $1 room. A room without a status counts as dirty.
pub(crate) const ROOM_SQL: &str = "
    SELECT room.property_id, coalesce(state.status, 'dirty') AS status,
           coalesce(state.since, room.created_at) AS since, coalesce(state.version, 0) AS version,
           state.room_id IS NOT NULL AS has_status
    FROM housekeeping.rooms AS room
    LEFT JOIN housekeeping.room_status AS state ON state.room_id = room.id
    WHERE room.id = $1::text AND room.archived_at IS NULL";

impl Room {
    /// `None` when the tenant has no such room.
    pub(crate) async fn find(
        transaction: &Transaction<'_>,
        room: RoomId,
    ) -> Result<Option<Self>, StoreError> {
        let row = transaction.query_opt(ROOM_SQL, &[&room.as_str()]).await?;
        row.as_ref().map(Self::from_row).transpose()
    }

    fn from_row(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            property: pg_row::id(row, "property_id")?,
            status: pg_row::name(row, "status")?,
            since: pg_row::get(row, "since")?,
            version: pg_row::count(row, "version")?,
            has_status: pg_row::get(row, "has_status")?,
        })
    }
}
