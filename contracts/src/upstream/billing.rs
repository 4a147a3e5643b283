//! billing: `POST /api/v1/folios/{id}/refunds`, 201.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::id::FolioId;
use crate::money::Money;

/// What is paid back, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RefundRequest {
    pub amount: Money,
    pub reason: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Refund {
    /// billing's own.
    pub refund_id: String,
    pub folio_id: FolioId,
    pub amount: Money,
    #[serde(with = "crate::clock::wire")]
    #[schema(value_type = String, format = DateTime)]
    pub refunded_at: Timestamp,
}
