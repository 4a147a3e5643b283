//! Every JSON body of the API and the internal listener, with each member made invalid: the request
//! is refused, never a server error, and the problem names the member. Valid bodies reach the
//! upstream or the store unchanged.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use contracts::id::{AttestationId, EventId, FolioId, LockDeviceId, OperatorId, ReservationId};
use serde_json::{Value, json};
use service_kit::testing::malformed::{Fault, Malformed, example, malformed};

use crate::http::endpoints::Endpoint;
use crate::tests::call::TestCall;
use crate::tests::fixture::{BASE, Fixture, fresh_key};
use crate::tests::iam::{self, Iam};
use crate::tests::issuer::{EVENTS, FIRST};
use crate::tests::locks;
use crate::tests::sync_service::SyncService;
use crate::tests::test_gateway::{TestGateway, TestResponse, fresh, push_form};

const INVALID: &str = "MELMASTOON.GENERAL.VALIDATION_FAILED";
const PUSH: &str = "/internal/events";
/// What serde calls types and mistakes.
const RUST_WORDS: [&str; 7] = [
    "expected u",
    "expected i",
    "struct ",
    "a sequence",
    "a map",
    "invalid type",
    "duplicate field",
];

/// A route of the document that takes a body.
struct Route {
    endpoint: &'static Endpoint,
    valid: Value,
}

fn routes() -> Vec<Route> {
    let document: Value = serde_json::from_str(&crate::http::openapi::json()).unwrap();
    let paths = document["paths"].as_object().unwrap();
    let operations = paths.iter().flat_map(|(path, item)| {
        item.as_object().unwrap().iter().map(move |(method, it)| (path, method, it))
    });
    let with_body = operations.filter_map(|(path, method, operation)| {
        let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
        let endpoint = Endpoint::find(method, path.strip_prefix(BASE).unwrap()).unwrap();
        let valid = || meaningful(endpoint.path, example(&document, schema));
        (!schema.is_null()).then(|| Route { endpoint, valid: valid() })
    });
    with_body.collect()
}

/// Body rules that a schema cannot express.
pub(crate) fn meaningful(path: &str, mut body: Value) -> Value {
    if path == "/auth/mfa/step-up" {
        body["resource"] = json!(fresh::<FolioId>());
        body["scope"] = json!("folio.refund");
        body["bodyDigest"] = json!(auth::jwt::encode(&[7; 32]));
    }
    body
}

/// A gateway whose upstreams accept everything and record it.
enum Rig {
    Fixture(Fixture),
    Iam(TestGateway, Iam),
    Sync(TestGateway, SyncService),
}

impl Rig {
    async fn of(path: &str) -> Self {
        if path.starts_with("/auth/") {
            let (gateway, iam) = iam::gateway().await;
            if path.ends_with("/refresh") {
                iam.grants(gateway.token(|_| {}));
            } else {
                iam.attests();
            }
            Self::Iam(gateway, iam)
        } else if path.starts_with("/sync/") {
            let (gateway, service) = SyncService::with_gateway().await;
            Self::Sync(gateway, service)
        } else {
            Self::Fixture(locks::open().await)
        }
    }

    fn gateway(&self) -> &TestGateway {
        match self {
            Self::Fixture(fixture) => &fixture.gateway,
            Self::Iam(gateway, _) | Self::Sync(gateway, _) => gateway,
        }
    }

    /// Bodies that reached an upstream; the lookup of a lock has none.
    fn reached(&self) -> Vec<Value> {
        match self {
            Self::Fixture(fixture) => {
                fixture.fake.seen().into_iter().map(|call| call.body).collect()
            }
            Self::Iam(_, iam) => iam.requests().into_iter().map(|call| call.body).collect(),
            Self::Sync(_, service) => service.requests().into_iter().map(|call| call.1).collect(),
        }
    }

    async fn send(&self, route: &Route, text: &str, factor: Option<AttestationId>) -> TestResponse {
        let (gateway, endpoint) = (self.gateway(), route.endpoint);
        let id = if endpoint.path.starts_with("/folios") {
            fresh::<FolioId>().to_string()
        } else {
            fresh::<ReservationId>().to_string()
        };
        let lock = fresh::<LockDeviceId>();
        let path = endpoint.path.replace("{id}", &id).replace("{lockId}", lock.as_str());
        let role = endpoint.roles.iter().next().unwrap().name();
        let call = gateway.post(format!("{BASE}{path}")).role(role).key(fresh_key());
        let call = if endpoint.proof_only { call.proof_only() } else { call.attestation(factor) };
        call.text(text).header("content-type", "Application/JSON; charset=utf-8").await
    }
}

/// Asserts a refusal that names the member; for excessive depth the parser may name the whole body.
#[track_caller]
fn names_the_member(response: TestResponse, wrong: &Malformed, root: &str) {
    let shown: String = wrong.text.chars().take(300).collect();
    assert_eq!(response.status, 400, "{:?} {} {shown} {}", wrong.fault, wrong.field, response.body);
    let response = response.problem(400, INVALID);
    let text = response.body.to_string();
    assert!(!RUST_WORDS.iter().any(|word| text.contains(word)), "{text}");
    let field = response.body["errors"][0]["field"].as_str().unwrap();
    let expected = format!("{root}.{}", wrong.field);
    let expected = expected.trim_end_matches('.');
    if wrong.fault == Fault::Nested {
        assert!(field.starts_with(expected) || field == root, "{expected} {field}");
    } else {
        assert_eq!(field, expected, "{:?} {shown}", wrong.fault);
    }
}

#[tokio::test]
async fn an_invalid_body_is_refused_with_the_name_of_the_member() {
    let routes = routes();
    assert!(routes.len() >= 8, "the document has bodies");
    for route in &routes {
        let rig = Rig::of(route.endpoint.path).await;
        let factor = rig.gateway().second_factor(route.endpoint).await;
        for wrong in malformed(&route.valid) {
            let response = rig.send(route, &wrong.text, factor).await;
            names_the_member(response, &wrong, "body");
        }
        let reached: Vec<_> = rig.reached().into_iter().filter(|body| !body.is_null()).collect();
        assert!(reached.is_empty(), "{} {reached:?}", route.endpoint.path);
    }
}

/// Part of the body that reaches the upstream; the rest is for the gateway.
fn forwarded(path: &str, body: &Value) -> Vec<(String, Value)> {
    let own: &[&str] = match path {
        "/auth/mfa/step-up" => &["resource", "scope", "bodyDigest"],
        "/locks/{lockId}/revoke-key" => &["keyCredentialId"],
        _ => &[],
    };
    let members = body.as_object().unwrap().clone().into_iter();
    members.filter(|(name, _)| !own.contains(&name.as_str())).collect()
}

#[tokio::test]
async fn a_valid_body_reaches_its_upstream_unchanged() {
    for route in routes() {
        let path = route.endpoint.path;
        let rig = Rig::of(path).await;
        let factor = rig.gateway().second_factor(route.endpoint).await;
        let response = rig.send(&route, &route.valid.to_string(), factor).await;
        assert!(response.status.is_success(), "{path} {} {}", route.valid, response.body);
        if path == "/sync/cursor" {
            assert_eq!(response.body["cursor"]["version"], route.valid["version"]);
            continue;
        }
        let reached = rig.reached().pop().unwrap();
        for (name, value) in forwarded(path, &route.valid) {
            assert_eq!(reached[&name], value, "{path} {name}");
        }
    }
}

#[tokio::test]
async fn a_reason_of_white_space_is_refused() {
    let mut routes = routes();
    routes.retain(|route| route.valid["reason"].is_string());
    assert!(routes.len() >= 2, "refunds and revocations of keys have reasons");
    for Route { endpoint, mut valid } in routes {
        let rig = Rig::of(endpoint.path).await;
        let factor = rig.gateway().second_factor(endpoint).await;
        valid["reason"] = json!(" \t\u{a0}");
        let text = valid.to_string();
        rig.send(&Route { endpoint, valid }, &text, factor).await.invalid("body.reason");
        assert!(rig.reached().iter().all(Value::is_null), "{}", endpoint.path);
    }
}

#[tokio::test]
async fn an_amount_in_another_than_its_one_form_moves_no_money() {
    let fixture = Fixture::open().await;
    let rig = Rig::Fixture(fixture);
    let all = routes();
    let route = all.iter().find(|route| route.endpoint.path.ends_with("/refunds")).unwrap();
    let factor = rig.gateway().second_factor(route.endpoint).await;
    for amount in
        ["+1000000", "0001000000", "-0", "00", " 1", "1 ", "1.0", "1e6", "", "9223372036854775808"]
    {
        let mut body = route.valid.clone();
        body["amount"]["amountMicro"] = json!(amount);
        rig.send(route, &body.to_string(), factor).await.invalid("body.amount.amountMicro");
    }
    for currency in ["afn", "AF", "AFNI", "A1N", ""] {
        let mut body = route.valid.clone();
        body["amount"]["currency"] = json!(currency);
        rig.send(route, &body.to_string(), factor).await.invalid("body.amount.currency");
    }
    assert!(rig.reached().is_empty());
}

#[tokio::test]
async fn a_refund_whose_body_is_the_list_of_its_values_moves_no_money() {
    let rig = Rig::Fixture(Fixture::open().await);
    let all = routes();
    let route = all.iter().find(|route| route.endpoint.path.ends_with("/refunds")).unwrap();
    let factor = rig.gateway().second_factor(route.endpoint).await;
    for text in
        [r#"[{"amountMicro":"1","currency":"AFN"},"x"]"#, r#"{"amount":["1","AFN"],"reason":"x"}"#]
    {
        rig.send(route, text, factor).await.problem(400, INVALID);
    }
    assert!(rig.reached().is_empty());
}

/// A gateway that receives events about its operator's tenant.
struct Internal {
    gateway: TestGateway,
}

impl Internal {
    async fn open() -> Self {
        Self { gateway: TestGateway::open().await }
    }

    fn push(&self, event: &str) -> TestCall<'_> {
        let push = json!({"message": {"data": STANDARD.encode(event)}});
        self.gateway.account(EVENTS).post(PUSH).json(&push)
    }

    async fn reasons(&self) -> Vec<String> {
        self.gateway.database.rows("SELECT reason FROM bff.revocations ORDER BY sequence").await
    }

    /// An event that revokes an operator.
    fn event(&self) -> Value {
        json!({
            "specversion": "1.0", "id": fresh::<EventId>(), "source": "/services/iam-service",
            "type": "melmastoon.iam.session.revoked.v1", "subject": "opr",
            "time": "2026-11-21T12:00:00.000Z", "datacontenttype": "application/json",
            "tenantid": self.gateway.tenant, "orderingkey": "k", "correlationid": "c",
            "actortype": "system", "actorid": "iam", "retentionclass": "audit",
            "data": {"kind": "operator", "id": fresh::<OperatorId>(), "reason": "left"},
        })
    }
}

#[tokio::test]
async fn an_invalid_body_on_the_internal_listener_is_refused_with_the_name_of_the_member() {
    let internal = Internal::open().await;
    let revocation = json!({"tenantId": internal.gateway.tenant, "kind": "operator",
                            "id": fresh::<OperatorId>(), "reason": "left"});
    let push = push_form(&internal.event());
    let push = json!({"message": {"data": push["message"]["data"]}});
    for (path, account, valid, status) in [
        ("/internal/sessions/revoke", FIRST, &revocation, 200),
        ("/internal/admin/edge-rules", FIRST, &json!({"rules": "", "reason": "calm"}), 202),
        ("/internal/admin/unfreeze-locks", FIRST, &json!({"reason": "mended"}), 202),
        ("/internal/admin/unfreeze-second-factor", FIRST, &json!({"reason": "mended"}), 202),
        (PUSH, EVENTS, &push, 204),
    ] {
        for wrong in malformed(valid) {
            let response = internal.gateway.account(account).post(path).text(&wrong.text).await;
            names_the_member(response, &wrong, "body");
        }
        internal.gateway.account(account).post(path).json(valid).await.status(status);
    }
    assert_eq!(internal.reasons().await, ["left", "left"], "the right ones alone were carried out");
}

/// Members of a revocation's event that decide what it changes.
const DECIDING: [&str; 8] = ["", "id", "type", "time", "tenantid", "data", "data.kind", "data.id"];

#[tokio::test]
async fn an_event_is_refused_for_a_member_that_decides_its_effect_and_for_no_other() {
    let internal = Internal::open().await;
    let (mut refused, mut taken) = (0, 0);
    for wrong in malformed(&internal.event()) {
        let response = internal.push(&wrong.text).await;
        let decides = DECIDING.contains(&wrong.field.as_str());
        if decides && wrong.fault != Fault::ZeroCharacter {
            names_the_member(response, &wrong, "event");
            refused += 1;
        } else {
            assert_eq!(response.status, 204, "{:?} {} {}", wrong.fault, wrong.field, response.body);
            taken += 1;
        }
    }
    assert!(refused > 50 && taken > 100, "{refused} {taken}");
    assert_eq!(internal.reasons().await, ["left"], "once, whatever else was wrong");
}

#[tokio::test]
async fn no_revocation_is_lost_for_its_reason() {
    let internal = Internal::open().await;
    for reason in ["lo\0st", "\0", "", &"x".repeat(500)] {
        let mut event = internal.event();
        event["data"]["reason"] = json!(reason);
        assert_eq!(internal.push(&event.to_string()).await.status, 204, "{reason:?}");
    }
    let none = "No reason was given.";
    assert_eq!(internal.reasons().await, ["lost", none, none, &"x".repeat(200)]);
}

#[tokio::test]
async fn an_event_of_an_impossible_time_or_with_an_array_for_its_data_is_refused_each_time() {
    let internal = Internal::open().await;
    for (member, value) in [
        ("time", json!("-004800-01-01T00:00:00Z")),
        ("time", json!("0000-12-31T23:59:59Z")),
        ("data", json!(["operator", fresh::<OperatorId>(), "left"])),
    ] {
        let mut event = internal.event();
        event[member] = value;
        for _ in 0..2 {
            internal.push(&event.to_string()).await.invalid(&format!("event.{member}"));
        }
    }
    assert!(internal.reasons().await.is_empty());
}

/// JSON in members that change nothing: none of it may cost the event its effect.
const ANYTHING: [&str; 8] =
    [r#""\ud83d""#, r#""a\u0000b""#, "null", "7", "1e999", r#"{"a":1,"a":2}"#, "[[]]", "true"];

#[tokio::test]
async fn no_revocation_is_lost_for_a_reason_that_is_no_text() {
    let internal = Internal::open().await;
    let mut expected = Vec::new();
    for json in ANYTHING {
        let mut event = internal.event();
        event["data"]["reason"] = json!("REASON");
        let text = event.to_string().replace("\"REASON\"", json);
        assert_eq!(internal.push(&text).await.status, 204, "{json}");
        expected.push(match json {
            r#""\ud83d""# => "\u{fffd}",
            r#""a\u0000b""# => "ab",
            _ => "No reason was given.",
        });
    }
    let mut event = internal.event();
    event["data"].as_object_mut().unwrap().remove("reason");
    internal.push(&event.to_string()).await.status(204);
    expected.push("No reason was given.");
    let text = internal.event().to_string();
    for (from, to) in [("\"left\"", "\"a\",\"reason\":\"b\""), ("\"left\"", "\"a\"")] {
        let text = text.replacen(from, to, 1);
        internal.push(&text).await.status(204);
    }
    expected.push("No reason was given.");
    assert_eq!(internal.reasons().await, expected, "the last one is a repeat");
}

#[tokio::test]
async fn no_event_is_lost_for_what_its_push_form_holds_besides() {
    let internal = Internal::open().await;
    for (index, json) in ANYTHING.into_iter().enumerate() {
        let data = STANDARD.encode(internal.event().to_string());
        let text = format!(
            r#"{{"subscription":{json},"message":{{"attributes":{{"a":{json},"a":{json}}},
                "orderingKey":{json},"orderingKey":{json},"\udc00":1,"data":"{data}"}}}}"#
        );
        internal.gateway.account(EVENTS).post(PUSH).text(text).await.status(204);
        assert_eq!(internal.reasons().await.len(), index + 1, "{json}");
    }
    let data = STANDARD.encode(internal.event().to_string());
    let twice = format!(r#"{{"message":{{"data":"{data}","data":"{data}"}}}}"#);
    let twice = internal.gateway.account(EVENTS).post(PUSH).text(twice).await;
    twice.invalid("body.message.data");
}

#[tokio::test]
async fn no_suspension_is_lost_for_its_reason() {
    const SESSION: &str = "/api/bff/backoffice/v1/session";
    for json in ANYTHING.into_iter().map(Some).chain([None]) {
        let internal = Internal::open().await;
        let mut event = internal.event();
        event["type"] = json!("melmastoon.tenant.tenant.suspended.v1");
        event["subject"] = json!(internal.gateway.tenant);
        event["data"] = json.map_or(json!({}), |_| json!({"reason": "REASON"}));
        let text = event.to_string().replace("\"REASON\"", json.unwrap_or_default());
        assert_eq!(internal.push(&text).await.status, 204, "{json:?}");
        internal.gateway.get(SESSION).await.problem(503, "MELMASTOON.TENANT.SUSPENDED");
    }
}
