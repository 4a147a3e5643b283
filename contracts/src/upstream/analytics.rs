//! analytics: `GET /api/v1/analytics/kpis?propertyId=`.

use jiff::{Timestamp, civil::Date};
use serde::{Deserialize, Serialize};

use crate::id::PropertyId;
use crate::money::Money;

/// Yesterday's closed business day.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Kpis {
    pub property_id: PropertyId,
    #[serde(with = "crate::clock::wire")]
    pub as_of: Timestamp,
    #[serde(deserialize_with = "crate::clock::wire_date")]
    pub business_date: Date,
    pub occupancy_percent: f64,
    /// Average daily rate.
    pub adr: Money,
    /// Revenue per available room.
    pub rev_par: Money,
}

stamped!(Kpis);
