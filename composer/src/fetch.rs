//! What each read asks its upstream, and what it keeps of the answer.

use std::sync::Arc;

use contracts::id::PropertyId;
use contracts::upstream::inventory::{Availability, NightAvailability};
use contracts::upstream::property::Property;
use contracts::upstream::reservation::Stays;
use jiff::civil::Date;
use serde::Serialize;
use upstream_clients::{CallContext, CallError, Upstreams};

use crate::own::OwnStore;
use crate::snapshots::Fetched;
use crate::widgets::Question;

/// The upstream knows which days these are where the property stands.
const NEXT_FORTNIGHT: (Option<Date>, Option<Date>) = (None, None);

pub(crate) type Answer = Result<Fetched, CallError>;

/// Whom a dashboard asks.
#[derive(Clone)]
pub(crate) struct Sources {
    pub(crate) upstreams: Arc<Upstreams>,
    pub(crate) own: Arc<dyn OwnStore>,
}

impl std::fmt::Debug for Sources {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sources")
    }
}

/// The answer as it is, with whose it is and when it was true.
macro_rules! whole {
    ($answer:expr) => {
        $answer.await.map(|it| Fetched::new(it.property_id, it.as_of, &it))
    };
}

impl Sources {
    pub(crate) async fn ask(
        self,
        question: Question,
        context: CallContext,
        of: PropertyId,
    ) -> Answer {
        let (to, context) = (&self.upstreams, &context);
        match question {
            Question::Availability => {
                availability(&to.availability(context, of, NEXT_FORTNIGHT).await?)
            }
            Question::RateSnapshot => whole!(to.rate_snapshot(context, of)),
            Question::HousekeepingSummary => whole!(to.housekeeping_summary(context, of)),
            Question::RoomStatus => whole!(to.room_statuses(context, of)),
            Question::MaintenanceSummary => whole!(to.maintenance_summary(context, of)),
            Question::Arrivals(on) => to.arrivals(context, of, on).await.map(|it| arrivals(&it)),
            Question::Departures(on) => whole!(to.departures(context, of, on)),
            Question::InHouse(on) => whole!(to.in_house(context, of, on)),
            Question::FolioSummary => whole!(to.billing_summary(context, of)),
            Question::Balances => whole!(to.balances(context, of)),
            Question::LockKeys => whole!(to.lock_keys(context, of)),
            Question::Alerts => whole!(to.alerts(context, of)),
            Question::AiSuggestions => whole!(to.suggestions(context, of)),
            Question::Kpis => whole!(to.kpis(context, of)),
            Question::StaffOnDuty => whole!(to.on_duty(context, of)),
            Question::StaffingGaps => whole!(to.staffing_gaps(context, of)),
            Question::PropertyCard => to.property(context, of).await.map(|it| property_card(&it)),
            Question::SyncStatus => self.own.sync_status(context, of).await,
        }
    }
}

/// The answer, and tonight in one line.
pub fn availability(answer: &Availability) -> Answer {
    let occupancy = Occupancy::tonight(answer)
        .ok_or_else(|| CallError::SchemaDrift { path: "roomTypes[].nights".to_owned() })?;
    let whole = Fetched::new(answer.property_id, answer.as_of, answer);
    Ok(whole.and(&occupancy).in_zone(&answer.time_zone))
}

/// A property's card, which states its time zone.
pub fn property_card(card: &Property) -> Fetched {
    Fetched::new(card.property_id, card.as_of, card).in_zone(&card.time_zone)
}

fn arrivals(stays: &Stays) -> Fetched {
    Fetched::new(stays.property_id, stays.as_of, &Arrivals::of(stays))
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
