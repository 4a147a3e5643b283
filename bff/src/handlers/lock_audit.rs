//! `GET /locks/audit`: what was done with the locks of a property, and by whom.

use axum::extract::State;
use contracts::locks::LockAuditPage;
use contracts::role::{Role, RoleSet};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Deserialize;
use service_kit::extract::{Json, Query};
use service_kit::postgres::{Database, StoreError, read};
use service_kit::problem::{ApiError, ApiResult};

use crate::edge::{InProperty, Permission};
use crate::locks::page::{Cursor, Wanted, page};
use crate::pages::{PageQuery, no_such_place};
use crate::store::unavailable;

/// May see what others did.
#[derive(Debug, Clone, Copy)]
pub struct Audits;

impl Permission for Audits {
    const ROLES: RoleSet =
        RoleSet::of(&[Role::FrontDeskManager, Role::PropertyGm, Role::TenantAdmin]);
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub struct LockAuditQuery {
    /// The property shown; it must be in the caller's scope.
    #[param(rename = "propertyId", value_type = String, required = true)]
    #[serde(rename = "propertyId")]
    _property: Option<String>,
    /// From this instant on, or from the beginning of this day in UTC.
    #[param(value_type = Option<String>, format = DateTime)]
    from: Option<String>,
    /// Up to this instant, itself excluded.
    #[param(value_type = Option<String>, format = DateTime)]
    to: Option<String>,
}

/// The ledger of lock actions, newest first.
#[utoipa::path(
    get, path = "/locks/audit", tag = "locks", security(("dpop" = [])), params(LockAuditQuery, PageQuery),
    responses((status = 200, body = LockAuditPage), (status = "default", response = crate::openapi::AnyProblem)),
)]
pub async fn list_lock_audit(
    in_property: InProperty<Audits>,
    Query(query): Query<LockAuditQuery>,
    Query(paging): Query<PageQuery>,
    State(database): State<Database>,
) -> ApiResult<Json<LockAuditPage>> {
    let wanted = Wanted {
        property: in_property.property,
        from: instant("query.from", query.from.as_deref())?,
        to: instant("query.to", query.to.as_deref())?,
        after: paging.cursor.as_deref().map(cursor).transpose()?,
        limit: paging.limit()?,
    };
    let asked = async {
        let mut connection = database.connection().await?;
        let transaction = read(&mut connection, in_property.caller.principal.tenant).await?;
        page(&transaction, &wanted).await
    };
    let (items, next) = asked.await.map_err(|error: StoreError| unavailable(error))?;
    Ok(Json(LockAuditPage { items, next_cursor: next.map(|it| it.to_string()) }))
}

fn instant(field: &str, given: Option<&str>) -> ApiResult<Option<Timestamp>> {
    let read = |text: &str| {
        let day = || text.parse::<Date>().ok()?.to_zoned(TimeZone::UTC).ok();
        let instant = text.parse().ok().or_else(|| Some(day()?.timestamp()));
        instant.ok_or_else(|| {
            ApiError::field(field, "INVALID", "Send an instant like 2026-11-21T08:00:00Z.")
        })
    };
    given.map(read).transpose()
}

fn cursor(given: &str) -> ApiResult<Cursor> {
    Cursor::parse(given).ok_or_else(no_such_place)
}
