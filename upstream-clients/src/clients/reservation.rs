//! reservation: its routes. Response types are in `contracts::upstream::reservation`.

use contracts::id::{PropertyId, ReservationId};
use contracts::upstream::Upstream;
use contracts::upstream::reservation::{CheckedIn, Stays};
use jiff::civil::Date;

use super::{CallResult, Upstreams};
use crate::call_stack::Reply;
use crate::context::CallContext;
use crate::request::IdempotentBody;

impl Upstreams {
    /// Arrivals of the day; by default today in the property's time zone.
    pub async fn arrivals(
        &self,
        context: &CallContext,
        property: PropertyId,
        date: Option<Date>,
    ) -> CallResult<Stays> {
        self.stays(context, "/api/v1/reservations/arrivals", property, date).await
    }

    /// Departures of the day; by default today in the property's time zone.
    pub async fn departures(
        &self,
        context: &CallContext,
        property: PropertyId,
        date: Option<Date>,
    ) -> CallResult<Stays> {
        self.stays(context, "/api/v1/reservations/departures", property, date).await
    }

    /// Guests in house on the day; by default now.
    pub async fn in_house(
        &self,
        context: &CallContext,
        property: PropertyId,
        date: Option<Date>,
    ) -> CallResult<Stays> {
        self.stays(context, "/api/v1/reservations/in-house", property, date).await
    }

    async fn stays(
        &self,
        context: &CallContext,
        path: &str,
        property: PropertyId,
        date: Option<Date>,
    ) -> CallResult<Stays> {
        let query = (("propertyId", property), ("date", date));
        self.stack(Upstream::Reservation)?.get(context, path, &query).await
    }

    /// Checks a reservation in. The body of `command` is a `CheckInRequest`.
    pub async fn check_in(
        &self,
        context: &CallContext,
        reservation: ReservationId,
        command: IdempotentBody<'_>,
    ) -> CallResult<Reply<CheckedIn>> {
        let path = format!("/api/v1/reservations/{reservation}/check-in");
        self.stack(Upstream::Reservation)?.post(context, &command.call(&path)).await
    }
}
