//! The committed OpenAPI document equals the generated one, and every route is guarded.

use serde_json::Value;

/// Routes that need no principal. This list may only shrink.
const OPEN: [&str; 0] = [];
/// Routes for which a proof without a token is enough. This list may only shrink.
const PROVEN: [&str; 1] = ["/api/bff/backoffice/v1/auth/refresh"];

#[test]
fn the_committed_document_is_the_generated_one() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../contracts/openapi/bff.json");
    service_kit::testing::assert_committed(file, &crate::http::openapi::json());
}

#[test]
fn every_documented_route_names_its_guard_and_its_problems() {
    let document: Value = serde_json::from_str(&crate::http::openapi::json()).unwrap();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let needs = |scheme| operation["security"][0].get(scheme).is_some();
            let guarded = needs("dpop") || needs("proof") && PROVEN.contains(&path.as_str());
            assert!(guarded || OPEN.contains(&path.as_str()), "{method} {path} names no guard");
            assert!(
                operation["responses"].get("default").is_some(),
                "{method} {path} documents no problem"
            );
            assert!(operation["operationId"].is_string(), "{method} {path} has no operation id");
        }
    }
}

#[test]
fn every_reference_of_the_document_resolves() {
    let json = crate::http::openapi::json();
    let document: Value = serde_json::from_str(&json).unwrap();
    let references =
        json.split("\"$ref\": \"#").skip(1).map(|rest| rest.split('"').next().unwrap());
    for reference in references {
        assert!(document.pointer(reference).is_some(), "{reference} leads nowhere");
    }
}
