//! The upstreams other than iam. Each plays the routes written so far from a part of the demo
//! house that is its own, and says of every other route that it does not play it yet.

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
use contracts::clock::{Clock, Entropy};
use contracts::id::PropertyId;
use contracts::upstream::Upstream;
use serde::Deserialize;
use service_kit::caller::{Caller, Callers};
use service_kit::problem::{ApiError, ApiResult};

use crate::control::NOT_PLAYED;
use crate::demo::{House, Property};
use crate::ledger::{Effect, Ledger};
use crate::shelf::{Shelf, Ticket};

pub(crate) use billing::{FolioSummary, Folios};
pub(crate) use lock::Keyring;
pub(crate) use sync::Cursors;
pub(crate) use tenant::Tenancies;

/// What every upstream stands on. An upstream keeps what changes itself.
#[derive(Debug, Clone)]
pub(crate) struct Scene {
    pub(crate) house: Arc<House>,
    pub(crate) clock: Clock,
    pub(crate) entropy: Entropy,
    pub(crate) callers: Callers,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) shelf: Arc<Shelf>,
}

/// State that others than the upstream itself look at or change.
#[derive(Debug, Clone)]
pub(crate) struct Shared {
    pub(crate) tenancies: Arc<Tenancies>,
    pub(crate) folios: Arc<Folios>,
    pub(crate) keys: Arc<Keyring>,
    pub(crate) cursors: Arc<Cursors>,
}

impl Shared {
    /// `sync_url`: where sync itself listens.
    pub(crate) fn of(house: &House, sync_url: String) -> Self {
        Self {
            cursors: Arc::new(Cursors::new(sync_url)),
            tenancies: Arc::default(),
            folios: Arc::new(Folios::of(house)),
            keys: Arc::new(Keyring::of(house)),
        }
    }
}

impl Scene {
    /// The property, if it is the caller's tenant's and in the caller's scope.
    fn property(&self, caller: &Caller, id: PropertyId) -> ApiResult<&Property> {
        let found = self.house.property(id);
        let own = found.filter(|property| property.tenant_id == caller.0.tenant);
        let own = own.ok_or_else(ApiError::not_found)?;
        caller.require(id)?;
        Ok(own)
    }

    /// Writes down what a caller's mutation did.
    fn note(
        &self,
        caller: &Caller,
        (upstream, action): (Upstream, &'static str),
        subject: &str,
        ticket: &Ticket,
    ) {
        self.ledger.note(Effect {
            at: self.clock.now(),
            upstream,
            tenant_id: caller.0.tenant,
            action,
            subject: subject.to_owned(),
            idempotency_key: Some(ticket.key.clone()),
            operator_id: Some(caller.0.operator),
        });
    }
}

/// An upstream's state beside the scene.
#[derive(Debug)]
struct Stage<S> {
    scene: Scene,
    own: Arc<S>,
}

impl<S> Clone for Stage<S> {
    fn clone(&self) -> Self {
        Self { scene: self.scene.clone(), own: Arc::clone(&self.own) }
    }
}

impl<S> FromRef<Stage<S>> for Callers {
    fn from_ref(stage: &Stage<S>) -> Self {
        Arc::clone(&stage.scene.callers)
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct OfProperty {
    property_id: PropertyId,
}

pub(crate) fn router(upstream: Upstream, scene: Scene, shared: &Shared) -> Router {
    let played = match upstream {
        Upstream::Tenant => tenant::router(scene, Arc::clone(&shared.tenancies)),
        Upstream::Billing => billing::router(scene, Arc::clone(&shared.folios)),
        Upstream::Reservation => reservation::router(scene, Arc::clone(&shared.folios)),
        Upstream::Lock => lock::router(scene, Arc::clone(&shared.keys)),
        Upstream::Pricing => pricing::router(scene),
        Upstream::Notification => notification::router(scene),
        Upstream::Analytics => analytics::router(scene),
        Upstream::Property => property::router(scene),
        Upstream::Maintenance => maintenance::router(scene),
        Upstream::Ai => ai::router(scene),
        Upstream::Sync => sync::router(scene, Arc::clone(&shared.cursors)),
        Upstream::Audit => audit::router(scene, Arc::clone(&shared.folios)),
        _ => Router::new(),
    };
    played.fallback(not_played)
}

async fn not_played() -> ApiError {
    ApiError::new(
        &NOT_PLAYED,
        "This stand-in does not play this route yet. See stand-ins/src/upstreams for those it does.",
    )
}
