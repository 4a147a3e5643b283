//! Extractor for reads of one property, which fixes the order of their checks.

use axum::extract::{FromRef, FromRequestParts};
use axum::response::Response;
use contracts::clock::Clock;
use contracts::id::{PropertyId, TenantId};
use http::HeaderMap;
use http::request::Parts;
use jiff::Timestamp;
use serde::Serialize;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::caller::{Caller, Callers};
use crate::etag;
use crate::extract::PropertyQuery;
use crate::postgres::{Database, Values};
use crate::problem::{ApiError, ApiResult};

/// An authenticated read of the property named in the query.
#[derive(Debug)]
pub struct PropertyRead {
    pub database: Database,
    pub property: PropertyId,
    /// When the request arrived.
    pub now: Timestamp,
    caller: Caller,
    headers: HeaderMap,
}

impl<S> FromRequestParts<S> for PropertyRead
where
    S: Send + Sync,
    Callers: FromRef<S>,
    Clock: FromRef<S>,
    Database: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let caller = Caller::from_request_parts(parts, state).await?;
        let PropertyQuery { property_id } = PropertyQuery::from_request_parts(parts, state).await?;
        Ok(Self {
            database: Database::from_ref(state),
            property: property_id,
            now: Clock::from_ref(state).now(),
            caller,
            headers: parts.headers.clone(),
        })
    }
}

impl PropertyRead {
    pub fn tenant(&self) -> TenantId {
        self.caller.0.tenant
    }

    /// Unwraps what was read: 404 for `None` (the tenant has no such property), then 403 if the property
    /// is outside the caller's scope. In this order, so that properties of other tenants look unknown.
    pub fn found<T>(&self, read: Option<T>) -> ApiResult<T> {
        let found = read.ok_or_else(ApiError::not_found)?;
        self.caller.require(self.property)?;
        Ok(found)
    }

    /// Runs one read-only statement, which returns no row when the tenant has no such property: $1 is the
    /// property, `values` follow. The rows are at least one, [`found`](Self::found) like anything read.
    pub async fn rows(&self, sql: &str, values: Values<'_>) -> ApiResult<Vec<Row>> {
        let property = self.property.as_str();
        let values = [&[&property as &(dyn ToSql + Sync)][..], values].concat();
        let rows = self.database.read(self.tenant(), sql, &values).await?;
        self.found((!rows.is_empty()).then_some(rows))
    }

    /// Responds with `body`, or 304 if the caller has it; see [`etag::respond`].
    pub fn respond<T: Serialize>(&self, basis: &impl Serialize, body: &T) -> Response {
        etag::respond(&self.headers, basis, body)
    }
}
