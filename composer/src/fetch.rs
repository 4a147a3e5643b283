//! Executes each `Fetch`: the upstream call, and what is kept of its response.

use std::sync::Arc;

use contracts::id::PropertyId;
use contracts::upstream::inventory::{Availability, NightAvailability};
use contracts::upstream::property::Property;
use contracts::upstream::reservation::Stays;
use jiff::civil::Date;
use serde::Serialize;
use upstream_clients::{CallContext, CallError, DateRange, Upstreams};

use crate::local_data::LocalData;
use crate::snapshots::Fetched;
use crate::widgets::Fetch;

/// The upstream's default: two weeks from today in the property's time zone.
const NEXT_FORTNIGHT: DateRange = DateRange { from: None, to: None };

pub(crate) type FetchResult = Result<Fetched, CallError>;

/// The sources of a dashboard's data.
#[derive(Clone, derive_more::Debug)]
#[debug("Sources")]
pub(crate) struct Sources {
    pub(crate) upstreams: Arc<Upstreams>,
    pub(crate) local: Arc<dyn LocalData>,
}

/// Keeps the whole response.
macro_rules! whole {
    ($answer:expr) => {
        $answer.await.map(|answer| Fetched::new(answer.property_id, answer.as_of, &answer))
    };
}

impl Sources {
    pub(crate) async fn fetch(
        self,
        fetch: Fetch,
        context: CallContext,
        property: PropertyId,
    ) -> FetchResult {
        let (to, context) = (&self.upstreams, &context);
        match fetch {
            Fetch::Availability => {
                availability(&to.availability(context, property, NEXT_FORTNIGHT).await?)
            }
            Fetch::RateSnapshot => whole!(to.rate_snapshot(context, property)),
            Fetch::HousekeepingSummary => whole!(to.housekeeping_summary(context, property)),
            Fetch::RoomStatus => whole!(to.room_statuses(context, property)),
            Fetch::MaintenanceSummary => whole!(to.maintenance_summary(context, property)),
            Fetch::Arrivals(on) => {
                to.arrivals(context, property, on).await.map(|answer| arrivals(&answer))
            }
            Fetch::Departures(on) => whole!(to.departures(context, property, on)),
            Fetch::InHouse(on) => whole!(to.in_house(context, property, on)),
            Fetch::FolioSummary => whole!(to.billing_summary(context, property)),
            Fetch::Balances => whole!(to.balances(context, property)),
            Fetch::LockKeys => whole!(to.lock_keys(context, property)),
            Fetch::Alerts => whole!(to.alerts(context, property)),
            Fetch::AiSuggestions => whole!(to.suggestions(context, property)),
            Fetch::Kpis => whole!(to.kpis(context, property)),
            Fetch::StaffOnDuty => whole!(to.on_duty(context, property)),
            Fetch::StaffingGaps => whole!(to.staffing_gaps(context, property)),
            Fetch::PropertyCard => {
                to.property(context, property).await.map(|answer| property_card(&answer))
            }
            Fetch::SyncStatus => self.local.sync_status(context, property).await,
        }
    }
}

/// Availability, and as second part tonight's occupancy.
pub fn availability(answer: &Availability) -> FetchResult {
    let occupancy = Occupancy::tonight(answer)
        .ok_or_else(|| CallError::SchemaDrift { path: "roomTypes[].nights".to_owned() })?;
    let whole = Fetched::new(answer.property_id, answer.as_of, answer);
    Ok(whole.and(&occupancy).in_zone(&answer.time_zone))
}

/// A property's card, with its time zone.
pub fn property_card(card: &Property) -> Fetched {
    Fetched::new(card.property_id, card.as_of, card).in_zone(&card.time_zone)
}

fn arrivals(stays: &Stays) -> Fetched {
    Fetched::new(stays.property_id, stays.as_of, &Arrivals::of(stays))
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

/// Today's arrivals with counts.
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
        let count = |test: &dyn Fn(&contracts::upstream::reservation::Stay) -> bool| {
            stays.items.iter().filter(|stay| test(stay)).count()
        };
        Self {
            expected: stays.items.len(),
            arrived: count(&|stay| stay.state.has_arrived()),
            without_room: count(&|stay| stay.room_id.is_none()),
            stays,
        }
    }
}
