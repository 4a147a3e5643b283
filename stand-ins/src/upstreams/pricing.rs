//! pricing: tonight's best available rates.

use contracts::upstream::pricing::{Rate, RateSnapshot};
use jiff::civil::Date;
use service_kit::extract::Json;

use super::PropertyRead;
use crate::demo::{Property, RoomType, rates};

pub(super) async fn rate_snapshot(
    PropertyRead { platform, property, now }: PropertyRead,
) -> Json<RateSnapshot> {
    let tonight = property.today(now);
    let types = platform.demo.room_types_of(property.id);
    let rates = types.map(|room_type| rate(&property, room_type, tonight)).collect();
    Json(RateSnapshot { property_id: property.id, as_of: now.into(), date: tonight.into(), rates })
}

fn rate(property: &Property, room_type: &RoomType, tonight: Date) -> Rate {
    let best_available = rates::of_night(property, room_type, tonight);
    let before = rates::of_night(property, room_type, tonight.yesterday().unwrap_or(tonight));
    let change = (best_available.amount_micro - before.amount_micro) as f64;
    let change_percent = (100.0 * change / before.amount_micro as f64).round() as i32;
    Rate {
        room_type_id: room_type.id,
        name: room_type.name.to_owned(),
        best_available,
        change_percent,
    }
}
