//! Domain events: CloudEvents 1.0 in structured JSON, with the platform's extension attributes.

use serde::{Deserialize, Serialize};

use crate::clock::wire;
use crate::id::{EventId, PropertyId, TenantId};

/// How long an event must be kept by those who store it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum RetentionClass {
    Operational,
    Regulated,
    Audit,
}

/// One event. Consumers deduplicate on (`type`, `id`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub struct CloudEvent {
    pub specversion: String,
    pub id: EventId,
    /// `/services/inventory-service`
    pub source: String,
    /// `melmastoon.<service>.<aggregate>.<verb-past-tense>.v<n>`
    #[serde(rename = "type")]
    pub kind: String,
    /// The aggregate's id.
    pub subject: String,
    pub time: wire::Timestamp,
    pub datacontenttype: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dataschema: Option<String>,
    pub tenantid: TenantId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub propertyid: Option<PropertyId>,
    /// `<tenantId>:<aggregateId>`: events of one key arrive in order.
    pub orderingkey: String,
    pub correlationid: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub causationid: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    pub actortype: String,
    pub actorid: String,
    pub retentionclass: RetentionClass,
    #[schema(value_type = Object)]
    pub data: serde_json::Value,
}
