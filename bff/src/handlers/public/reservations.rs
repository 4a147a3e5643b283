//! `POST /reservations/{id}/check-in`: puts a reservation in house.

use axum::extract::State;
use axum::response::Response;
use contracts::id::ReservationId;
use contracts::upstream::Upstream;
use contracts::upstream::reservation::{CheckInRequest, CheckedIn};
use service_kit::extract::Path;
use service_kit::problem::ApiResult;
use upstream_clients::IdempotentBody;

use crate::edge::permissions::Reception;
use crate::edge::{Caller, LiveSession};
use crate::mutation::{Mutation, Mutations, Request};

/// Checks a guest in.
///
/// reservation-service applies its own rules; its refusals pass through.
#[utoipa::path(
    post, path = "/reservations/{id}/check-in", tag = "reservations",
    params(("id" = ReservationId, Path, description = "The reservation."), crate::mutation::request::Headers),
    request_body = CheckInRequest,
    responses((status = 200, body = CheckedIn)),
)]
pub(crate) async fn check_in(
    _: Caller<Reception>,
    LiveSession(session): LiveSession,
    Path(reservation): Path<ReservationId>,
    State(mutations): State<Mutations>,
    request: Request,
) -> ApiResult<Response> {
    let CheckInRequest { .. } = request.read()?;
    let mutation = Mutation {
        upstream: Upstream::Reservation,
        action: "reservation.check_in",
        resource: reservation.to_string(),
        session: session.id,
        second_factor: None,
        property: None,
        effect_log: None,
    };
    mutations
        .execute(request, mutation, move |to| async move {
            let command = IdempotentBody { key: &to.key, body: to.body };
            to.upstreams.check_in(&to.context, reservation, command).await
        })
        .await
}
