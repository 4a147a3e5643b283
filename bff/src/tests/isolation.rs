//! No route reveals data of another tenant: every route of the OpenAPI document is called with
//! another tenant's ids, against upstreams that only have that tenant's data. New routes are
//! covered automatically.

use axum::Router;
use axum::http::HeaderMap;
use axum::response::IntoResponse;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use contracts::clock::{Clock, Entropy};
use contracts::id::{Id, PropertyId, TenantId};
use contracts::upstream::Upstream;
use serde_json::{Map, Value, json};
use service_kit::lifecycle::Lifecycle;
use service_kit::serve::{Plain, bind, serve};
use upstream_clients::BaseUrls;

use crate::http::endpoints::Endpoint;
use crate::tests::fixture::{BASE, fresh_key};
use crate::tests::tenant::not_found;
use crate::tests::test_gateway::{TestGateway, TestOptions, fresh};

/// Marks all data of the other tenant.
const MARK: &str = "of-the-other-tenant";

/// Routes that are about the caller alone and take no id.
const OWN: [&str; 7] = [
    "/session",
    "/sse/stream",
    "/auth/refresh",
    "/auth/sign-out",
    "/auth/mfa/step-up",
    "/sync/cursor",
    "/sync/handshake",
];

#[tokio::test]
async fn no_route_gives_anything_of_another_tenant() {
    let other: TenantId = fresh();
    let url = upstreams_of(other).await;
    // tenant-service apart: it would know the caller.
    let played = Upstream::all().filter(|upstream| *upstream != Upstream::Tenant);
    let upstreams: BaseUrls = played.map(|upstream| (upstream, url.parse().unwrap())).collect();
    let gateway = TestGateway::build(TestOptions { upstreams, ..TestOptions::usual() }).await;
    let document: Value = serde_json::from_str(&crate::http::openapi::json()).unwrap();
    let mut tried = 0_usize;
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let call = Call { document: &document, path, method, operation, own: None };
            match call.foreign() {
                Some(request) => {
                    is_refused(&gateway, &call, request).await;
                    tried += 1;
                }
                None => assert!(
                    OWN.iter().any(|own| path.ends_with(own)),
                    "{method} {path} takes no id"
                ),
            }
        }
    }
    assert!(tried > 0, "no route takes an id");
}

async fn is_refused(gateway: &TestGateway, call: &Call<'_>, (path, body): (String, Option<Value>)) {
    let what = format!("{} {}", call.method, call.path);
    let endpoint = Endpoint::find(call.method, call.path.strip_prefix(BASE).unwrap()).unwrap();
    let factor = gateway.second_factor(endpoint).await;
    let mut request = gateway.call(call.method, path).role("tenant.admin").key(fresh_key());
    request = request.attestation(factor);
    if let Some(body) = body {
        request = request.json(&body);
    }
    let response = request.await;
    let status = response.status.as_u16();
    assert!(matches!(status, 403 | 404), "{what}: {status} {}", response.body);
    assert!(!response.body.to_string().contains(MARK), "{what}: {}", response.body);
}

/// Responds with data to callers of that tenant and 404 to others, as the services do.
async fn upstreams_of(tenant: TenantId) -> String {
    let response = move |headers: HeaderMap| async move {
        let caller = caller(&headers);
        if caller == Some(tenant) {
            axum::Json(json!({"name": MARK})).into_response()
        } else {
            not_found()
        }
    };
    let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    serve(listener, Plain, Router::new().fallback(response), &Lifecycle::new());
    url
}

/// The tenant of the request token.
fn caller(headers: &HeaderMap) -> Option<TenantId> {
    let token = headers.get("authorization")?.to_str().ok()?.strip_prefix("Bearer ")?;
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims: Value = serde_json::from_slice(&claims).ok()?;
    claims["tenant_id"].as_str()?.parse().ok()
}

/// An operation of the document.
pub(crate) struct Call<'a> {
    pub(crate) document: &'a Value,
    pub(crate) path: &'a str,
    pub(crate) method: &'a str,
    pub(crate) operation: &'a Value,
    /// The caller's property, for permitted requests.
    pub(crate) own: Option<PropertyId>,
}

impl Call<'_> {
    /// Its path and query with another tenant's ids, and a body of the right form; `None` when
    /// it takes no id.
    fn foreign(&self) -> Option<(String, Option<Value>)> {
        let (path, body, ids) = self.filled()?;
        let in_body = body.as_ref().is_some_and(|body| body.to_string().contains("Id\":"));
        (ids > 0 || in_body).then_some((path, body))
    }

    /// Path and query, a body of the right form, and how many ids stand in the former.
    pub(crate) fn filled(&self) -> Option<(String, Option<Value>, usize)> {
        let (mut path, mut query, mut ids) = (self.path.to_owned(), Vec::new(), 0);
        let empty = Vec::new();
        for parameter in self.operation["parameters"].as_array().unwrap_or(&empty) {
            let (name, place) = (parameter["name"].as_str()?, parameter["in"].as_str()?);
            let is_id = place != "header" && name.to_ascii_lowercase().ends_with("id");
            ids += usize::from(is_id);
            let value = if is_id {
                self.id(name, &parameter["schema"])
            } else {
                text(&self.example(&parameter["schema"]))
            };
            match place {
                "path" => path = path.replace(&format!("{{{name}}}"), &value),
                "query" if parameter["required"] == true => query.push(format!("{name}={value}")),
                _ => {}
            }
        }
        let schema = &self.operation["requestBody"]["content"]["application/json"]["schema"];
        let body = (!schema.is_null()).then(|| self.example(schema));
        let path = if query.is_empty() { path } else { format!("{path}?{}", query.join("&")) };
        Some((path, body, ids))
    }

    /// Of the kind the schema's pattern names, else a property's, else the kind of the folder.
    fn id(&self, name: &str, schema: &Value) -> String {
        if let Some(own) = self.own.filter(|_| name == "propertyId") {
            return own.to_string();
        }
        let pattern = self.resolved(schema)["pattern"].as_str().unwrap_or_default();
        let kinds = [
            ("reservations", "rsv"),
            ("folios", "fol"),
            ("blocks", "blk"),
            ("tasks", "hkt"),
            ("rooms", "rom"),
            ("linen", "lin"),
            ("work-orders", "mnt"),
            ("locks", "lck"),
            ("suggestions", "sug"),
            ("alerts", "alr"),
            ("devices", "dev"),
        ];
        let folder = kinds.iter().find(|(folder, _)| self.path.contains(&format!("/{folder}/{{")));
        let prefix = match pattern.strip_prefix('^').and_then(|rest| rest.split_once("_[")) {
            Some((prefix, _)) => prefix,
            None if name == "propertyId" => PropertyId::PREFIX,
            None => folder.unwrap_or_else(|| panic!("{}: whose is {name}?", self.path)).1,
        };
        some_id(prefix)
    }

    fn resolved<'a>(&'a self, schema: &'a Value) -> &'a Value {
        match schema["$ref"].as_str() {
            Some(place) => self.resolved(self.document.pointer(&place[1..]).unwrap()),
            None => schema,
        }
    }

    /// The smallest value that the schema permits.
    fn example(&self, schema: &Value) -> Value {
        let schema = self.resolved(schema);
        if let Some(one) = schema["enum"].get(0).or(schema["examples"].get(0)) {
            return one.clone();
        }
        for several in ["oneOf", "anyOf", "allOf"] {
            let choices = schema[several].as_array().into_iter().flatten();
            let mut choices = choices.filter(|choice| choice["type"] != "null");
            if let Some(choice) = choices.next() {
                return self.example(choice);
            }
        }
        let kinds = &schema["type"];
        let kind = kinds.as_str().or(kinds[0].as_str()).unwrap_or("object");
        match kind {
            "string" => json!(string(schema)),
            "integer" | "number" => schema.get("minimum").cloned().unwrap_or(json!(1)),
            "boolean" => json!(true),
            "array" => json!([self.example(&schema["items"])]),
            _ => self.object(schema),
        }
    }

    fn object(&self, schema: &Value) -> Value {
        let required = schema["required"].as_array().into_iter().flatten();
        let members = required.filter_map(Value::as_str);
        let made = members.map(|name| (name.to_owned(), self.example(&schema["properties"][name])));
        Value::Object(made.collect::<Map<_, _>>())
    }
}

fn some_id(prefix: &str) -> String {
    let id: PropertyId = PropertyId::generate(&Clock::system(), &Entropy::system());
    id.as_str().replacen(PropertyId::PREFIX, prefix, 1)
}

fn string(schema: &Value) -> String {
    let pattern = schema["pattern"].as_str().unwrap_or_default();
    match (schema["format"].as_str(), pattern.strip_prefix('^')) {
        (Some("date"), _) => "2026-11-21".to_owned(),
        (Some("date-time"), _) => "2026-11-21T12:00:00.000Z".to_owned(),
        (_, Some(rest)) if rest.contains("_[0-7]") => some_id(&rest[..3]),
        (_, Some("[A-Z]{3}$")) => "USD".to_owned(),
        // Digits are numbers, letters and texts alike.
        _ => "123456".to_owned(),
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
