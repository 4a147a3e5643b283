//! notification: `GET /api/v1/alerts?propertyId=&limit=`.

use serde::{Deserialize, Serialize};

use crate::clock::wire;
use crate::id::{AlertId, PropertyId};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Info,
    Warning,
    Critical,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Alerts {
    pub property_id: PropertyId,
    pub as_of: wire::Timestamp,
    /// Not acknowledged yet, newest first.
    pub items: Vec<Alert>,
}

stamped!(Alerts);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Alert {
    pub alert_id: AlertId,
    pub severity: Severity,
    pub title: String,
    pub body: String,
    pub raised_at: wire::Timestamp,
}
