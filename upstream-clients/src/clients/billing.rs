//! billing: its routes. Response types are in `contracts::upstream::billing`.

use contracts::id::FolioId;
use contracts::upstream::Upstream;
use contracts::upstream::billing::{Folio, Refund};

use super::{CallResult, Upstreams};
use crate::call_stack::Reply;
use crate::context::CallContext;
use crate::request::IdempotentBody;

impl Upstreams {
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
