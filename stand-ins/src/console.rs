//! Serves the web console of `console/` and its configuration: the URLs of the gateway and iam, and
//! the demo operators.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use axum::{Json, Router};
use contracts::role::Role;
use http::{HeaderName, StatusCode, header};
use serde_json::{Value, json};

use crate::demo::{DemoData, Operator, Property};

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

#[derive(Debug, Clone)]
struct Console {
    config: Arc<Value>,
    policy: Arc<str>,
}

pub(crate) fn router(demo: &DemoData, gateway: &str, issuer: &str) -> Router {
    let gateway = gateway.trim_end_matches('/').to_owned();
    // The page may call the gateway and the issuer, and load nothing from elsewhere.
    let policy = format!(
        "default-src 'self'; img-src data:; connect-src 'self' {gateway} {issuer}; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    let properties: Vec<_> = demo.properties.iter().map(property).collect();
    let operators: Vec<_> = demo.operators.iter().map(|one| operator(demo, one)).collect();
    let config = json!({
        "gateway": gateway,
        "issuer": issuer,
        "properties": properties,
        "operators": operators,
    });
    Router::new()
        .route("/console", get(|| async { Redirect::permanent("/console/") }))
        .route("/console/", get(async |State(console): State<Console>| console.serve("index.html")))
        .route("/console/config.json", get(config_json))
        .route(
            "/console/{file}",
            get(async |State(console): State<Console>, Path(name): Path<String>| {
                console.serve(&name)
            }),
        )
        .with_state(Console { config: Arc::new(config), policy: policy.into() })
}

fn property(property: &Property) -> Value {
    json!({
        "propertyId": property.id,
        "name": property.name,
        "city": property.city,
        "timeZone": property.time_zone,
    })
}

/// An operator with the password, which is no secret: demo operators exist on this machine only. `at`
/// is the property, or the tenant for an operator of all its properties.
fn operator(demo: &DemoData, operator: &Operator) -> Value {
    let at = match demo.property(operator.property_ids[0]) {
        Some(property) if !operator.roles.contains(&Role::TenantAdmin) => {
            Some(format!("{}, {}", property.name, property.city))
        }
        _ => {
            let tenant = demo.tenants.iter().find(|tenant| tenant.id == operator.tenant_id);
            tenant.map(|tenant| tenant.name.to_owned())
        }
    };
    json!({
        "username": operator.username,
        "password": operator.password,
        "totpSecret": operator.totp_secret,
        "displayName": operator.display_name,
        "deviceId": operator.device_id,
        "tenantId": operator.tenant_id,
        "propertyIds": operator.property_ids,
        "roles": operator.roles,
        "at": at,
    })
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
