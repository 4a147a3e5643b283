//! Router of the internal listener: metrics, health, the key set for request tokens, and
//! `/internal`. Must not be reachable from outside.

use axum::routing::{MethodRouter, get, post};
use axum::{Json, Router};
use http::HeaderValue;
use http::header::CACHE_CONTROL;
use service_kit::background::TaskDriver;
use service_kit::health::Readiness;
use service_kit::identity::{AccountGroup, RequireAccount};
use service_kit::request::{Observer, observed};
use service_kit::request_metrics;
use service_kit::table_maintenance::RetentionSweep;
use service_kit::telemetry::Telemetry;
use tower_http::set_header::SetResponseHeaderLayer;

use crate::admin::isolation_probe::IsolationProbe;
use crate::background::job::Job;
use crate::handlers::internal::admin::{diagnostics, override_rules, unfreeze};
use crate::handlers::internal::{events, jobs, sessions};
use crate::locks::freeze::LockRoutes;
use crate::locks::reconcile::LockReconciler;
use crate::locks::verify_chain::ChainVerification;
use crate::mutation::attestation::freeze::SecondFactorRoutes;
use crate::state::Gateway;
use crate::sync::cursors::reconcile::CursorReconciler;

pub(crate) fn app(
    gateway: Gateway,
    readiness: Readiness,
    telemetry: &Telemetry,
    guard: &RequireAccount,
) -> Router {
    let keys = gateway.request_tokens.key_set();
    let metrics = request_metrics!("bff_backoffice_internal");
    let observer = Observer { metrics, env: gateway.env.clone() };
    let app = Router::new()
        .nest("/internal", routes(gateway, guard).layer(not_stored()))
        .route("/.well-known/jwks.json", get(move || async move { Json(keys.clone()) }))
        .merge(readiness.router())
        .merge(telemetry.router());
    observed(app, observer)
}

/// Forbids caches to store responses of the internal listener.
fn not_stored() -> SetResponseHeaderLayer<HeaderValue> {
    SetResponseHeaderLayer::if_not_present(CACHE_CONTROL, HeaderValue::from_static("no-store"))
}

/// Routes under `/internal`, each group restricted to its accounts. Unknown paths require an
/// operator account, so that a 404 does not reveal which paths exist.
pub(crate) fn routes(gateway: Gateway, guard: &RequireAccount) -> Router {
    let unknown = Router::new().fallback(async || http::StatusCode::NOT_FOUND);
    let for_operators = session_routes(gateway.clone())
        .merge(admin_routes(gateway.clone()))
        .merge(diagnostics_routes(gateway.clone()));
    guard
        .protect(for_operators, AccountGroup::Operators)
        .merge(guard.protect(event_routes(gateway.clone()), AccountGroup::Events))
        .merge(guard.protect(job_routes(gateway), AccountGroup::Scheduler))
        .merge(guard.protect(unknown, AccountGroup::Operators))
}

/// Routes for iam and platform operators.
pub(crate) fn session_routes(gateway: Gateway) -> Router {
    Router::new().route("/sessions/revoke", post(sessions::revoke)).with_state(gateway)
}

/// Break-glass routes for platform operators.
fn admin_routes(gateway: Gateway) -> Router {
    Router::new()
        .route("/admin/edge-rules", get(override_rules::get_rules).post(override_rules::request))
        .route("/admin/edge-rules/{id}/approve", post(override_rules::approve))
        .route(
            "/admin/unfreeze-locks",
            get(unfreeze::state::<LockRoutes>).post(unfreeze::request::<LockRoutes>),
        )
        .route("/admin/unfreeze-locks/{id}/approve", post(unfreeze::approve::<LockRoutes>))
        .route(
            "/admin/unfreeze-second-factor",
            get(unfreeze::state::<SecondFactorRoutes>)
                .post(unfreeze::request::<SecondFactorRoutes>),
        )
        .route(
            "/admin/unfreeze-second-factor/{id}/approve",
            post(unfreeze::approve::<SecondFactorRoutes>),
        )
        .with_state(gateway)
}

/// Diagnostics for platform operators.
fn diagnostics_routes(gateway: Gateway) -> Router {
    Router::new()
        .route("/background", get(diagnostics::get_background))
        .route("/composition", get(diagnostics::get_composition))
        .with_state(gateway)
}

/// Routes for the scheduler, one per job.
fn job_routes(gateway: Gateway) -> Router {
    let mut routes = JobRoutes { driver: gateway.background.clone(), router: Router::new() };
    routes.add::<IsolationProbe>(post(jobs::probe_isolation));
    routes.add::<CursorReconciler>(post(jobs::reconcile_cursors));
    routes.add::<LockReconciler>(post(jobs::reconcile_locks));
    routes.add::<RetentionSweep>(post(jobs::sweep_idempotency));
    routes.add::<ChainVerification>(post(jobs::verify_lock_audit));
    routes.router.with_state(gateway)
}

/// The only list of jobs: one with a route is reported.
struct JobRoutes {
    driver: TaskDriver,
    router: Router<Gateway>,
}

impl JobRoutes {
    fn add<J: Job>(&mut self, handler: MethodRouter<Gateway>) {
        self.driver.list(J::NAME);
        let router = std::mem::take(&mut self.router);
        self.router = router.route(&format!("/jobs/{}", J::PATH), handler);
    }
}

/// Routes for the event bus.
pub(crate) fn event_routes(gateway: Gateway) -> Router {
    Router::new().route("/events", post(events::receive_event)).with_state(gateway)
}
