//! reservation: its routes, whose answers are in `contracts::upstream::reservation`.

use bytes::Bytes;
use contracts::id::{PropertyId, ReservationId};
use contracts::upstream::Upstream;
use contracts::upstream::reservation::{CheckedIn, Stays};
use jiff::civil::Date;

use super::{Called, Upstreams};
use crate::CallContext;
use crate::call_stack::{Call, Reply};

impl Upstreams {
    /// Who arrives on that day; left out, today in the property's time zone.
    pub async fn arrivals(
        &self,
        context: &CallContext,
        property: PropertyId,
        date: Option<Date>,
    ) -> Called<Stays> {
        self.stays(context, "/api/v1/reservations/arrivals", (property, date)).await
    }

    /// Who leaves on that day; left out, today in the property's time zone.
    pub async fn departures(
        &self,
        context: &CallContext,
        property: PropertyId,
        date: Option<Date>,
    ) -> Called<Stays> {
        self.stays(context, "/api/v1/reservations/departures", (property, date)).await
    }

    /// Who is in the house on that day; left out, now.
    pub async fn in_house(
        &self,
        context: &CallContext,
        property: PropertyId,
        date: Option<Date>,
    ) -> Called<Stays> {
        self.stays(context, "/api/v1/reservations/in-house", (property, date)).await
    }

    async fn stays(
        &self,
        context: &CallContext,
        path: &str,
        (property, date): (PropertyId, Option<Date>),
    ) -> Called<Stays> {
        let query = (("propertyId", property), ("date", date));
        self.stack(Upstream::Reservation)?.get(context, path, &query).await
    }

    /// Puts the reservation in house. `body` is a `CheckInRequest`.
    pub async fn check_in(
        &self,
        context: &CallContext,
        reservation: ReservationId,
        (key, body): (&str, Bytes),
    ) -> Called<Reply<CheckedIn>> {
        let path = format!("/api/v1/reservations/{reservation}/check-in");
        let call = Call { path: &path, body, idempotency_key: Some(key) };
        self.stack(Upstream::Reservation)?.post(context, &call).await
    }
}
