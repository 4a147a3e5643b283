//! reservation: who comes, who goes, who is here; and the check-in that makes the first the last.
//! Whether a room is free and clean is inventory's and housekeeping's to say.

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

use super::{Folios, Scene, Stage};
use crate::demo::{House, Property, Reservation};
use crate::shelf::{Mutation, Ticket};

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

/// All reservations, as the desks of the house see them.
#[derive(Debug)]
struct Book {
    stays: RwLock<BTreeMap<ReservationId, Reservation>>,
    /// Where a guest who comes gets a folio.
    folios: Arc<Folios>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct OfDay {
    property_id: PropertyId,
    /// Today at the property when absent.
    date: Option<Date>,
}

/// Which stays of a day are asked for, and in which order they are listed.
#[derive(Debug, Clone, Copy)]
enum List {
    Arrivals,
    Departures,
    InHouse,
}

pub(super) fn router(scene: Scene, folios: Arc<Folios>) -> Router {
    let stays = scene.house.reservations.iter().map(|stay| (stay.id, stay.clone())).collect();
    let stage = Stage { scene, own: Arc::new(Book { stays: RwLock::new(stays), folios }) };
    Router::new()
        .route("/api/v1/reservations/arrivals", get(arrivals))
        .route("/api/v1/reservations/departures", get(departures))
        .route("/api/v1/reservations/in-house", get(in_house))
        .route("/api/v1/reservations/{id}/check-in", post(check_in))
        .with_state(stage)
}

async fn arrivals(
    State(stage): State<Stage<Book>>,
    caller: Caller,
    Query(of): Query<OfDay>,
) -> ApiResult<Json<Stays>> {
    stage.list(&caller, &of, List::Arrivals)
}

async fn departures(
    State(stage): State<Stage<Book>>,
    caller: Caller,
    Query(of): Query<OfDay>,
) -> ApiResult<Json<Stays>> {
    stage.list(&caller, &of, List::Departures)
}

async fn in_house(
    State(stage): State<Stage<Book>>,
    caller: Caller,
    Query(of): Query<OfDay>,
) -> ApiResult<Json<Stays>> {
    stage.list(&caller, &of, List::InHouse)
}

async fn check_in(
    State(stage): State<Stage<Book>>,
    caller: Caller,
    Path(id): Path<ReservationId>,
    Mutation { ticket, body }: Mutation<CheckInRequest>,
) -> ApiResult<Response> {
    let scope = (Upstream::Reservation, caller.0.tenant);
    stage.scene.shelf.once(scope, &ticket, stage.scene.clock.now(), || {
        Ok((StatusCode::OK, stage.check_in(&caller, id, &ticket, body)?))
    })
}

impl Stage<Book> {
    fn check_in(
        &self,
        caller: &Caller,
        id: ReservationId,
        ticket: &Ticket,
        request: CheckInRequest,
    ) -> ApiResult<CheckedIn> {
        let mut book = self.own.stays.write().unwrap_or_else(PoisonError::into_inner);
        let stay = book.get_mut(&id).ok_or_else(ApiError::not_found)?;
        let property = self.scene.property(caller, stay.property_id)?;
        let now = self.scene.clock.now();
        let today = property.today(now);
        if stay.state != ReservationState::Confirmed || !stay.spends(today) {
            return Err(ApiError::new(
                &NOT_ARRIVING,
                "Only a confirmed reservation of today can be checked in. Look at the arrivals again.",
            ));
        }
        let room_id = self.room(property, request.room_id.or(stay.room_id))?;
        (stay.state, stay.room_id) = (ReservationState::InHouse, Some(room_id));
        self.own.folios.open(property, stay, now);
        let action = (Upstream::Reservation, "reservation.checked_in");
        self.scene.note(caller, action, id.as_str(), ticket);
        Ok(CheckedIn { reservation_id: id, state: stay.state, room_id, checked_in_at: now })
    }

    fn room(&self, property: &Property, wanted: Option<RoomId>) -> ApiResult<RoomId> {
        let room = wanted.and_then(|id| self.scene.house.room(id));
        let own = room.filter(|room| room.property_id == property.id && room.closed.is_none());
        let required = || {
            ApiError::new(
                &ROOM_REQUIRED,
                "The reservation needs a room of this property that is not closed. Send roomId.",
            )
        };
        own.map(|room| room.id).ok_or_else(required)
    }

    fn list(&self, caller: &Caller, of: &OfDay, list: List) -> ApiResult<Json<Stays>> {
        let property = self.scene.property(caller, of.property_id)?;
        let now = self.scene.clock.now();
        let today = property.today(now);
        let date = of.date.unwrap_or(today);
        let mut stays = self.own.stays(property, |stay| list.holds(stay, date, today));
        list.sort(&mut stays);
        let items = stays.iter().map(|stay| stay_on_the_wire(&self.scene.house, stay)).collect();
        Ok(Json(Stays { property_id: property.id, date, as_of: now, items }))
    }
}

impl Book {
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
            // Today is what the desk knows; another day is what the book says.
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

fn stay_on_the_wire(house: &House, stay: &Reservation) -> Stay {
    let room = stay.room_id.and_then(|id| house.room(id));
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
