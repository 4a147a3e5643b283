//! A domain service: its settings, the state of its handlers, and the listener that serves the API, the
//! OpenAPI document, health and metrics.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;

use axum::Router;
use axum::extract::FromRef;
use axum::middleware::from_fn;
use axum::routing::get;
use contracts::clock::{Clock, Entropy};
use contracts::env::Env;
use contracts::problem::{self, FieldError, Problem};
use http::header::CONTENT_TYPE;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{Content, OpenApi, Ref, RefOr, Response, ResponseBuilder};
use utoipa_axum::router::OpenApiRouter;

use crate::background::TaskDriver;
use crate::caller::{Callers, callers};
use crate::deadline;
use crate::etag;
use crate::health::Readiness;
use crate::identity::{AccountGroup, Identity, RequireAccount};
use crate::lifecycle::Lifecycle;
use crate::postgres::{Database, DatabaseConfigError};
use crate::program;
use crate::request::{Observer, RequestMetrics, observed};
use crate::serve::{
    BindError, ConnectionLimits, ConnectionMetrics, ListenerConfig, Plain, Server, bind,
};
use crate::table_maintenance::TableMaintenance;
use crate::telemetry::{Telemetry, TelemetryError};

mod config;
#[cfg(test)]
mod tests;

pub use config::{InternalConfig, ServiceConfig};

/// State of the handlers; each extracts the part it needs.
#[derive(Debug, Clone, FromRef)]
pub struct Shared {
    pub callers: Callers,
    pub database: Database,
    pub clock: Clock,
    pub entropy: Entropy,
}

/// Why a service did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    #[error(transparent)]
    Database(#[from] DatabaseConfigError),
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error("cannot listen for signals: {0}. Check the limits of the process.")]
    Signals(#[from] std::io::Error),
}

/// One domain service.
#[derive(Debug, Clone, Copy)]
pub struct Service {
    /// Also the audience of its request tokens.
    pub name: &'static str,
    pub metrics: RequestMetrics,
    pub connection_metrics: ConnectionMetrics,
    /// Its routes and their documentation.
    pub api: fn() -> OpenApiRouter<Shared>,
    pub internal: Internal,
    pub maintenance: TableMaintenance,
}

/// A service's routes under `/internal`: for service accounts, never for callers of the API.
#[derive(Debug, Clone, Copy)]
pub struct Internal {
    /// The routes without the prefix, each group protected by [`RequireAccount`].
    pub routes: fn(Shared, &RequireAccount) -> Router,
    /// Name of the counter of refused requests.
    pub failures: &'static str,
}

/// For a service without internal routes. Paths under `/internal` are protected all the same.
pub fn no_internal_routes(_: Shared, _: &RequireAccount) -> Router {
    Router::new()
}

impl Service {
    /// Loads the settings, serves until SIGTERM or SIGINT, and drains. See [`program::main`].
    pub async fn main(self) -> ExitCode {
        program::main(|config| self.run(config)).await
    }

    async fn run(self, config: ServiceConfig) -> Result<(), StartError> {
        #[cfg(feature = "sabotage")]
        contracts::safeguard::switch_off(&config.guards_off);
        let telemetry = Telemetry::start(self.name, &config.telemetry)?;
        let lifecycle = Lifecycle::new();
        let shared = self.shared(&config, Clock::system())?;
        let identity = Identity::configured(config.internal.oidc.as_ref(), shared.clock.clone());
        let Shared { database, clock, entropy, .. } = &shared;
        let driver = TaskDriver::new(Env::new(clock.clone(), entropy.clone()), lifecycle.clone());
        self.maintenance.start(&config.maintenance, database, clock, &driver);
        let listening = self.listening(config.connections, &shared);
        let app = self.app(shared, identity, &lifecycle, telemetry.router());
        let listener = bind(config.listen).await?;
        tracing::info!(listen = %config.listen, service = self.name, "Serving.");
        Server::new(app, listening).serve(listener, Plain, &lifecycle);
        lifecycle.run_until_signal().await?;
        telemetry.finish();
        Ok(())
    }

    fn shared(&self, config: &ServiceConfig, clock: Clock) -> Result<Shared, DatabaseConfigError> {
        Ok(Shared {
            callers: callers(&config.callers, self.name, clock.clone()),
            database: Database::new(&config.postgres)?,
            clock,
            entropy: Entropy::system(),
        })
    }

    fn observer(&self, shared: &Shared) -> Observer {
        let env = Env::new(shared.clock.clone(), shared.entropy.clone());
        Observer { metrics: self.metrics, env }
    }

    fn listening(&self, limits: ConnectionLimits, shared: &Shared) -> ListenerConfig {
        let (metrics, observer) = (self.connection_metrics, self.observer(shared));
        ListenerConfig { name: "api", limits, metrics, observer }
    }

    /// All routes of the listener. `metrics` has the route of `/metrics`, which belongs to the process.
    pub fn app(
        &self,
        shared: Shared,
        identity: Option<Arc<Identity>>,
        lifecycle: &Lifecycle,
        metrics: Router,
    ) -> Router {
        let observer = self.observer(&shared);
        let internal = self.internal(shared.clone(), identity);
        let readiness = readiness(shared.database.clone(), lifecycle.clone());
        let document = self.document();
        let api = (self.api)()
            .split_for_parts()
            .0
            .with_state(shared)
            .nest("/internal", internal)
            .route("/openapi.json", get(async || ([(CONTENT_TYPE, "application/json")], document)))
            // The deadline is the outer layer and covers the entity tag.
            .layer((from_fn(deadline::enforce), from_fn(etag::conditional_get)));
        // Merged last: the fallback of the later router wins.
        observed(metrics.merge(readiness.router()).merge(api), observer)
    }

    /// Unknown paths require an operator's account, so that others cannot find out which exist.
    fn internal(&self, shared: Shared, identity: Option<Arc<Identity>>) -> Router {
        let guard = RequireAccount::new(identity, self.internal.failures);
        let unknown = Router::new().fallback(async || http::StatusCode::NOT_FOUND);
        (self.internal.routes)(shared, &guard)
            .merge(guard.protect(unknown, AccountGroup::Operators))
    }

    /// The OpenAPI document as it is served and committed.
    pub fn document(&self) -> String {
        let mut document = (self.api)().split_for_parts().1;
        complete(&mut document);
        document.to_pretty_json().expect("a document is plain JSON") + "\n"
    }
}

/// Adds what all services' documents share: the request token, and the problems of every operation.
fn complete(document: &mut OpenApi) {
    for item in document.paths.paths.values_mut() {
        let reads = item.get.iter_mut().map(|operation| (operation, read_problems()));
        let writes = [&mut item.put, &mut item.post, &mut item.patch, &mut item.delete];
        let writes = writes.into_iter().flatten().map(|operation| (operation, write_problems()));
        for (operation, problems) in reads.chain(writes) {
            operation.responses.responses.extend(problems);
            let token = SecurityRequirement::new("requestToken", [""; 0]);
            operation.security = Some(vec![token]);
        }
    }
    let components = document.components.get_or_insert_default();
    let mut bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT");
    bearer = bearer.description(Some("The gateway's short-lived request token for this service."));
    components.add_security_scheme("requestToken", SecurityScheme::Http(bearer.build()));
    let problem = <Problem as utoipa::PartialSchema>::schema();
    let field = <FieldError as utoipa::PartialSchema>::schema();
    components.schemas.insert("Problem".to_owned(), problem);
    components.schemas.insert("FieldError".to_owned(), field);
}

fn readiness(database: Database, lifecycle: Lifecycle) -> Readiness {
    Readiness::new(lifecycle).requires("postgres", "nothing can be read or changed", move || {
        let database = database.clone();
        Box::pin(async move { database.ping().await.map_err(|error| error.to_string()) })
    })
}

/// Responses of every read other than its body.
fn read_problems() -> BTreeMap<String, RefOr<Response>> {
    let not_modified = Response::new("The caller's `If-None-Match` names this answer.");
    let mut responses = problems([
        (400, "A parameter is missing or not valid; `errors` names it."),
        (401, "No valid request token."),
        (403, "The property is outside the caller's scope, or X-Tenant-Id contradicts the token."),
        (404, "The tenant has no such property."),
        (503, "The database is not available; `Retry-After` says when to try again."),
        (504, "The deadline in `X-Deadline-Ms` passed."),
    ]);
    responses.insert("304".to_owned(), not_modified.into());
    responses
}

/// Responses of every write other than its body.
fn write_problems() -> BTreeMap<String, RefOr<Response>> {
    problems([
        (400, "The body is not valid; `errors` names the field."),
        (401, "No valid request token."),
        (403, "The caller's role or property scope does not allow it."),
        (404, "The tenant has no such resource."),
        (409, "Somebody else changed it first."),
        (503, "The database is not available; `Retry-After` says when to send the request again."),
        (504, "The deadline in `X-Deadline-Ms` passed; whether it was changed must be read."),
    ])
}

/// Problems by status, each with its description.
fn problems<const N: usize>(descriptions: [(u16, &str); N]) -> BTreeMap<String, RefOr<Response>> {
    let response = |(status, description): (u16, &str)| {
        let content = Content::new(Some(Ref::from_schema_name("Problem")));
        let response = ResponseBuilder::new().description(description);
        (status.to_string(), response.content(problem::CONTENT_TYPE, content).build().into())
    };
    descriptions.into_iter().map(response).collect()
}
