//! The read of availability, with tonight's occupancy as its second part.

use std::sync::Arc;

use contracts::id::PropertyId;
use contracts::upstream::inventory::{Availability, NightAvailability};
use jiff::civil::Date;
use serde::Serialize;
use upstream_clients::{CallContext, CallError, DateRange, Upstreams};

use crate::snapshots::Fetched;

/// The part of the snapshot that is tonight's occupancy.
pub(crate) const OCCUPANCY_PART: usize = 1;

/// Reads availability by room type and night.
pub async fn availability(
    upstreams: Arc<Upstreams>,
    context: CallContext,
    property: PropertyId,
    nights: DateRange,
) -> Result<Fetched, CallError> {
    let answer = upstreams.availability(&context, property, nights).await?;
    let occupancy = Occupancy::tonight(&answer)
        .ok_or_else(|| CallError::SchemaDrift { path: "roomTypes[].nights".to_owned() })?;
    Ok(Fetched::from(answer).and(&occupancy))
}

/// Tonight's occupancy.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Occupancy {
    date: Date,
    total: u32,
    sold: u32,
    held: u32,
    out_of_service: u32,
    available: u32,
    /// Share of the rooms that can be sold; one decimal.
    percent: f64,
}

impl Occupancy {
    /// Sums the first night over all room types; `None` if one has no night.
    fn tonight(answer: &Availability) -> Option<Self> {
        let nights: Vec<&NightAvailability> = answer
            .room_types
            .iter()
            .map(|room_type| room_type.nights.first())
            .collect::<Option<_>>()?;
        let sum =
            |part: fn(&NightAvailability) -> u32| nights.iter().map(|night| part(night)).sum();
        let (total, sold, out): (u32, u32, u32) = (
            sum(|night| night.total),
            sum(|night| night.committed),
            sum(|night| night.oos_blocked),
        );
        let sellable = f64::from(total.saturating_sub(out).max(1));
        Some(Self {
            date: *answer.from,
            total,
            sold,
            held: sum(|night| night.held),
            out_of_service: out,
            available: sum(|night| night.available),
            percent: (f64::from(sold) / sellable * 1000.0).round() / 10.0,
        })
    }
}
