//! pricing: `GET /v1/pricing/rate-snapshot?propertyId=`.

use jiff::{Timestamp, civil::Date};
use serde::{Deserialize, Serialize};

use crate::id::{PropertyId, RoomTypeId};
use crate::money::Money;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RateSnapshot {
    pub property_id: PropertyId,
    #[serde(with = "crate::clock::wire")]
    pub as_of: Timestamp,
    /// Tonight in the property's time zone.
    #[serde(deserialize_with = "crate::clock::wire_date")]
    pub date: Date,
    pub rates: Vec<Rate>,
}

stamped!(RateSnapshot);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rate {
    pub room_type_id: RoomTypeId,
    pub name: String,
    /// Best available rate for one night.
    pub best_available: Money,
    /// The change since yesterday, in percent.
    pub change_percent: i32,
}
