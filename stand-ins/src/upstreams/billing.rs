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
use service_kit::extract::{Json, Path};
use service_kit::problem::ApiResult;

use super::{Platform, PropertyRead, UpstreamState};
use crate::idempotency::{Mutation, RequestKey};

pub(crate) use accounts::{FolioSummary, Folios};

#[derive(Debug, Serialize)]
struct FolioList {
    items: Vec<FolioSummary>,
}

pub(super) fn routes() -> Router<UpstreamState> {
    Router::new()
        .route("/api/v1/billing/summary", get(summary))
        .route("/api/v1/billing/balances", get(balances))
        .route("/api/v1/folios", get(list))
        .route("/api/v1/folios/{id}", get(folio))
        .route("/api/v1/folios/{id}/refunds", post(refund))
}

async fn summary(PropertyRead { platform, property, now }: PropertyRead) -> Json<BillingSummary> {
    Json(platform.folios.totals(&property, now))
}

async fn balances(PropertyRead { platform, property, now }: PropertyRead) -> Json<Balances> {
    let items = platform.folios.balances(property.id);
    Json(Balances { property_id: property.id, as_of: now.into(), items })
}

async fn folio(
    State(platform): State<Arc<Platform>>,
    caller: Caller,
    Path(id): Path<FolioId>,
) -> ApiResult<Json<Folio>> {
    let now = platform.env.now();
    platform.folios.with(&caller, id, |account| Ok(Json(account.to_wire(now))))
}

async fn list(PropertyRead { platform, property, .. }: PropertyRead) -> Json<FolioList> {
    Json(FolioList { items: platform.folios.list(Some(property.id)) })
}

async fn refund(
    State(platform): State<Arc<Platform>>,
    caller: Caller,
    Path(folio): Path<FolioId>,
    mutation: Mutation<RefundRequest>,
) -> ApiResult<Response> {
    let Mutation { request_key, body } = mutation;
    let (tenant, now) = (caller.0.tenant, platform.env.now());
    platform.idempotency.run_once(Upstream::Billing, tenant, &request_key, now, || {
        Ok((StatusCode::CREATED, platform.refund(&caller, folio, &request_key, body.amount)?))
    })
}

impl Platform {
    fn refund(
        &self,
        caller: &Caller,
        id: FolioId,
        request_key: &RequestKey,
        amount: Money,
    ) -> ApiResult<Refund> {
        let ulid: RequestId = self.env.new_id();
        let refund = Refund {
            refund_id: ulid.as_str().replacen(RequestId::PREFIX, "rfd", 1),
            folio_id: id,
            amount,
            refunded_at: self.env.now().into(),
        };
        self.folios.with(caller, id, |account| account.pay_back(&refund))?;
        self.note(caller, Upstream::Billing, "folio.refunded", id.as_str(), request_key);
        Ok(refund)
    }
}
