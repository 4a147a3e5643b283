//! reservation: arrivals, departures, guests in house, and check-in.
//!
//! Not here: whether a room is free (inventory) or clean (housekeeping).

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::{get, post};
use contracts::id::{PropertyId, ReservationId, RoomId};
use contracts::problem::Code;
use contracts::upstream::Upstream;
use contracts::upstream::reservation::{CheckInRequest, CheckedIn, ReservationState, Stay, Stays};
use http::StatusCode;
use jiff::civil::Date;
use serde::Deserialize;
use service_kit::caller::Caller;
use service_kit::extract::{Json, Path, Query};
use service_kit::problem::{ApiError, ApiResult};

use super::{Folios, UpstreamContext, UpstreamState};
use crate::demo::{DemoData, Property, Reservation};
use crate::idempotency::{Mutation, RequestKey};

static NOT_ARRIVING: Code = Code {
    name: "MELMASTOON.RESERVATION.NOT_ARRIVING",
    status: 409,
    title: "The guest does not arrive today",
    retriable: false,
    retry_after: None,
    runbook: None,
};

static ROOM_REQUIRED: Code = Code {
    name: "MELMASTOON.RESERVATION.ROOM_REQUIRED",
    status: 422,
    title: "A room of the property is required",
    retriable: false,
    retry_after: None,
    runbook: None,
};

/// All reservations, by id.
#[derive(Debug)]
struct Reservations {
    stays: RwLock<BTreeMap<ReservationId, Reservation>>,
    /// Where a check-in opens a folio.
    folios: Arc<Folios>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct DayQuery {
    property_id: PropertyId,
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

pub(super) fn router(context: UpstreamContext, folios: Arc<Folios>) -> Router {
    let stays = context.demo.reservations.iter().map(|stay| (stay.id, stay.clone())).collect();
    let state = UpstreamState {
        context,
        own: Arc::new(Reservations { stays: RwLock::new(stays), folios }),
    };
    Router::new()
        .route("/api/v1/reservations/arrivals", get(arrivals))
        .route("/api/v1/reservations/departures", get(departures))
        .route("/api/v1/reservations/in-house", get(in_house))
        .route("/api/v1/reservations/{id}/check-in", post(check_in))
        .with_state(state)
}

async fn arrivals(
    State(state): State<UpstreamState<Reservations>>,
    caller: Caller,
    Query(query): Query<DayQuery>,
) -> ApiResult<Json<Stays>> {
    state.list(&caller, &query, List::Arrivals)
}

async fn departures(
    State(state): State<UpstreamState<Reservations>>,
    caller: Caller,
    Query(query): Query<DayQuery>,
) -> ApiResult<Json<Stays>> {
    state.list(&caller, &query, List::Departures)
}

async fn in_house(
    State(state): State<UpstreamState<Reservations>>,
    caller: Caller,
    Query(query): Query<DayQuery>,
) -> ApiResult<Json<Stays>> {
    state.list(&caller, &query, List::InHouse)
}

async fn check_in(
    State(state): State<UpstreamState<Reservations>>,
    caller: Caller,
    Path(id): Path<ReservationId>,
    Mutation { request_key, body }: Mutation<CheckInRequest>,
) -> ApiResult<Response> {
    let (tenant, now) = (caller.0.tenant, state.context.env.now());
    state.context.idempotency.run_once(Upstream::Reservation, tenant, &request_key, now, || {
        Ok((StatusCode::OK, state.check_in(&caller, id, &request_key, body)?))
    })
}

impl UpstreamState<Reservations> {
    fn check_in(
        &self,
        caller: &Caller,
        id: ReservationId,
        request_key: &RequestKey,
        request: CheckInRequest,
    ) -> ApiResult<CheckedIn> {
        let mut book = self.own.stays.write().unwrap_or_else(PoisonError::into_inner);
        let stay = book.get_mut(&id).ok_or_else(ApiError::not_found)?;
        let property = self.context.property(caller, stay.property_id)?;
        let now = self.context.env.now();
        let today = property.today(now);
        if stay.state != ReservationState::Confirmed || !stay.spends(today) {
            return Err(ApiError::new(
                &NOT_ARRIVING,
                "Only a confirmed reservation of today can be checked in. Reload the arrivals.",
            ));
        }
        let room_id = self.room(property, request.room_id.or(stay.room_id))?;
        (stay.state, stay.room_id) = (ReservationState::InHouse, Some(room_id));
        self.own.folios.open(property, stay, now);
        let action = "reservation.checked_in";
        self.context.note(caller, Upstream::Reservation, action, id.as_str(), request_key);
        Ok(CheckedIn { reservation_id: id, state: stay.state, room_id, checked_in_at: now })
    }

    fn room(&self, property: &Property, wanted: Option<RoomId>) -> ApiResult<RoomId> {
        let room = wanted.and_then(|id| self.context.demo.room(id));
        let own = room.filter(|room| room.property_id == property.id && room.closed.is_none());
        let required = || {
            ApiError::new(
                &ROOM_REQUIRED,
                "The reservation needs a room of this property that is not closed. Send roomId.",
            )
        };
        own.map(|room| room.id).ok_or_else(required)
    }

    fn list(&self, caller: &Caller, query: &DayQuery, list: List) -> ApiResult<Json<Stays>> {
        let property = self.context.property(caller, query.property_id)?;
        let now = self.context.env.now();
        let today = property.today(now);
        let date = query.date.unwrap_or(today);
        let mut stays = self.own.stays(property, |stay| list.holds(stay, date, today));
        list.sort(&mut stays);
        let items = stays.iter().map(|stay| stay_on_the_wire(&self.context.demo, stay)).collect();
        Ok(Json(Stays { property_id: property.id, date, as_of: now, items }))
    }
}

impl Reservations {
    fn stays(&self, of: &Property, wanted: impl Fn(&Reservation) -> bool) -> Vec<Reservation> {
        let book = self.stays.read().unwrap_or_else(PoisonError::into_inner);
        let own = book.values().filter(|stay| stay.property_id == of.id && stay.is_live());
        own.filter(|stay| wanted(stay)).cloned().collect()
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
        check_in: stay.check_in,
        check_out: stay.check_out,
        adults: stay.adults,
        state: stay.state,
        eta: Some(stay.arrives_at),
    }
}
