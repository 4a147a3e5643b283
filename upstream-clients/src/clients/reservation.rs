//! reservation: its command. Response types are in `contracts::upstream::reservation`.

use contracts::id::ReservationId;
use contracts::upstream::Upstream;
use contracts::upstream::reservation::CheckedIn;

use super::{CallResult, Upstreams};
use crate::call_stack::Reply;
use crate::context::CallContext;
use crate::request::IdempotentBody;

impl Upstreams {
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
