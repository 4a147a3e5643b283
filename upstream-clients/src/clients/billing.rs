//! billing: its routes, whose answers are in `contracts::upstream::billing`.

use bytes::Bytes;
use contracts::id::{FolioId, PropertyId};
use contracts::upstream::Upstream;
use contracts::upstream::billing::{Balances, BillingSummary, Folio, Refund};

use super::{Called, Upstreams};
use crate::call_stack::{Call, Reply};
use crate::{CallContext, property_query};

impl Upstreams {
    pub async fn billing_summary(
        &self,
        context: &CallContext,
        property: PropertyId,
    ) -> Called<BillingSummary> {
        let path = "/api/v1/billing/summary";
        self.stack(Upstream::Billing)?.get(context, path, &property_query(property)).await
    }

    /// What each open folio of the property comes to.
    pub async fn balances(&self, context: &CallContext, property: PropertyId) -> Called<Balances> {
        let path = "/api/v1/billing/balances";
        self.stack(Upstream::Billing)?.get(context, path, &property_query(property)).await
    }

    pub async fn folio(&self, context: &CallContext, folio: FolioId) -> Called<Folio> {
        let path = format!("/api/v1/folios/{folio}");
        self.stack(Upstream::Billing)?.get(context, &path, &[("", ""); 0]).await
    }

    /// Pays back. `body` is a `RefundRequest`.
    pub async fn refund(
        &self,
        context: &CallContext,
        folio: FolioId,
        (key, body): (&str, Bytes),
    ) -> Called<Reply<Refund>> {
        let path = format!("/api/v1/folios/{folio}/refunds");
        let call = Call { path: &path, body, idempotency_key: Some(key) };
        self.stack(Upstream::Billing)?.post(context, &call).await
    }
}
