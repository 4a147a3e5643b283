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
use axum::extract::FromRef;
use contracts::env::Env;
use contracts::id::PropertyId;
use contracts::problem::Code;
use contracts::upstream::Upstream;
use serde::Deserialize;
use service_kit::caller::{Caller, Callers};
use service_kit::problem::{ApiError, ApiResult};

use crate::demo::{DemoData, Property};
use crate::effects::{Effect, Effects};
use crate::idempotency::{IdempotencyStore, RequestKey};

pub(crate) use billing::{FolioSummary, Folios};
pub(crate) use lock::Keyring;
pub(crate) use sync::Cursors;
pub(crate) use tenant::TenantStatuses;

static NOT_PLAYED: Code = Code {
    name: "MELMASTOON.STAND_INS.NOT_PLAYED",
    status: 501,
    title: "The stand-in does not implement this route",
    retriable: false,
    retry_after: None,
    runbook: None,
};

/// What every upstream uses. State that changes belongs to the upstream itself.
#[derive(Debug, Clone)]
pub(crate) struct UpstreamContext {
    pub(crate) demo: Arc<DemoData>,
    pub(crate) env: Env,
    pub(crate) callers: Callers,
    pub(crate) effects: Arc<Effects>,
    pub(crate) idempotency: Arc<IdempotencyStore>,
}

/// State of upstreams that the control listener or another upstream reads or changes.
#[derive(Debug, Clone)]
pub(crate) struct Shared {
    pub(crate) tenant_statuses: Arc<TenantStatuses>,
    pub(crate) folios: Arc<Folios>,
    pub(crate) keys: Arc<Keyring>,
    pub(crate) cursors: Arc<Cursors>,
}

impl Shared {
    /// `sync_url` is the URL of the sync stand-in.
    pub(crate) fn of(demo: &DemoData, sync_url: String) -> Self {
        Self {
            cursors: Arc::new(Cursors::new(sync_url)),
            tenant_statuses: Arc::default(),
            folios: Arc::new(Folios::of(demo)),
            keys: Arc::new(Keyring::of(demo)),
        }
    }
}

impl UpstreamContext {
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
            at: self.env.now(),
            upstream,
            tenant_id: caller.0.tenant,
            action,
            subject: subject.to_owned(),
            idempotency_key: Some(request_key.key.clone()),
            operator_id: Some(caller.0.operator),
        });
    }
}

/// Router state of an upstream: the shared context and the upstream's own state.
#[derive(Debug)]
struct UpstreamState<S> {
    context: UpstreamContext,
    own: Arc<S>,
}

impl<S> Clone for UpstreamState<S> {
    fn clone(&self) -> Self {
        Self { context: self.context.clone(), own: Arc::clone(&self.own) }
    }
}

impl<S> FromRef<UpstreamState<S>> for Callers {
    fn from_ref(state: &UpstreamState<S>) -> Self {
        Arc::clone(&state.context.callers)
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PropertyQuery {
    property_id: PropertyId,
}

pub(crate) fn router(upstream: Upstream, context: UpstreamContext, shared: &Shared) -> Router {
    let played = match upstream {
        Upstream::Tenant => tenant::router(context, Arc::clone(&shared.tenant_statuses)),
        Upstream::Billing => billing::router(context, Arc::clone(&shared.folios)),
        Upstream::Reservation => reservation::router(context, Arc::clone(&shared.folios)),
        Upstream::Lock => lock::router(context, Arc::clone(&shared.keys)),
        Upstream::Pricing => pricing::router(context),
        Upstream::Notification => notification::router(context),
        Upstream::Analytics => analytics::router(context),
        Upstream::Property => property::router(context),
        Upstream::Maintenance => maintenance::router(context),
        Upstream::Ai => ai::router(context),
        Upstream::Sync => sync::router(context, Arc::clone(&shared.cursors)),
        Upstream::Audit => audit::router(context, Arc::clone(&shared.folios)),
        _ => Router::new(),
    };
    played.fallback(not_played)
}

async fn not_played() -> ApiError {
    ApiError::new(
        &NOT_PLAYED,
        "This stand-in does not implement this route. See stand-ins/src/upstreams for those it does.",
    )
}
