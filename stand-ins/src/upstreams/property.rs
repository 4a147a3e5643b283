//! property: name, address and contact of a hotel.

use std::sync::Arc;

use axum::extract::State;
use contracts::id::PropertyId;
use contracts::upstream::property::Property;
use service_kit::caller::Caller;
use service_kit::extract::{Json, Path};
use service_kit::problem::ApiResult;

use super::Platform;

pub(super) async fn property(
    State(platform): State<Arc<Platform>>,
    caller: Caller,
    Path(id): Path<PropertyId>,
) -> ApiResult<Json<Property>> {
    let property = platform.property(&caller, id)?;
    Ok(Json(Property {
        property_id: property.id,
        as_of: platform.env.now().into(),
        name: property.name.to_owned(),
        address: property.address.to_owned(),
        city: property.city.to_owned(),
        country: property.country.to_owned(),
        time_zone: property.time_zone.to_owned(),
        currency: property.currency(),
        locale: property.locale.to_owned(),
        room_count: platform.demo.rooms_of(property.id).count() as u32,
        phone: property.phone.to_owned(),
        email: property.email.to_owned(),
    }))
}
