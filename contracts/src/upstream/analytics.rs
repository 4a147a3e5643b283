//! analytics: `GET /api/v1/analytics/kpis?propertyId=`.

use serde::{Deserialize, Serialize};

use crate::clock::wire;
use crate::id::PropertyId;
use crate::money::Money;

/// Yesterday's closed business day.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Kpis {
    pub property_id: PropertyId,
    pub as_of: wire::Timestamp,
    pub business_date: wire::Date,
    pub occupancy_percent: f64,
    /// Average daily rate.
    pub adr: Money,
    /// Revenue per available room.
    pub rev_par: Money,
}

stamped!(Kpis);
