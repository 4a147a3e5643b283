//! A read of one property: what its handler is given, and the order of its refusals.

use axum::extract::{FromRef, FromRequestParts};
use axum::response::Response;
use contracts::clock::Clock;
use contracts::id::{PropertyId, TenantId};
use http::HeaderMap;
use http::request::Parts;
use jiff::Timestamp;
use serde::Serialize;

use crate::caller::{Caller, Callers};
use crate::etag;
use crate::extract::PropertyQuery;
use crate::postgres::Database;
use crate::problem::{ApiError, ApiResult};

/// An authenticated question about the property that the query names.
#[derive(Debug)]
pub struct OfProperty {
    pub database: Database,
    pub property: PropertyId,
    /// When it was asked.
    pub now: Timestamp,
    caller: Caller,
    headers: HeaderMap,
}

impl<S> FromRequestParts<S> for OfProperty
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

impl OfProperty {
    pub fn tenant(&self) -> TenantId {
        self.caller.0.tenant
    }

    /// What was read; `None` where the tenant has no such property, which is 404. Only a property of
    /// the caller's own tenant may be told from an unknown one, so its scope is judged after.
    pub fn found<T>(&self, read: Option<T>) -> ApiResult<T> {
        let found = read.ok_or_else(ApiError::not_found)?;
        self.caller.require(self.property)?;
        Ok(found)
    }

    /// `body`, or 304 for a caller that holds it; `basis` is what makes two bodies the same.
    pub fn answer<T: Serialize>(&self, basis: &impl Serialize, body: &T) -> Response {
        etag::answer(&self.headers, basis, body)
    }
}
