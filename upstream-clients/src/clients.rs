//! The typed clients. One function per route of an upstream; its file in
//! `contracts::upstream` says what the route answers.

use bytes::Bytes;
use contracts::id::{FolioId, OperatorId, PropertyId, ReservationId, TenantId};
use contracts::upstream::Upstream;
use contracts::upstream::analytics::Kpis;
use contracts::upstream::billing::Refund;
use contracts::upstream::housekeeping::{RoomStatuses, Summary};
use contracts::upstream::iam::{
    AttestRequest, Attested, RefreshRequest, SignOutRequest, TokenResponse,
};
use contracts::upstream::inventory::Availability;
use contracts::upstream::notification::Alerts;
use contracts::upstream::pricing::RateSnapshot;
use contracts::upstream::reservation::{CheckedIn, Stays};
use contracts::upstream::staff::OnDuty;
use contracts::upstream::tenant::OperatorProfile;
use jiff::civil::Date;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::call_stack::{Call, CallStack, Limits, Reply};
use crate::error::CallError;
use crate::transport::{Connector, TransportError};
use crate::{BaseUrls, CallContext, property_query};

type Called<T> = Result<T, CallError>;

/// All upstreams of the gateway.
#[derive(Debug)]
pub struct Upstreams {
    stacks: std::collections::BTreeMap<Upstream, CallStack>,
}

impl Upstreams {
    /// Connections are kept per upstream.
    pub fn new(
        base_urls: &BaseUrls,
        limits: fn(Upstream) -> Limits,
    ) -> Result<Self, TransportError> {
        let connector = Connector::new()?;
        let stack = |(upstream, base): (&Upstream, &url::Url)| {
            let limits = limits(*upstream);
            (*upstream, CallStack::new(*upstream, base.clone(), connector.clone(), limits))
        };
        Ok(Self { stacks: base_urls.iter().map(stack).collect() })
    }

    fn stack(&self, upstream: Upstream) -> Called<&CallStack> {
        self.stacks.get(&upstream).ok_or(CallError::NotConfigured)
    }

    /// Rooms by type and night, from the first night up to the day after the last. Left out:
    /// from today in the property's time zone, for a fortnight.
    pub async fn availability(
        &self,
        context: &CallContext,
        property: PropertyId,
        (from, to): (Option<Date>, Option<Date>),
    ) -> Called<Availability> {
        let path = format!("/api/v1/inventory/properties/{property}/availability");
        let query = [("from", from), ("to", to)];
        self.stack(Upstream::Inventory)?.get(context, &path, &query).await
    }

    pub async fn housekeeping_summary(
        &self,
        context: &CallContext,
        property: PropertyId,
    ) -> Called<Summary> {
        let path = "/api/v1/housekeeping/summary";
        self.stack(Upstream::Housekeeping)?.get(context, path, &property_query(property)).await
    }

    pub async fn room_statuses(
        &self,
        context: &CallContext,
        property: PropertyId,
    ) -> Called<RoomStatuses> {
        let path = "/api/v1/housekeeping/rooms/status";
        self.stack(Upstream::Housekeeping)?.get(context, path, &property_query(property)).await
    }

    pub async fn on_duty(&self, context: &CallContext, property: PropertyId) -> Called<OnDuty> {
        let path = "/api/v1/staff/on-duty";
        self.stack(Upstream::Staff)?.get(context, path, &property_query(property)).await
    }

    /// Who arrives on that day; left out, today in the property's time zone.
    pub async fn arrivals(
        &self,
        context: &CallContext,
        property: PropertyId,
        date: Option<Date>,
    ) -> Called<Stays> {
        let query = (("propertyId", property), ("date", date));
        self.stack(Upstream::Reservation)?
            .get(context, "/api/v1/reservations/arrivals", &query)
            .await
    }

    pub async fn rate_snapshot(
        &self,
        context: &CallContext,
        property: PropertyId,
    ) -> Called<RateSnapshot> {
        let path = "/v1/pricing/rate-snapshot";
        self.stack(Upstream::Pricing)?.get(context, path, &property_query(property)).await
    }

    pub async fn alerts(&self, context: &CallContext, property: PropertyId) -> Called<Alerts> {
        self.stack(Upstream::Notification)?
            .get(context, "/api/v1/alerts", &property_query(property))
            .await
    }

    pub async fn kpis(&self, context: &CallContext, property: PropertyId) -> Called<Kpis> {
        self.stack(Upstream::Analytics)?
            .get(context, "/api/v1/analytics/kpis", &property_query(property))
            .await
    }

    /// A new pair of tokens. `context` must carry the gateway's own credentials.
    pub async fn refresh(
        &self,
        context: &CallContext,
        request: &RefreshRequest,
    ) -> Called<TokenResponse> {
        self.ask_iam(context, "/api/v1/auth/refresh", request).await
    }

    /// Ends the caller's session.
    pub async fn sign_out(&self, context: &CallContext, request: &SignOutRequest) -> Called<()> {
        self.ask_iam(context, "/api/v1/auth/sign-out", request).await
    }

    /// Checks the caller's second factor, once.
    pub async fn attest(&self, context: &CallContext, request: &AttestRequest) -> Called<Attested> {
        self.ask_iam(context, "/api/v1/auth/mfa/attest", request).await
    }

    async fn ask_iam<T: DeserializeOwned>(
        &self,
        context: &CallContext,
        path: &str,
        request: &impl Serialize,
    ) -> Called<T> {
        let body = serde_json::to_vec(request).expect("requests are plain JSON").into();
        let call = Call { path, body, idempotency_key: None };
        Ok(self.stack(Upstream::Iam)?.post(context, &call).await?.value)
    }

    /// Who the operator is to the tenant.
    pub async fn operator(
        &self,
        context: &CallContext,
        tenant: TenantId,
        operator: OperatorId,
    ) -> Called<OperatorProfile> {
        let path = format!("/api/v1/tenants/{tenant}/operators/{operator}");
        self.stack(Upstream::Tenant)?.get(context, &path, &[("", ""); 0]).await
    }

    /// Puts the reservation in house. `body` is a `CheckInRequest`.
    pub async fn check_in(
        &self,
        context: &CallContext,
        reservation: ReservationId,
        (key, body): (&str, Bytes),
    ) -> Called<Reply<CheckedIn>> {
        let path = format!("/api/v1/reservations/{reservation}/check-in");
        let call = Call { path: &path, body, idempotency_key: Some(key) };
        self.stack(Upstream::Reservation)?.post(context, &call).await
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
