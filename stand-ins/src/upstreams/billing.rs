//! billing: the folios of the guests in the house, and what is paid back to them.

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

use super::{OfProperty, Scene, Stage};
use crate::shelf::{Mutation, Ticket};

pub(crate) use accounts::{FolioSummary, Folios};

#[derive(Debug, Serialize)]
struct FolioList {
    items: Vec<FolioSummary>,
}

pub(super) fn router(scene: Scene, folios: Arc<Folios>) -> Router {
    Router::new()
        .route("/api/v1/billing/summary", get(summary))
        .route("/api/v1/billing/balances", get(balances))
        .route("/api/v1/folios", get(list))
        .route("/api/v1/folios/{id}", get(folio))
        .route("/api/v1/folios/{id}/refunds", post(refund))
        .with_state(Stage { scene, own: folios })
}

async fn summary(
    State(stage): State<Stage<Folios>>,
    caller: Caller,
    Query(of): Query<OfProperty>,
) -> ApiResult<Json<BillingSummary>> {
    let property = stage.scene.property(&caller, of.property_id)?;
    Ok(Json(stage.own.totals(property, stage.scene.clock.now())))
}

async fn balances(
    State(stage): State<Stage<Folios>>,
    caller: Caller,
    Query(of): Query<OfProperty>,
) -> ApiResult<Json<Balances>> {
    let property = stage.scene.property(&caller, of.property_id)?;
    let (as_of, items) = (stage.scene.clock.now(), stage.own.balances(property.id));
    Ok(Json(Balances { property_id: property.id, as_of, items }))
}

async fn folio(
    State(stage): State<Stage<Folios>>,
    caller: Caller,
    Path(id): Path<FolioId>,
) -> ApiResult<Json<Folio>> {
    let now = stage.scene.clock.now();
    stage.own.with(&caller, id, |account| Ok(Json(account.whole(now))))
}

async fn list(
    State(stage): State<Stage<Folios>>,
    caller: Caller,
    Query(of): Query<OfProperty>,
) -> ApiResult<Json<FolioList>> {
    let property = stage.scene.property(&caller, of.property_id)?;
    Ok(Json(FolioList { items: stage.own.list(Some(property.id)) }))
}

async fn refund(
    State(stage): State<Stage<Folios>>,
    caller: Caller,
    Path(folio): Path<FolioId>,
    mutation: Mutation<RefundRequest>,
) -> ApiResult<Response> {
    let Mutation { ticket, body } = mutation;
    let scope = (Upstream::Billing, caller.0.tenant);
    stage.scene.shelf.once(scope, &ticket, stage.scene.clock.now(), || {
        Ok((StatusCode::CREATED, stage.refund(&caller, folio, &ticket, body.amount)?))
    })
}

impl Stage<Folios> {
    fn refund(
        &self,
        caller: &Caller,
        id: FolioId,
        ticket: &Ticket,
        amount: Money,
    ) -> ApiResult<Refund> {
        let ulid = RequestId::generate(&self.scene.clock, &self.scene.entropy);
        let refund = Refund {
            refund_id: ulid.as_str().replacen(RequestId::PREFIX, "rfd", 1),
            folio_id: id,
            amount,
            refunded_at: self.scene.clock.now(),
        };
        self.own.with(caller, id, |account| account.pay_back(&refund))?;
        self.scene.note(caller, (Upstream::Billing, "folio.refunded"), id.as_str(), ticket);
        Ok(refund)
    }
}
