//! billing: folios of guests in house, and refunds.

mod accounts;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::{get, post};
use contracts::id::{FolioId, Id, RequestId};
use contracts::money::Money;
use contracts::upstream::Upstream;
use contracts::upstream::billing::{Balances, BillingSummary, Folio, Refund, RefundRequest};
use http::StatusCode;
use serde::Serialize;
use service_kit::caller::Caller;
use service_kit::extract::{Json, Path, Query};
use service_kit::problem::ApiResult;

use super::{PropertyQuery, UpstreamContext, UpstreamState};
use crate::idempotency::{Mutation, RequestKey};

pub(crate) use accounts::{FolioSummary, Folios};

#[derive(Debug, Serialize)]
struct FolioList {
    items: Vec<FolioSummary>,
}

pub(super) fn router(context: UpstreamContext, folios: Arc<Folios>) -> Router {
    Router::new()
        .route("/api/v1/billing/summary", get(summary))
        .route("/api/v1/billing/balances", get(balances))
        .route("/api/v1/folios", get(list))
        .route("/api/v1/folios/{id}", get(folio))
        .route("/api/v1/folios/{id}/refunds", post(refund))
        .with_state(UpstreamState { context, own: folios })
}

async fn summary(
    State(state): State<UpstreamState<Folios>>,
    caller: Caller,
    Query(query): Query<PropertyQuery>,
) -> ApiResult<Json<BillingSummary>> {
    let property = state.context.property(&caller, query.property_id)?;
    Ok(Json(state.own.totals(property, state.context.env.now())))
}

async fn balances(
    State(state): State<UpstreamState<Folios>>,
    caller: Caller,
    Query(query): Query<PropertyQuery>,
) -> ApiResult<Json<Balances>> {
    let property = state.context.property(&caller, query.property_id)?;
    let (as_of, items) = (state.context.env.now(), state.own.balances(property.id));
    Ok(Json(Balances { property_id: property.id, as_of, items }))
}

async fn folio(
    State(state): State<UpstreamState<Folios>>,
    caller: Caller,
    Path(id): Path<FolioId>,
) -> ApiResult<Json<Folio>> {
    let now = state.context.env.now();
    state.own.with(&caller, id, |account| Ok(Json(account.to_wire(now))))
}

async fn list(
    State(state): State<UpstreamState<Folios>>,
    caller: Caller,
    Query(query): Query<PropertyQuery>,
) -> ApiResult<Json<FolioList>> {
    let property = state.context.property(&caller, query.property_id)?;
    Ok(Json(FolioList { items: state.own.list(Some(property.id)) }))
}

async fn refund(
    State(state): State<UpstreamState<Folios>>,
    caller: Caller,
    Path(folio): Path<FolioId>,
    mutation: Mutation<RefundRequest>,
) -> ApiResult<Response> {
    let Mutation { request_key, body } = mutation;
    let (tenant, now) = (caller.0.tenant, state.context.env.now());
    state.context.idempotency.run_once(Upstream::Billing, tenant, &request_key, now, || {
        Ok((StatusCode::CREATED, state.refund(&caller, folio, &request_key, body.amount)?))
    })
}

impl UpstreamState<Folios> {
    fn refund(
        &self,
        caller: &Caller,
        id: FolioId,
        request_key: &RequestKey,
        amount: Money,
    ) -> ApiResult<Refund> {
        let ulid: RequestId = self.context.env.new_id();
        let refund = Refund {
            refund_id: ulid.as_str().replacen(RequestId::PREFIX, "rfd", 1),
            folio_id: id,
            amount,
            refunded_at: self.context.env.now(),
        };
        self.own.with(caller, id, |account| account.pay_back(&refund))?;
        self.context.note(caller, Upstream::Billing, "folio.refunded", id.as_str(), request_key);
        Ok(refund)
    }
}
