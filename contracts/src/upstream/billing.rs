//! billing: `GET /api/v1/billing/summary?propertyId=`, `GET /api/v1/billing/balances?propertyId=`,
//! `GET /api/v1/folios/{id}`, and `POST /api/v1/folios/{id}/refunds`, 201.

use garde::Validate;

use serde::{Deserialize, Serialize};

use crate::clock::wire;
use crate::id::{FolioId, PropertyId, ReservationId};
use crate::money::Money;
use crate::rules::not_blank;
use crate::text::Reason;

/// What the guests of a property owe, in numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BillingSummary {
    pub property_id: PropertyId,
    pub as_of: wire::Timestamp,
    pub open_folios: u32,
    /// Open folios with a balance above zero, summed by currency.
    pub outstanding: Vec<Money>,
    /// Of those, the ones of guests who leave today or should have left.
    pub due_today: Vec<Money>,
    /// How many folios `dueToday` is the sum of.
    pub folios_due_today: u32,
}

stamped!(BillingSummary);

/// What each open folio comes to, for lists of stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Balances {
    pub property_id: PropertyId,
    pub as_of: wire::Timestamp,
    pub items: Vec<FolioBalance>,
}

stamped!(Balances);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FolioBalance {
    pub folio_id: FolioId,
    pub reservation_id: ReservationId,
    /// What the guest owes; below zero, what the guest has paid ahead.
    pub balance: Money,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum FolioState {
    Open,
    Closed,
}

/// The account of one stay: `balance` = `charged` − `paid` + `refunded`, each the sum of its list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Folio {
    pub folio_id: FolioId,
    pub property_id: PropertyId,
    pub as_of: wire::Timestamp,
    pub reservation_id: ReservationId,
    pub guest_name: String,
    pub state: FolioState,
    pub opened_at: wire::Timestamp,
    /// By day.
    pub charges: Vec<FolioCharge>,
    /// In the order they were made.
    pub payments: Vec<FolioPayment>,
    /// In the order they were made.
    pub refunds: Vec<Refund>,
    pub charged: Money,
    pub paid: Money,
    pub refunded: Money,
    /// What the guest owes; below zero, what the guest has paid ahead.
    pub balance: Money,
}

stamped!(Folio);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FolioCharge {
    /// billing's own.
    pub charge_id: String,
    /// The business day it belongs to.
    pub date: wire::Date,
    pub description: String,
    pub amount: Money,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PaymentMethod {
    Cash,
    Card,
    BankTransfer,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FolioPayment {
    /// billing's own.
    pub payment_id: String,
    pub method: PaymentMethod,
    pub amount: Money,
    pub paid_at: wire::Timestamp,
}

/// What is paid back, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Validate, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RefundRequest {
    #[garde(skip)]
    pub amount: Money,
    /// For the folio and the audit.
    #[schema(value_type = String, min_length = 1, max_length = 200)]
    #[garde(custom(not_blank))]
    pub reason: Reason,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Refund {
    /// billing's own.
    pub refund_id: String,
    pub folio_id: FolioId,
    pub amount: Money,
    pub refunded_at: wire::Timestamp,
}
