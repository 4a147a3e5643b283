//! Compares the endpoint table with the OpenAPI document and, by a request for each role and route,
//! with the router.

use std::collections::BTreeSet;

use contracts::id::{FolioId, LockDeviceId, PropertyId, ReservationId};
use contracts::role::{Role, RoleSet};
use serde_json::{Value, json};

use crate::http::endpoints::{ENDPOINTS, Endpoint};
use crate::mutation::attestation::Scope;
use crate::tests::fixture::{BASE, fresh_key};
use crate::tests::test_gateway::{TestGateway, TestResponse, fresh};

#[test]
fn the_document_and_the_table_list_the_same_endpoints_and_requirements() {
    let document: Value = serde_json::from_str(&crate::http::openapi::json()).unwrap();
    let mut documented = BTreeSet::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        let path = path.strip_prefix(BASE).unwrap();
        for (method, operation) in operations.as_object().unwrap() {
            let row = Endpoint::find(method, path);
            let row =
                row.unwrap_or_else(|| panic!("{method} {path} is not in crate::http::endpoints"));
            assert_eq!(operation["x-requires"], row.requirement(), "{method} {path}");
            documented.insert((method.clone(), path.to_owned()));
        }
    }
    let listed = ENDPOINTS.iter().map(|row| (row.method.to_owned(), row.path.to_owned()));
    assert_eq!(listed.collect::<BTreeSet<_>>(), documented);
}

/// A valid request to the endpoint, except for the given defect.
#[derive(Debug, Clone, Copy)]
struct Ask {
    role: Role,
    foreign_property: bool,
    key: bool,
}

async fn ask(gateway: &TestGateway, endpoint: &Endpoint, ask: Ask) -> TestResponse {
    let path = path(gateway, endpoint, ask.foreign_property);
    let mut request = gateway.call(endpoint.method, path).role(ask.role.name()).text("{}");
    if ask.key {
        request = request.key(fresh_key());
    }
    let response = request.response().await;
    // A stream goes on; its head is enough.
    if response.headers().get("content-type").is_some_and(|kind| kind == "text/event-stream") {
        let (parts, _) = response.into_parts();
        return TestResponse { status: parts.status, headers: parts.headers, body: Value::Null };
    }
    TestResponse::of(response).await
}

fn path(gateway: &TestGateway, endpoint: &Endpoint, foreign: bool) -> String {
    let lock = fresh::<LockDeviceId>();
    let id = if endpoint.path.starts_with("/folios") {
        fresh::<FolioId>().to_string()
    } else {
        fresh::<ReservationId>().to_string()
    };
    let property = if foreign { fresh::<PropertyId>() } else { gateway.property };
    let query =
        if endpoint.in_property { format!("?propertyId={property}") } else { String::new() };
    format!(
        "{BASE}{}{query}",
        endpoint.path.replace("{id}", &id).replace("{lockId}", lock.as_str())
    )
}

fn code(response: &TestResponse) -> &str {
    response.body["code"].as_str().unwrap_or_default()
}

/// Endpoints that require a token; the other one has its own tests.
fn with_token() -> impl Iterator<Item = &'static Endpoint> {
    ENDPOINTS.iter().filter(|endpoint| !endpoint.proof_only)
}

#[tokio::test]
async fn each_role_is_permitted_exactly_where_the_table_says() {
    for endpoint in with_token() {
        let gateway = TestGateway::open().await;
        for &role in Role::ALL {
            let requests = Ask { role, foreign_property: false, key: true };
            let response = ask(&gateway, endpoint, requests).await;
            let is_refused = code(&response) == "MELMASTOON.BFF.ROLE_FORBIDDEN";
            let may = endpoint.roles.contains(role);
            assert_eq!(is_refused, !may, "{endpoint:?} {role:?} {}", response.body);
        }
    }
}

/// What a request with only a token lacks, in the order of the checks.
fn lacking(endpoint: &Endpoint) -> &'static str {
    if endpoint.in_property {
        "MELMASTOON.BFF.PROPERTY_OUT_OF_SCOPE"
    } else if endpoint.second_factor.is_some() {
        "MELMASTOON.BFF.MFA_REQUIRED"
    } else if endpoint.takes_key {
        "MELMASTOON.BFF.IDEMPOTENCY_KEY_REQUIRED"
    } else {
        ""
    }
}

#[tokio::test]
async fn each_endpoint_requires_property_key_and_second_factor_as_the_table_says() {
    let refusals = [
        "MELMASTOON.BFF.PROPERTY_OUT_OF_SCOPE",
        "MELMASTOON.BFF.MFA_REQUIRED",
        "MELMASTOON.BFF.IDEMPOTENCY_KEY_REQUIRED",
    ];
    for endpoint in with_token() {
        let gateway = TestGateway::open().await;
        let role = endpoint.roles.iter().next().unwrap();
        let requests = Ask { role, foreign_property: true, key: false };
        let response = ask(&gateway, endpoint, requests).await;
        let refused = Some(code(&response)).filter(|code| refusals.contains(code));
        assert_eq!(
            refused.unwrap_or_default(),
            lacking(endpoint),
            "{endpoint:?} {}",
            response.body
        );
    }
}

#[test]
fn every_scope_of_the_table_is_one_that_step_up_knows() {
    for scope in ENDPOINTS.iter().filter_map(|endpoint| endpoint.second_factor) {
        assert!(serde_json::from_value::<Scope>(json!(scope)).is_ok(), "{scope}");
    }
}

#[test]
fn every_mutation_requires_roles() {
    for endpoint in ENDPOINTS.iter().filter(|endpoint| endpoint.takes_key) {
        assert_ne!(endpoint.roles, RoleSet::ANY, "{endpoint:?}");
    }
}
