//! Serves the web console of `console/` and its configuration: the URLs of the gateway and iam, and
//! the demo operators.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use axum::{Json, Router};
use contracts::id::{DeviceId, PropertyId, TenantId};
use contracts::role::Role;
use http::{HeaderName, StatusCode, header};
use serde::Serialize;

use crate::demo::{DemoData, Operator};

macro_rules! files {
    ($($name:literal $kind:literal)*) => {
        [$(($name, $kind, include_str!(concat!("../../console/", $name)))),*]
    };
}

/// Name, media type, content.
static FILES: [(&str, &str, &str); 7] = files! {
    "index.html" "text/html; charset=utf-8"
    "style.css" "text/css; charset=utf-8"
    "app.js" "text/javascript; charset=utf-8"
    "key.js" "text/javascript; charset=utf-8"
    "session.js" "text/javascript; charset=utf-8"
    "stream.js" "text/javascript; charset=utf-8"
    "tiles.js" "text/javascript; charset=utf-8"
};

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct ConsoleConfig {
    gateway: String,
    issuer: String,
    properties: Vec<PropertyChoice>,
    operators: Vec<OperatorChoice>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct PropertyChoice {
    property_id: PropertyId,
    name: &'static str,
    city: &'static str,
    time_zone: &'static str,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct OperatorChoice {
    username: String,
    /// Not a secret: demo operators exist on this machine only.
    password: String,
    totp_secret: String,
    display_name: String,
    device_id: DeviceId,
    tenant_id: TenantId,
    property_ids: Vec<PropertyId>,
    roles: Vec<Role>,
    /// The property, or the tenant for an operator of all its properties.
    at: String,
}

#[derive(Debug, Clone)]
struct Console {
    config: Arc<ConsoleConfig>,
    policy: Arc<str>,
}

pub(crate) fn router(demo: &DemoData, gateway: &str, issuer: &str) -> Router {
    let gateway = gateway.trim_end_matches('/').to_owned();
    // The page may call the gateway and the issuer, and load nothing from elsewhere.
    let policy = format!(
        "default-src 'self'; img-src data:; connect-src 'self' {gateway} {issuer}; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    let config = ConsoleConfig {
        gateway,
        issuer: issuer.to_owned(),
        properties: properties(demo),
        operators: operators(demo),
    };
    Router::new()
        .route("/console", get(|| async { Redirect::permanent("/console/") }))
        .route("/console/", get(index))
        .route("/console/config.json", get(config_json))
        .route("/console/{file}", get(file))
        .with_state(Console { config: Arc::new(config), policy: policy.into() })
}

fn properties(demo: &DemoData) -> Vec<PropertyChoice> {
    let choice = |property: &crate::demo::Property| PropertyChoice {
        property_id: property.id,
        name: property.name,
        city: property.city,
        time_zone: property.time_zone,
    };
    demo.properties.iter().map(choice).collect()
}

fn operators(demo: &DemoData) -> Vec<OperatorChoice> {
    let tenants: BTreeMap<_, _> =
        demo.tenants.iter().map(|tenant| (tenant.id, tenant.name)).collect();
    let choice = |operator: &Operator| OperatorChoice {
        username: operator.username.clone(),
        password: operator.password.clone(),
        totp_secret: operator.totp_secret.clone(),
        display_name: operator.display_name.clone(),
        device_id: operator.device_id,
        tenant_id: operator.tenant_id,
        property_ids: operator.property_ids.clone(),
        roles: operator.roles.clone(),
        at: match demo.property(operator.property_ids[0]) {
            Some(property) if !operator.roles.contains(&Role::TenantAdmin) => {
                format!("{}, {}", property.name, property.city)
            }
            _ => tenants[&operator.tenant_id].to_owned(),
        },
    };
    demo.operators.iter().map(choice).collect()
}

async fn index(State(console): State<Console>) -> Response {
    console.serve("index.html")
}

async fn file(State(console): State<Console>, Path(name): Path<String>) -> Response {
    console.serve(&name)
}

async fn config_json(State(console): State<Console>) -> impl IntoResponse {
    ([(header::CACHE_CONTROL, "no-store")], Json(console.config.as_ref().clone()))
}

impl Console {
    fn serve(&self, name: &str) -> Response {
        let Some((_, kind, content)) = FILES.iter().find(|(own, ..)| *own == name) else {
            return StatusCode::NOT_FOUND.into_response();
        };
        let headers = [
            (header::CONTENT_TYPE, (*kind).to_owned()),
            (header::CACHE_CONTROL, "no-cache".to_owned()),
            (header::CONTENT_SECURITY_POLICY, self.policy.to_string()),
            (HeaderName::from_static("x-content-type-options"), "nosniff".to_owned()),
            (header::REFERRER_POLICY, "no-referrer".to_owned()),
        ];
        (headers, *content).into_response()
    }
}
