//! billing: the folios of the guests in the house, and what is paid back to them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::{get, post};
use contracts::id::{FolioId, Id, PropertyId, RequestId, ReservationId};
use contracts::money::Money;
use contracts::problem::{Code, Problem};
use contracts::upstream::Upstream;
use contracts::upstream::billing::{Refund, RefundRequest};
use http::StatusCode;
use serde::Serialize;
use service_kit::caller::Caller;
use service_kit::extract::{Json, Path, Query};
use service_kit::problem::{ApiError, ApiResult};

use super::{OfProperty, Scene, Stage};
use crate::demo::{Folio, House};
use crate::ledger::lock;
use crate::shelf::{Mutation, Ticket};

const LONGEST_REASON: usize = 200;

static REFUND_EXCEEDS_PAID: Code =
    refused("MELMASTOON.BILLING.REFUND_EXCEEDS_PAID", "More than was paid");
static REFUND_INVALID: Code =
    refused("MELMASTOON.BILLING.REFUND_INVALID", "This cannot be refunded");

const fn refused(name: &'static str, title: &'static str) -> Code {
    Code { name, status: 422, title, retriable: false, retry_after: None, runbook: None }
}

#[derive(Debug)]
struct Account {
    folio: Folio,
    /// Millionths of the folio's currency.
    refunded: i64,
}

/// All folios by id.
#[derive(Debug)]
pub(crate) struct Folios(Mutex<BTreeMap<FolioId, Account>>);

/// A folio at this moment.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FolioSummary {
    folio_id: FolioId,
    property_id: PropertyId,
    reservation_id: ReservationId,
    guest_name: String,
    charged: Money,
    paid: Money,
    refunded: Money,
    /// What the guest owes.
    balance: Money,
}

#[derive(Debug, Serialize)]
struct FolioList {
    items: Vec<FolioSummary>,
}

impl Folios {
    pub(crate) fn of(house: &House) -> Self {
        let account = |folio: &Folio| (folio.id, Account { folio: folio.clone(), refunded: 0 });
        Self(Mutex::new(house.folios.iter().map(account).collect()))
    }

    /// Those of a property, or all.
    pub(crate) fn list(&self, property: Option<PropertyId>) -> Vec<FolioSummary> {
        let all = lock(&self.0);
        let wanted = all.values().filter(|account| {
            property.is_none_or(|property| property == account.folio.property_id)
        });
        wanted.map(Account::summary).collect()
    }
}

impl Account {
    fn summary(&self) -> FolioSummary {
        let Folio { charged, paid, .. } = &self.folio;
        let money = |amount_micro| Money { amount_micro, currency: paid.currency };
        FolioSummary {
            folio_id: self.folio.id,
            property_id: self.folio.property_id,
            reservation_id: self.folio.reservation_id,
            guest_name: self.folio.guest_name.clone(),
            charged: charged.clone(),
            paid: paid.clone(),
            refunded: money(self.refunded),
            balance: money(charged.amount_micro - paid.amount_micro + self.refunded),
        }
    }

    /// Nothing is paid back that was not paid.
    fn pay_back(&mut self, amount: &Money) -> ApiResult<()> {
        let paid = &self.folio.paid;
        if amount.amount_micro <= 0 || amount.currency != paid.currency {
            return Err(ApiError::new(
                &REFUND_INVALID,
                "Refund an amount above zero in the currency of the folio.",
            ));
        }
        if amount.amount_micro > paid.amount_micro - self.refunded {
            return Err(ApiError::new(
                &REFUND_EXCEEDS_PAID,
                "The guest has not paid that much. Refund at most what was paid and not yet refunded.",
            ));
        }
        self.refunded += amount.amount_micro;
        Ok(())
    }
}

pub(super) fn router(scene: Scene, folios: Arc<Folios>) -> Router {
    Router::new()
        .route("/api/v1/folios", get(list))
        .route("/api/v1/folios/{id}/refunds", post(refund))
        .with_state(Stage { scene, own: folios })
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
    if !(1..=LONGEST_REASON).contains(&body.reason.chars().count()) {
        let detail = "Give a reason of 1 to 200 characters.";
        return Err(Problem::field("body.reason", "INVALID", detail).into());
    }
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
        let mut all = lock(&self.own.0);
        let own = all.get_mut(&id).filter(|account| account.folio.tenant_id == caller.0.tenant);
        let account = own.ok_or_else(ApiError::not_found)?;
        caller.require(account.folio.property_id)?;
        account.pay_back(&amount)?;
        self.scene.note(caller, (Upstream::Billing, "folio.refunded"), id.as_str(), ticket);
        let ulid = RequestId::generate(&self.scene.clock, &self.scene.entropy);
        Ok(Refund {
            refund_id: ulid.as_str().replacen(RequestId::PREFIX, "rfd", 1),
            folio_id: id,
            amount,
            refunded_at: self.scene.clock.now(),
        })
    }
}
