//! `GET /locks/audit`: lock actions of a property, and who requested them.

use axum::extract::State;
use contracts::clock::{parse_date, parse_instant};
use contracts::locks::LockAuditPage;
use jiff::civil::Date;
use jiff::tz::{Offset, TimeZone, offset};
use jiff::{Timestamp, ToSpan};
use serde::Deserialize;
use service_kit::extract::{Json, Query};
use service_kit::postgres::{Database, StoreError, read};
use service_kit::problem::{ApiError, ApiResult};

use crate::edge::permissions::ViewLockAudit;
use crate::edge::{InProperty, PropertyQuery};
use crate::locks::audit_page::{AuditQuery, Cursor, page};
use crate::problems::unavailable;
use crate::reads::cached_read::Reads;
use crate::reads::pagination::{PageQuery, invalid_cursor};

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub(crate) struct LockAuditQuery {
    /// From this instant on, or from the beginning of this day at the property.
    #[param(value_type = Option<String>, format = DateTime)]
    from: Option<String>,
    /// Up to this instant, or to the beginning of this day at the property, itself excluded. The same
    /// day in `from` and `to` is that whole day.
    #[param(value_type = Option<String>, format = DateTime)]
    to: Option<String>,
}

/// The audit log of lock actions, newest first.
#[utoipa::path(
    get, path = "/locks/audit", tag = "locks", params(PropertyQuery, LockAuditQuery, PageQuery),
    responses((status = 200, body = LockAuditPage)),
)]
pub(crate) async fn list_lock_audit(
    in_property: InProperty<ViewLockAudit>,
    reads: Reads,
    Query(query): Query<LockAuditQuery>,
    Query(pagination): Query<PageQuery>,
    State(database): State<Database>,
) -> ApiResult<Json<LockAuditPage>> {
    let property = in_property.property;
    let from = Bound::parse("query.from", query.from.as_deref())?;
    let to = Bound::parse("query.to", query.to.as_deref())?;
    let after = pagination.cursor.as_deref().map(cursor).transpose()?;
    let limit = pagination.limit()?;
    let names_a_day = [&from, &to].into_iter().any(|bound| matches!(bound, Some(Bound::Day(_))));
    let zone = if names_a_day { reads.zone(property).await } else { None };
    let (from, to) = period(from, to, zone.as_ref());
    let page_query = AuditQuery { property, from, to, after, limit };
    let load = async {
        let mut connection = database.connection().await?;
        let transaction = read(&mut connection, in_property.caller.principal.tenant).await?;
        page(&transaction, &page_query).await
    };
    let (items, next) = load.await.map_err(|error: StoreError| unavailable(error))?;
    Ok(Json(LockAuditPage { items, next_cursor: next.map(|cursor| cursor.to_string()) }))
}

/// One end of a period, as the query gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bound {
    Instant(Timestamp),
    Day(Date),
}

impl Bound {
    fn parse(field: &str, given: Option<&str>) -> ApiResult<Option<Self>> {
        let read = |text: &str| {
            let instant = parse_instant(text).map(Self::Instant);
            instant.or_else(|| parse_date(text).map(Self::Day)).ok_or_else(|| {
                let detail = "Send an instant like 2026-11-21T08:00:00Z or a date like 2026-11-21.";
                ApiError::field(field, "INVALID", detail)
            })
        };
        given.map(read).transpose()
    }
}

/// Converts the bounds to instants. While the property's time zone is unknown, a day covers every
/// time zone, so that no row is missing.
fn period(
    from: Option<Bound>,
    to: Option<Bound>,
    zone: Option<&TimeZone>,
) -> (Option<Timestamp>, Option<Timestamp>) {
    let is_one_day = from == to;
    let begins = from.map(|bound| match bound {
        Bound::Instant(at) => at,
        Bound::Day(day) => start_of(day, zone, FIRST_MIDNIGHT),
    });
    let ends = to.map(|bound| match bound {
        Bound::Instant(at) => at,
        Bound::Day(day) if is_one_day => start_of(day.saturating_add(1.day()), zone, LAST_MIDNIGHT),
        Bound::Day(day) => start_of(day, zone, LAST_MIDNIGHT),
    });
    (begins, ends)
}

/// A day begins at UTC+14 first (Kiritimati), and at UTC-12 last.
const FIRST_MIDNIGHT: Offset = offset(14);
const LAST_MIDNIGHT: Offset = offset(-12);

/// The last days of the year 9999 begin, west of Greenwich, after the last instant there is; no row
/// is that late.
fn start_of(day: Date, zone: Option<&TimeZone>, unknown: Offset) -> Timestamp {
    let zone = zone.cloned().unwrap_or_else(|| unknown.to_time_zone());
    day.to_zoned(zone).map_or(Timestamp::MAX, |start| start.timestamp())
}

fn cursor(given: &str) -> ApiResult<Cursor> {
    Cursor::parse(given).ok_or_else(invalid_cursor)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(from: &str, to: &str, zone: Option<&str>) -> (String, String) {
        let bound = |text| Bound::parse("query.from", Some(text)).unwrap();
        let zone = zone.map(|name| TimeZone::get(name).unwrap());
        let (from, to) = period(bound(from), bound(to), zone.as_ref());
        (from.unwrap().to_string(), to.unwrap().to_string())
    }

    fn is(from: &str, to: &str) -> (String, String) {
        (from.to_owned(), to.to_owned())
    }

    #[test]
    fn a_date_is_the_propertys_day() {
        let found = shown("2026-11-21", "2026-11-22", Some("Asia/Tehran"));
        assert_eq!(found, is("2026-11-20T20:30:00Z", "2026-11-21T20:30:00Z"));
        let found = shown("2026-11-21", "2026-11-21", Some("Asia/Kathmandu"));
        assert_eq!(found, is("2026-11-20T18:15:00Z", "2026-11-21T18:15:00Z"));
        let found = shown("2026-11-21T00:00:00Z", "2026-11-21", Some("Asia/Tehran"));
        assert_eq!(found, is("2026-11-21T00:00:00Z", "2026-11-20T20:30:00Z"));
    }

    #[test]
    fn the_day_on_which_clocks_change_is_shown_whole() {
        let found = shown("2026-03-29", "2026-03-29", Some("Europe/Berlin"));
        assert_eq!(found, is("2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"));
        let found = shown("2026-10-25", "2026-10-25", Some("Europe/Berlin"));
        assert_eq!(found, is("2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"));
    }

    #[test]
    fn without_the_zone_no_row_of_the_day_is_missing() {
        let found = shown("2026-11-21", "2026-11-21", None);
        assert_eq!(found, is("2026-11-20T10:00:00Z", "2026-11-22T12:00:00Z"));
    }
}
