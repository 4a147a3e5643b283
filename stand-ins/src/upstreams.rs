//! The upstreams other than iam. Each serves the implemented routes from its part of the demo data
//! and answers 501 to all others.

mod ai;
mod analytics;
mod audit;
mod billing;
mod lock;
mod maintenance;
mod notification;
pub(crate) mod pass_through;
mod pricing;
mod property;
mod reservation;
pub(crate) mod sync;
mod tenant;

use std::sync::Arc;

use axum::Router;
use axum::extract::{FromRef, FromRequestParts};
use axum::routing::{MethodRouter, get};
use contracts::env::Env;
use contracts::id::PropertyId;
use contracts::problem::Code;
use contracts::upstream::Upstream;
use http::request::Parts;
use jiff::Timestamp;
use serde::Deserialize;
use service_kit::caller::{Caller, Callers};
use service_kit::extract::PropertyQuery;
use service_kit::problem::{ApiError, ApiResult};

use crate::demo::{DemoData, Property};
use crate::effects::{Effect, Effects};
use crate::idempotency::{IdempotencyStore, RequestKey};
use crate::refusal::refusal;

pub(crate) use billing::{FolioSummary, Folios};
pub(crate) use lock::Keyring;
pub(crate) use reservation::Reservations;
pub(crate) use sync::Cursors;
pub(crate) use tenant::TenantStatuses;

static NOT_PLAYED: Code =
    refusal(501, "MELMASTOON.STAND_INS.NOT_PLAYED", "The stand-in does not implement this route");

/// Items of a list that is limited.
const MAX_LISTED: usize = 100;

/// State of all upstreams.
#[derive(Debug)]
pub(crate) struct Platform {
    pub(crate) demo: DemoData,
    pub(crate) env: Env,
    pub(crate) effects: Effects,
    pub(crate) idempotency: IdempotencyStore,
    pub(crate) tenant_statuses: TenantStatuses,
    pub(crate) reservations: Reservations,
    pub(crate) folios: Folios,
    pub(crate) keys: Keyring,
    pub(crate) cursors: Cursors,
}

impl Platform {
    /// `sync_url` is the URL of the sync stand-in.
    pub(crate) fn new(env: Env, sync_url: String) -> Self {
        let demo = DemoData::at(env.now());
        Self {
            effects: Effects::default(),
            idempotency: IdempotencyStore::default(),
            tenant_statuses: TenantStatuses::default(),
            reservations: Reservations::of(&demo),
            folios: Folios::of(&demo),
            keys: Keyring::of(&demo),
            cursors: Cursors::new(sync_url),
            demo,
            env,
        }
    }

    /// Finds the property; 404 if it belongs to another tenant, 403 if it is outside the caller's scope.
    fn property(&self, caller: &Caller, id: PropertyId) -> ApiResult<&Property> {
        let found = self.demo.property(id);
        let own = found.filter(|property| property.tenant_id == caller.0.tenant);
        let own = own.ok_or_else(ApiError::not_found)?;
        caller.require(id)?;
        Ok(own)
    }

    /// Records the effect of a caller's mutation.
    fn note(
        &self,
        caller: &Caller,
        upstream: Upstream,
        action: &'static str,
        subject: &str,
        request_key: &RequestKey,
    ) {
        self.effects.record(Effect {
            at: self.env.now().into(),
            upstream,
            tenant_id: caller.0.tenant,
            action,
            subject: subject.to_owned(),
            idempotency_key: Some(request_key.key.clone()),
            operator_id: Some(caller.0.operator),
        });
    }
}

/// Router state of an upstream.
#[derive(Debug, Clone, FromRef)]
pub(crate) struct UpstreamState {
    pub(crate) platform: Arc<Platform>,
    /// Who may call this upstream.
    pub(crate) callers: Callers,
}

#[derive(Debug, Deserialize)]
struct LimitQuery {
    limit: Option<usize>,
}

impl LimitQuery {
    fn limit(&self) -> usize {
        self.limit.unwrap_or(MAX_LISTED).min(MAX_LISTED)
    }
}

/// Extracts the property that `propertyId` names, if the caller may read it.
struct PropertyRead {
    platform: Arc<Platform>,
    property: Property,
    now: Timestamp,
}

impl FromRequestParts<UpstreamState> for PropertyRead {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &UpstreamState) -> ApiResult<Self> {
        let caller = Caller::from_request_parts(parts, state).await?;
        let PropertyQuery { property_id } = PropertyQuery::from_request_parts(parts, state).await?;
        let platform = Arc::clone(&state.platform);
        let property = platform.property(&caller, property_id)?.clone();
        let now = platform.env.now();
        Ok(Self { platform, property, now })
    }
}

pub(crate) fn router(upstream: Upstream, state: UpstreamState) -> Router {
    let one = |path, handler: MethodRouter<UpstreamState>| Router::new().route(path, handler);
    let played = match upstream {
        Upstream::Tenant => tenant::routes(),
        Upstream::Billing => billing::routes(),
        Upstream::Reservation => reservation::routes(),
        Upstream::Lock => lock::routes(),
        Upstream::Pricing => one("/v1/pricing/rate-snapshot", get(pricing::rate_snapshot)),
        Upstream::Notification => one("/api/v1/alerts", get(notification::alerts)),
        Upstream::Analytics => one("/api/v1/analytics/kpis", get(analytics::kpis)),
        Upstream::Property => one("/internal/v1/properties/{id}", get(property::property)),
        Upstream::Maintenance => maintenance::routes(),
        Upstream::Ai => one("/api/v1/ai/suggestions", get(ai::suggestions)),
        Upstream::Sync => sync::routes(),
        Upstream::Audit => one("/api/v1/audit/entries", get(audit::entries)),
        _ => Router::new(),
    };
    played.fallback(not_played).with_state(state)
}

async fn not_played() -> ApiError {
    ApiError::new(
        &NOT_PLAYED,
        "This stand-in does not implement this route. See stand-ins/src/upstreams for those it does.",
    )
}
