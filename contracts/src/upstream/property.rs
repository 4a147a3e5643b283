//! property: `GET /internal/v1/properties/{id}`.

use serde::{Deserialize, Serialize};

use crate::clock::wire;
use crate::id::PropertyId;
use crate::money::Currency;

/// A hotel's card: what it is called, where it stands, how it is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Property {
    pub property_id: PropertyId,
    pub as_of: wire::Timestamp,
    pub name: String,
    pub address: String,
    pub city: String,
    /// ISO 3166 alpha-2
    pub country: String,
    /// IANA name.
    pub time_zone: String,
    pub currency: Currency,
    /// BCP 47: the language of its desk.
    pub locale: String,
    pub room_count: u32,
    pub phone: String,
    pub email: String,
}

stamped!(Property, time_zone);
