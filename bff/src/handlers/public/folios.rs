//! `GET /folios/{id}` and `POST /folios/{id}/refunds`: a stay's folio and its refunds.

use axum::extract::State;
use axum::response::Response;
use composer::read_policy::ReadPolicy;
use contracts::id::{AttestationId, FolioId};
use contracts::upstream::Upstream;
use contracts::upstream::billing::{Folio, Refund, RefundRequest};
use service_kit::extract::Path;
use service_kit::problem::ApiResult;
use upstream_clients::IdempotentBody;

use crate::edge::permissions::{Reception, RefundFolio};
use crate::edge::{Caller, LiveSession};
use crate::mutation::attestation::{FolioRefund, Presented};
use crate::mutation::{Mutation, Mutations, Request};
use crate::reads::cached_read::Reads;

/// Short, because a charge must show at once.
static FOLIO: ReadPolicy =
    ReadPolicy::new("folio", Upstream::Billing, 500).fresh_secs(2).stale_secs(300);

/// Charges, payments and refunds of a stay.
#[utoipa::path(
    get, path = "/folios/{id}", tag = "folios",
    params(("id" = FolioId, Path, description = "The folio.")),
    responses((status = 200, body = Folio), (status = 304)),
)]
pub(crate) async fn get_folio(
    _: Caller<Reception>,
    Path(folio): Path<FolioId>,
    reads: Reads,
) -> ApiResult<Response> {
    let key = reads.key_of(&FOLIO, folio);
    reads
        .serve_keyed(&FOLIO, key, move |to, context| async move { to.folio(&context, folio).await })
        .await
}

/// Refunds part of a folio.
///
/// billing decides what may be refunded; its refusals pass through.
#[utoipa::path(
    post, path = "/folios/{id}/refunds", tag = "folios",
    params(("id" = FolioId, Path, description = "The folio."), crate::mutation::request::Headers,
        ("X-MFA-Attestation" = AttestationId, Header, description = "From step-up, for `folio.refund`.")),
    request_body = RefundRequest,
    responses((status = 201, body = Refund)),
)]
pub(crate) async fn refund(
    _: Caller<RefundFolio>,
    LiveSession(session): LiveSession,
    attestation: Presented<FolioRefund>,
    Path(folio): Path<FolioId>,
    State(mutations): State<Mutations>,
    request: Request,
) -> ApiResult<Response> {
    let RefundRequest { .. } = request.read()?;
    let mutation = Mutation {
        upstream: Upstream::Billing,
        action: "folio.refund",
        resource: folio.to_string(),
        session: session.id,
        second_factor: Some(attestation.into()),
        property: None,
        effect_log: None,
    };
    mutations
        .execute(request, mutation, move |to| async move {
            let command = IdempotentBody { key: &to.key, body: to.body };
            to.upstreams.refund(&to.context, folio, command).await
        })
        .await
}
