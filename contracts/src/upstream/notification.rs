//! notification: `GET /api/v1/alerts?propertyId=&limit=`.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

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
    #[serde(with = "crate::clock::wire")]
    pub as_of: Timestamp,
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
    #[serde(with = "crate::clock::wire")]
    pub raised_at: Timestamp,
}
