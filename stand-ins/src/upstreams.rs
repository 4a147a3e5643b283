//! The upstreams other than iam. Each plays the routes written so far from a part of the demo
//! house that is its own, and says of every other route that it does not play it yet.

mod analytics;
mod notification;
mod pricing;
mod property;
mod reservation;

use std::sync::Arc;

use axum::Router;
use axum::extract::FromRef;
use contracts::clock::Clock;
use contracts::id::PropertyId;
use contracts::upstream::Upstream;
use serde::Deserialize;
use service_kit::caller::{Caller, Callers};
use service_kit::problem::{ApiError, ApiResult};

use crate::control::NOT_PLAYED;
use crate::demo::{House, Property};

/// What every upstream stands on. Nothing in it changes; an upstream keeps what changes itself.
#[derive(Debug, Clone)]
pub(crate) struct Scene {
    pub(crate) house: Arc<House>,
    pub(crate) clock: Clock,
    pub(crate) callers: Callers,
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

pub(crate) fn router(upstream: Upstream, scene: Scene) -> Router {
    let played = match upstream {
        Upstream::Reservation => reservation::router(scene),
        Upstream::Pricing => pricing::router(scene),
        Upstream::Notification => notification::router(scene),
        Upstream::Analytics => analytics::router(scene),
        Upstream::Property => property::router(scene),
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
