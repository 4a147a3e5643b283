//! billing: its routes. Response types are in `contracts::upstream::billing`.

use contracts::id::{FolioId, PropertyId};
use contracts::upstream::Upstream;
use contracts::upstream::billing::{Balances, BillingSummary, Folio, Refund};

use super::{CallResult, Upstreams, property_query};
use crate::call_stack::Reply;
use crate::context::CallContext;
use crate::request::IdempotentBody;

impl Upstreams {
    pub async fn billing_summary(
        &self,
        context: &CallContext,
        property: PropertyId,
    ) -> CallResult<BillingSummary> {
        let path = "/api/v1/billing/summary";
        self.stack(Upstream::Billing)?.get(context, path, &property_query(property)).await
    }

    /// The balance of each open folio of the property.
    pub async fn balances(
        &self,
        context: &CallContext,
        property: PropertyId,
    ) -> CallResult<Balances> {
        let path = "/api/v1/billing/balances";
        self.stack(Upstream::Billing)?.get(context, path, &property_query(property)).await
    }

    pub async fn folio(&self, context: &CallContext, folio: FolioId) -> CallResult<Folio> {
        let path = format!("/api/v1/folios/{folio}");
        self.stack(Upstream::Billing)?.get(context, &path, &[("", ""); 0]).await
    }

    /// Refunds a payment. The body of `command` is a `RefundRequest`.
    pub async fn refund(
        &self,
        context: &CallContext,
        folio: FolioId,
        command: IdempotentBody<'_>,
    ) -> CallResult<Reply<Refund>> {
        let path = format!("/api/v1/folios/{folio}/refunds");
        self.stack(Upstream::Billing)?.post(context, &command.call(&path)).await
    }
}
