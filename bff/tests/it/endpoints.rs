//! The table of endpoints is what happens: compared with the OpenAPI document, and, a request for
//! each role and route, with the router.

use std::collections::BTreeSet;

use bff::http::endpoints::{ENDPOINTS, Endpoint};
use bff::mutation::attestation::Scope;
use contracts::clock::{Clock, Entropy};
use contracts::id::{FolioId, Id, LockDeviceId, PropertyId, ReservationId};
use contracts::role::{Role, RoleSet};
use serde_json::{Value, json};

use crate::desk::{BASE, fresh_key};
use crate::house::{Answer, House};

fn fresh<T: Id>() -> T {
    T::generate(&Clock::system(), &Entropy::system())
}

#[test]
fn the_document_and_the_table_list_the_same_endpoints_and_requirements() {
    let document: Value = serde_json::from_str(&bff::http::openapi::json()).unwrap();
    let mut documented = BTreeSet::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        let path = path.strip_prefix(BASE).unwrap();
        for (method, operation) in operations.as_object().unwrap() {
            let row = Endpoint::find(method, path);
            let row =
                row.unwrap_or_else(|| panic!("{method} {path} is not in bff::http::endpoints"));
            assert_eq!(operation["x-requires"], row.requirement(), "{method} {path}");
            documented.insert((method.clone(), path.to_owned()));
        }
    }
    let listed = ENDPOINTS.iter().map(|row| (row.method.to_owned(), row.path.to_owned()));
    assert_eq!(listed.collect::<BTreeSet<_>>(), documented);
}

/// A request to the endpoint that is right in all but what is asked for.
#[derive(Debug, Clone, Copy)]
struct Ask {
    role: Role,
    foreign_property: bool,
    key: bool,
}

async fn ask(house: &House, endpoint: &Endpoint, ask: Ask) -> Answer {
    let path = path(house, endpoint, ask.foreign_property);
    let token = house.token(|claims| claims.roles = vec![ask.role.name().to_owned()]);
    let method = endpoint.method.to_uppercase();
    let bare = path.split('?').next().unwrap();
    let proof = house.proof(bare, &token, |claims| claims["htm"] = json!(method));
    let request = house.with(&path, &format!("DPoP {token}"), &proof).method(method.as_str());
    let request = if ask.key { request.header("idempotency-key", fresh_key()) } else { request };
    let request = request.header("content-type", "application/json");
    let response = house.open_answer(request, "{}").await;
    // A stream goes on; its head is enough.
    if response.headers().get("content-type").is_some_and(|kind| kind == "text/event-stream") {
        let (parts, _) = response.into_parts();
        return Answer { status: parts.status, headers: parts.headers, body: Value::Null };
    }
    crate::house::answer(response).await
}

fn path(house: &House, endpoint: &Endpoint, foreign: bool) -> String {
    let lock = fresh::<LockDeviceId>();
    let id = if endpoint.path.starts_with("/folios") {
        fresh::<FolioId>().to_string()
    } else {
        fresh::<ReservationId>().to_string()
    };
    let property = if foreign { fresh::<PropertyId>() } else { house.property };
    let query =
        if endpoint.in_property { format!("?propertyId={property}") } else { String::new() };
    format!(
        "{BASE}{}{query}",
        endpoint.path.replace("{id}", &id).replace("{lockId}", lock.as_str())
    )
}

fn code(answer: &Answer) -> &str {
    answer.body["code"].as_str().unwrap_or_default()
}

/// Those that ask for a token; the one that does not has tests of its own.
fn with_token() -> impl Iterator<Item = &'static Endpoint> {
    ENDPOINTS.iter().filter(|endpoint| !endpoint.proof_only)
}

#[tokio::test]
async fn each_role_is_let_in_exactly_where_the_table_says() {
    for endpoint in with_token() {
        let house = House::open().await;
        for role in Role::ALL {
            let asked = Ask { role, foreign_property: false, key: true };
            let answer = ask(&house, endpoint, asked).await;
            let is_refused = code(&answer) == "MELMASTOON.BFF.ROLE_FORBIDDEN";
            let may = endpoint.roles.contains(role);
            assert_eq!(is_refused, !may, "{endpoint:?} {role:?} {}", answer.body);
        }
    }
}

/// What a request lacks when it comes with a token alone, from the first the gateway judges on.
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
async fn an_endpoint_judges_the_property_asks_for_the_key_and_the_second_factor_as_the_table_says()
{
    let refusals = [
        "MELMASTOON.BFF.PROPERTY_OUT_OF_SCOPE",
        "MELMASTOON.BFF.MFA_REQUIRED",
        "MELMASTOON.BFF.IDEMPOTENCY_KEY_REQUIRED",
    ];
    for endpoint in with_token() {
        let house = House::open().await;
        let role = endpoint.roles.iter().next().unwrap();
        let asked = Ask { role, foreign_property: true, key: false };
        let answer = ask(&house, endpoint, asked).await;
        let refused = Some(code(&answer)).filter(|code| refusals.contains(code));
        assert_eq!(refused.unwrap_or_default(), lacking(endpoint), "{endpoint:?} {}", answer.body);
    }
}

#[test]
fn every_scope_of_the_table_is_one_that_step_up_knows() {
    for scope in ENDPOINTS.iter().filter_map(|endpoint| endpoint.second_factor) {
        assert!(serde_json::from_value::<Scope>(json!(scope)).is_ok(), "{scope}");
    }
}

#[test]
fn nobody_is_listed_as_allowed_to_change_anything_just_by_being_signed_in() {
    for endpoint in ENDPOINTS.iter().filter(|endpoint| endpoint.takes_key) {
        assert_ne!(endpoint.roles, RoleSet::ANY, "{endpoint:?}");
    }
}
