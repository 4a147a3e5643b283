//! The arrivals of a day, with counts.

use contracts::upstream::reservation::{Stay, Stays};
use serde::Serialize;

use crate::snapshots::Fetched;

pub(crate) fn arrivals(stays: &Stays) -> Fetched {
    Fetched::new(stays.property_id, *stays.as_of, &Arrivals::of(stays))
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Arrivals<'a> {
    expected: usize,
    arrived: usize,
    without_room: usize,
    #[serde(flatten)]
    stays: &'a Stays,
}

impl<'a> Arrivals<'a> {
    fn of(stays: &'a Stays) -> Self {
        let count =
            |test: &dyn Fn(&Stay) -> bool| stays.items.iter().filter(|stay| test(stay)).count();
        Self {
            expected: stays.items.len(),
            arrived: count(&|stay| stay.state.has_arrived()),
            without_room: count(&|stay| stay.room_id.is_none()),
            stays,
        }
    }
}
