//! reservation: arrivals, departures, guests in house, and check-in.
//!
//! Not here: whether a room is free (inventory) or clean (housekeeping).

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::{get, post};
use contracts::id::{ReservationId, RoomId};
use contracts::problem::Code;
use contracts::upstream::Upstream;
use contracts::upstream::reservation::{CheckInRequest, CheckedIn, ReservationState, Stay, Stays};
use http::StatusCode;
use jiff::civil::Date;
use parking_lot::Mutex;
use serde::Deserialize;
use service_kit::caller::Caller;
use service_kit::extract::{Json, Path, Query};
use service_kit::problem::{ApiError, ApiResult};

use super::{Platform, PropertyRead, UpstreamState};
use crate::demo::{DemoData, Property, Reservation};
use crate::idempotency::{Mutation, RequestKey};
use crate::refusal::refusal;

static NOT_ARRIVING: Code =
    refusal(409, "MELMASTOON.RESERVATION.NOT_ARRIVING", "The guest does not arrive today");
static ROOM_REQUIRED: Code =
    refusal(422, "MELMASTOON.RESERVATION.ROOM_REQUIRED", "A room of the property is required");

/// All reservations, by id.
#[derive(Debug)]
pub(crate) struct Reservations(Mutex<BTreeMap<ReservationId, Reservation>>);

#[derive(Debug, Deserialize)]
struct DayQuery {
    /// Today at the property when absent.
    date: Option<Date>,
}

/// Which reservations of a day are listed, and in which order.
#[derive(Debug, Clone, Copy)]
enum List {
    Arrivals,
    Departures,
    InHouse,
}

pub(super) fn routes() -> Router<UpstreamState> {
    Router::new()
        .route("/api/v1/reservations/arrivals", get(async |p, q| stays(List::Arrivals, p, q)))
        .route("/api/v1/reservations/departures", get(async |p, q| stays(List::Departures, p, q)))
        .route("/api/v1/reservations/in-house", get(async |p, q| stays(List::InHouse, p, q)))
        .route("/api/v1/reservations/{id}/check-in", post(check_in))
}

fn stays(
    list: List,
    PropertyRead { platform, property, now }: PropertyRead,
    Query(query): Query<DayQuery>,
) -> Json<Stays> {
    let today = property.today(now);
    let date = query.date.unwrap_or(today);
    let mut stays = platform.reservations.live(&property);
    stays.retain(|stay| list.holds(stay, date, today));
    list.sort(&mut stays);
    let items = stays.iter().map(|stay| stay_on_the_wire(&platform.demo, stay)).collect();
    Json(Stays { property_id: property.id, date: date.into(), as_of: now.into(), items })
}

async fn check_in(
    State(platform): State<Arc<Platform>>,
    caller: Caller,
    Path(id): Path<ReservationId>,
    Mutation { request_key, body }: Mutation<CheckInRequest>,
) -> ApiResult<Response> {
    let (tenant, now) = (caller.0.tenant, platform.env.now());
    platform.idempotency.run_once(Upstream::Reservation, tenant, &request_key, now, || {
        Ok((StatusCode::OK, platform.check_in(&caller, id, &request_key, body)?))
    })
}

impl Platform {
    fn check_in(
        &self,
        caller: &Caller,
        id: ReservationId,
        request_key: &RequestKey,
        request: CheckInRequest,
    ) -> ApiResult<CheckedIn> {
        let mut stays = self.reservations.0.lock();
        let stay = stays.get_mut(&id).ok_or_else(ApiError::not_found)?;
        let property = self.property(caller, stay.property_id)?;
        let now = self.env.now();
        let today = property.today(now);
        if stay.state != ReservationState::Confirmed || !stay.spends(today) {
            return Err(ApiError::new(
                &NOT_ARRIVING,
                "Only a confirmed reservation of today can be checked in. Reload the arrivals.",
            ));
        }
        let room_id = self.room_for(property, request.room_id.or(stay.room_id))?;
        (stay.state, stay.room_id) = (ReservationState::InHouse, Some(room_id));
        self.folios.open(property, stay, now);
        let action = "reservation.checked_in";
        self.note(caller, Upstream::Reservation, action, id.as_str(), request_key);
        Ok(CheckedIn { reservation_id: id, state: stay.state, room_id, checked_in_at: now.into() })
    }

    fn room_for(&self, property: &Property, wanted: Option<RoomId>) -> ApiResult<RoomId> {
        let room = wanted.and_then(|id| self.demo.room(id));
        let own = room.filter(|room| room.property_id == property.id && room.closed.is_none());
        let required = || {
            ApiError::new(
                &ROOM_REQUIRED,
                "The reservation needs a room of this property that is not closed. Send roomId.",
            )
        };
        own.map(|room| room.id).ok_or_else(required)
    }
}

impl Reservations {
    pub(super) fn of(demo: &DemoData) -> Self {
        let stays = demo.reservations.iter().map(|stay| (stay.id, stay.clone()));
        Self(Mutex::new(stays.collect()))
    }

    fn live(&self, of: &Property) -> Vec<Reservation> {
        let stays = self.0.lock();
        let own = stays.values().filter(|stay| stay.property_id == of.id && stay.is_live());
        own.cloned().collect()
    }
}

impl List {
    fn holds(self, stay: &Reservation, date: Date, today: Date) -> bool {
        match self {
            Self::Arrivals => stay.check_in == date,
            Self::Departures => stay.check_out == date,
            // Today the state decides; on other days, the booked dates.
            Self::InHouse if date == today => stay.is_in_house(),
            Self::InHouse => stay.spends(date),
        }
    }

    fn sort(self, stays: &mut [Reservation]) {
        stays.sort_by_key(|stay| match self {
            Self::Arrivals => (Some(stay.arrives_at), stay.id),
            Self::Departures => (Some(stay.leaves_at), stay.id),
            Self::InHouse => (None, stay.id),
        });
    }
}

fn stay_on_the_wire(demo: &DemoData, stay: &Reservation) -> Stay {
    let room = stay.room_id.and_then(|id| demo.room(id));
    Stay {
        reservation_id: stay.id,
        code: stay.code.clone(),
        guest_name: stay.guest_name.clone(),
        room_id: stay.room_id,
        room_number: room.map(|room| room.number.clone()),
        check_in: stay.check_in.into(),
        check_out: stay.check_out.into(),
        adults: stay.adults,
        state: stay.state,
        eta: Some(stay.arrives_at.into()),
    }
}
