//! pricing: `GET /v1/pricing/rate-snapshot?propertyId=`.

use serde::{Deserialize, Serialize};

use crate::clock::wire;
use crate::id::{PropertyId, RoomTypeId};
use crate::money::Money;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RateSnapshot {
    pub property_id: PropertyId,
    pub as_of: wire::Timestamp,
    /// Tonight in the property's time zone.
    pub date: wire::Date,
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
