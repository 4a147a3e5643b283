//! The dashboard as the desktop receives it, gateway-api section 6.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::clock::wire;
use crate::id::{DashboardId, PropertyId, TenantId};

/// The whole answer of `GET /dashboard`, and its last NDJSON record without `widgets`.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Dashboard {
    pub id: DashboardId,
    pub tenant_id: TenantId,
    pub property_id: PropertyId,
    pub generated_at: wire::Timestamp,
    /// The route's deadline, milliseconds after the request was let in.
    pub deadline_ms: u64,
    /// True when a widget the caller may see is not `ok`.
    pub partial: bool,
    pub widgets: BTreeMap<String, Widget>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum WidgetStatus {
    Ok,
    /// From a cache past its freshness, because the upstream did not answer.
    Stale,
    Unavailable,
    /// The caller's role may not see it; it was not fetched.
    Forbidden,
}

/// Why a widget is not `ok`. Names the limit that was hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[derive(strum::IntoStaticStr)]
#[strum(const_into_str, serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum Reason {
    /// The widget's own deadline or the route's passed.
    UpstreamTimeout,
    /// Refused, reset, or a connection that could not be made.
    UpstreamUnavailable,
    /// The upstream answered an error.
    UpstreamError,
    BreakerOpen,
    /// More requests were under way to this upstream than it can serve in time.
    ConcurrencyLimit,
    SchemaDrift,
    ResponseTooLarge,
    NotFound,
}

/// One tile.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Widget {
    pub status: WidgetStatus,
    /// The upstream it comes from.
    pub source: String,
    /// When the upstream's answer was true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<wire::Timestamp>,
    /// How old a `stale` one is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub took_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// Its form is the widget's own; absent when there is nothing to show.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub data: Option<Arc<RawValue>>,
}

/// One line of the progressive forms (`application/x-ndjson`, `text/event-stream`).
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "record", rename_all = "camelCase")]
pub enum Record {
    /// First, before any upstream has answered.
    #[serde(rename_all = "camelCase")]
    Skeleton {
        id: DashboardId,
        tenant_id: TenantId,
        property_id: PropertyId,
        deadline_ms: u64,
        widgets: Vec<String>,
    },
    /// As each settles.
    Widget { name: String, widget: Widget },
    /// Last.
    #[serde(rename_all = "camelCase")]
    Done { generated_at: wire::Timestamp, partial: bool },
}
