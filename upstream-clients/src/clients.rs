//! The typed clients. One function per route of an upstream; its file in
//! `contracts::upstream` says what the route answers.

use std::time::Duration;

use contracts::id::PropertyId;
use contracts::upstream::Upstream;
use contracts::upstream::analytics::Kpis;
use contracts::upstream::housekeeping::{RoomStatuses, Summary};
use contracts::upstream::inventory::Availability;
use contracts::upstream::notification::Alerts;
use contracts::upstream::pricing::RateSnapshot;
use contracts::upstream::reservation::Stays;
use contracts::upstream::staff::OnDuty;

use crate::call_stack::{CallStack, Limits};
use crate::error::CallError;
use crate::{BaseUrls, CallContext, property_query};

type Called<T> = Result<T, CallError>;

/// All upstreams of the gateway.
#[derive(Debug)]
pub struct Upstreams {
    stacks: std::collections::BTreeMap<Upstream, CallStack>,
}

impl Upstreams {
    /// One client for all: connections are pooled per upstream address.
    pub fn new(
        base_urls: &BaseUrls,
        limits: fn(Upstream) -> Limits,
    ) -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_millis(300))
            .pool_idle_timeout(Duration::from_secs(30))
            .pool_max_idle_per_host(64)
            .tcp_nodelay(true)
            .build()?;
        let stack = |(upstream, base): (&Upstream, &url::Url)| {
            (*upstream, CallStack::new(*upstream, base.clone(), client.clone(), limits(*upstream)))
        };
        Ok(Self { stacks: base_urls.iter().map(stack).collect() })
    }

    fn stack(&self, upstream: Upstream) -> Called<&CallStack> {
        self.stacks.get(&upstream).ok_or(CallError::NotConfigured)
    }

    /// Rooms by type and night for the next fortnight.
    pub async fn availability(
        &self,
        context: &CallContext,
        property: PropertyId,
    ) -> Called<Availability> {
        let path = format!("/api/v1/inventory/properties/{property}/availability");
        self.stack(Upstream::Inventory)?.get(context, &path, &[("", ""); 0]).await
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

    pub async fn arrivals(&self, context: &CallContext, property: PropertyId) -> Called<Stays> {
        let path = "/api/v1/reservations/arrivals";
        self.stack(Upstream::Reservation)?.get(context, path, &property_query(property)).await
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
}
