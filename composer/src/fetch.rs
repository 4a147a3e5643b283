//! What each widget asks its upstream, and what it shows of the answer.

use contracts::id::PropertyId;
use contracts::upstream::inventory::{Availability, NightAvailability};
use contracts::upstream::reservation::{ReservationState, Stays};
use jiff::Timestamp;
use jiff::civil::Date;
use serde::Serialize;
use serde_json::value::RawValue;
use upstream_clients::{CallContext, CallError, Upstreams};

use crate::widgets::Kind;

/// The upstream knows which days these are where the property stands.
const NEXT_FORTNIGHT: (Option<Date>, Option<Date>) = (None, None);
const TODAY: Option<Date> = None;

/// A widget's content and when the upstream said it was true.
pub(crate) struct Fetched {
    pub(crate) as_of: Timestamp,
    pub(crate) data: Box<RawValue>,
}

pub(crate) async fn fetch(
    kind: Kind,
    upstreams: &Upstreams,
    context: &CallContext,
    property: PropertyId,
) -> Result<Fetched, CallError> {
    match kind {
        Kind::Occupancy => {
            let answer = upstreams.availability(context, property, NEXT_FORTNIGHT).await?;
            let occupancy = Occupancy::tonight(&answer)
                .ok_or_else(|| CallError::SchemaDrift { path: "roomTypes[].nights".to_owned() })?;
            Ok(fetched(answer.as_of, &occupancy))
        }
        Kind::Availability => upstreams
            .availability(context, property, NEXT_FORTNIGHT)
            .await
            .map(|it| fetched(it.as_of, &it)),
        Kind::RateSnapshot => {
            upstreams.rate_snapshot(context, property).await.map(|it| fetched(it.as_of, &it))
        }
        Kind::HousekeepingSummary => {
            upstreams.housekeeping_summary(context, property).await.map(|it| fetched(it.as_of, &it))
        }
        Kind::RoomStatus => {
            upstreams.room_statuses(context, property).await.map(|it| fetched(it.as_of, &it))
        }
        Kind::Arrivals => upstreams
            .arrivals(context, property, TODAY)
            .await
            .map(|it| fetched(it.as_of, &Arrivals::of(&it))),
        Kind::Alerts => upstreams.alerts(context, property).await.map(|it| fetched(it.as_of, &it)),
        Kind::Kpis => upstreams.kpis(context, property).await.map(|it| fetched(it.as_of, &it)),
        Kind::StaffOnDuty => {
            upstreams.on_duty(context, property).await.map(|it| fetched(it.as_of, &it))
        }
    }
}

fn fetched(as_of: Timestamp, data: &impl Serialize) -> Fetched {
    let data = serde_json::value::to_raw_value(data).expect("contract types are plain JSON");
    Fetched { as_of, data }
}

/// Tonight in one line: how full the house is.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Occupancy {
    date: Date,
    total: u32,
    sold: u32,
    held: u32,
    out_of_service: u32,
    available: u32,
    /// Of the rooms that can be sold; one decimal.
    percent: f64,
}

impl Occupancy {
    /// Sums the first night over the room types; `None` when a type has no night.
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
            date: answer.from,
            total,
            sold,
            held: sum(|night| night.held),
            out_of_service: out,
            available: sum(|night| night.available),
            percent: (f64::from(sold) / sellable * 1000.0).round() / 10.0,
        })
    }
}

/// Today's arrivals: how many, how many are still to come, and the next ones.
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
        let arrived = |state| {
            matches!(
                state,
                ReservationState::CheckedIn
                    | ReservationState::InHouse
                    | ReservationState::CheckedOut
            )
        };
        let count = |test: &dyn Fn(&contracts::upstream::reservation::Stay) -> bool| {
            stays.items.iter().filter(|stay| test(stay)).count()
        };
        Self {
            expected: stays.items.len(),
            arrived: count(&|stay| arrived(stay.state)),
            without_room: count(&|stay| stay.room_id.is_none()),
            stays,
        }
    }
}
