//! Authentication, through the real router.

use serde_json::{Value, json};

use crate::tests::streams;
use crate::tests::test_gateway::{Key, TestGateway};

type Change = fn(&mut contracts::upstream::iam::AccessTokenClaims);

const SESSION: &str = "/api/bff/backoffice/v1/session";
const DPOP_INVALID: &str = "MELMASTOON.BFF.DPOP_INVALID";
const TOKEN_INVALID: &str = "MELMASTOON.BFF.TOKEN_INVALID";

#[tokio::test]
async fn a_bound_token_with_a_fresh_proof_is_accepted() {
    let gateway = TestGateway::open().await;
    let response = gateway.get(SESSION).await.status(200);
    assert_eq!(response.body["deviceId"], gateway.device.as_str());
    assert_eq!(response.body["roles"], json!(["front_desk"]));
    assert!(response.headers.contains_key("x-request-id"));
}

#[tokio::test]
async fn the_scheme_s_case_does_not_matter() {
    let gateway = TestGateway::open().await;
    let token = gateway.token(|_| {});
    let request = gateway.get(SESSION).token(&token);
    request.header("authorization", format!("dpop {token}")).await.status(200);
}

#[tokio::test]
async fn without_credentials_the_challenge_names_no_error() {
    let gateway = TestGateway::open().await;
    let response = gateway.get(SESSION).anonymous().await;
    let response = response.problem(401, "MELMASTOON.BFF.SESSION_REQUIRED");
    let challenge = r#"DPoP algs="ES256 EdDSA Ed25519 ES384 RS256 PS256""#;
    assert_eq!(response.headers["www-authenticate"], challenge);
}

#[tokio::test]
async fn a_proof_is_taken_once() {
    let gateway = TestGateway::open().await;
    let token = gateway.token(|_| {});
    let proof = gateway.proof(SESSION, &token, |_| {});
    let send = || gateway.get(SESSION).token(&token).header("dpop", &proof);
    send().await.status(200);
    let response = send().await.problem(401, DPOP_INVALID);
    assert!(response.header("www-authenticate").contains(r#"error="invalid_dpop_proof""#));
}

#[tokio::test]
async fn with_nonces_on_the_answer_hands_one_out_and_a_proof_that_carries_it_is_taken() {
    let gateway = TestGateway::with_nonces().await;
    // A clock that drifts does not matter: the nonce says when.
    let send = || gateway.get(SESSION).proof(|claims| claims["iat"] = json!(7));
    let with = |nonce: String| send().proof(move |claims| claims["nonce"] = json!(nonce));
    let mut nonce = String::new();
    for request in [send(), with("guess".into())] {
        let response = request.await.problem(401, DPOP_INVALID);
        let challenge = response.header("www-authenticate");
        assert!(challenge.contains(r#"error="use_dpop_nonce""#), "{challenge}");
        assert_eq!(response.headers["cache-control"], "no-store");
        assert_eq!(response.headers.get_all("dpop-nonce").iter().count(), 1);
        nonce = response.header("dpop-nonce").to_owned();
    }
    let response = with(nonce.clone()).await.status(200);
    assert!(response.headers.contains_key("dpop-nonce"));
    assert_eq!(with(nonce).await.status, 200, "a nonce serves many proofs");
}

#[tokio::test]
async fn a_missing_wrong_doubled_or_foreign_proof_is_refused() {
    let gateway = TestGateway::open().await;
    let token = gateway.token(|_| {});
    let request = || gateway.get(SESSION).token(&token);
    let proof = |path, token| gateway.proof(path, token, |_| {});
    request().without("dpop").await.problem(401, DPOP_INVALID);
    let other_route = proof("/api/bff/backoffice/v1/dashboard", &token);
    request().header("dpop", other_route).await.problem(401, DPOP_INVALID);
    let old = |claims: &mut Value| claims["iat"] = json!(claims["iat"].as_i64().unwrap() - 120);
    request().proof(old).await.problem(401, DPOP_INVALID);
    let unbound = proof(SESSION, "another token");
    request().header("dpop", unbound).await.problem(401, DPOP_INVALID);
    let good = proof(SESSION, &token);
    let two = [good.as_str(), &proof(SESSION, &token)];
    request().without("dpop").header_lines("dpop", &two).await.problem(401, DPOP_INVALID);
    // The attacker's own key, with a proof that is valid for it.
    let mut attacker = TestGateway::open().await;
    attacker.device = gateway.device;
    let foreign = attacker.proof(SESSION, &token, |_| {});
    request().header("dpop", foreign).await.problem(401, DPOP_INVALID);
    // None of the refused ones was burnt with the good one.
    request().header("dpop", good).await.status(200);
}

#[tokio::test]
async fn a_token_that_is_not_ours_is_refused() {
    let gateway = TestGateway::open().await;
    let wrong: [(&str, Change); 4] = [
        ("issuer", |claims| claims.iss = "https://evil.test".into()),
        ("audience", |claims| claims.aud = "other".into()),
        ("tenant", |claims| claims.tenant_id = "none".into()),
        ("not valid yet", |claims| claims.iat += 3600),
    ];
    for (name, change) in wrong {
        let response = gateway.get(SESSION).claims(change).await;
        assert_eq!(response.body["code"], TOKEN_INVALID, "{name}");
    }
    let forged = Key::new().sign(
        &json!({"alg": "ES256", "typ": "at+jwt", "kid": "iam-1"}),
        &serde_json::to_value(gateway.claims()).unwrap(),
    );
    gateway.get(SESSION).token(forged).await.problem(401, TOKEN_INVALID);
}

#[tokio::test]
async fn a_bound_token_under_bearer_is_refused_even_with_a_proof() {
    let gateway = TestGateway::open().await;
    let token = gateway.token(|_| {});
    let request = gateway.get(SESSION).token(&token);
    let response = request.header("authorization", format!("Bearer {token}")).await;
    response.problem(401, TOKEN_INVALID);
}

#[tokio::test]
async fn two_authorization_headers_are_malformed() {
    let gateway = TestGateway::open().await;
    let response = gateway.get(SESSION).header_lines("authorization", &["Bearer x"]).await;
    response.problem(400, "MELMASTOON.GENERAL.MALFORMED_REQUEST");
}

#[tokio::test]
async fn an_expired_token_has_its_own_code_and_only_after_its_proof() {
    let gateway = TestGateway::open().await;
    let expired = || gateway.get(SESSION).claims(|claims| claims.exp = claims.iat - 1);
    expired().await.problem(401, "MELMASTOON.BFF.SESSION_EXPIRED");
    let bad = gateway.proof(SESSION, "another token", |_| {});
    expired().header("dpop", bad).await.problem(401, DPOP_INVALID);
}

#[tokio::test]
async fn the_device_header_must_be_the_token_s_device() {
    let gateway = TestGateway::open().await;
    let other = "dev_01K0000000000000000000000A";
    let response = gateway.get(SESSION).claims(|claims| claims.device_id = other.into()).await;
    response.problem(403, "MELMASTOON.BFF.DEVICE_MISMATCH");
}

#[tokio::test]
async fn a_property_outside_the_scope_is_refused_and_a_malformed_one_named() {
    let gateway = TestGateway::open().await;
    let dashboard =
        |property: &str| format!("/api/bff/backoffice/v1/dashboard?propertyId={property}");
    let other = dashboard("ppt_01K0000000000000000000000A");
    gateway.get(other).await.problem(403, "MELMASTOON.BFF.PROPERTY_OUT_OF_SCOPE");
    gateway.get(dashboard("x")).await.invalid("query.propertyId");
    let missing = gateway.get("/api/bff/backoffice/v1/dashboard").await;
    assert_eq!(missing.body["errors"][0]["code"], "REQUIRED");
}

#[tokio::test]
async fn without_upstreams_the_dashboard_is_whole_but_empty() {
    let gateway = TestGateway::open().await;
    let path = format!("/api/bff/backoffice/v1/dashboard?propertyId={}", gateway.property);
    let response = gateway.get(&path).await.status(200);
    assert_eq!(response.body["partial"], true);
    assert_eq!(response.body["widgets"]["occupancy"]["reason"], "UPSTREAM_UNAVAILABLE");
    assert_eq!(response.body["widgets"]["kpis"]["status"], "forbidden");
    gateway.get(format!("{path}&widgets=occupancy,nonsense")).await.invalid("query.widgets");
}

#[tokio::test]
async fn errors_of_the_router_itself_are_problems_too() {
    let gateway = TestGateway::open().await;
    let not_found = "MELMASTOON.GENERAL.RESOURCE_NOT_FOUND";
    gateway.get("/nowhere").anonymous().await.problem(404, not_found);
    gateway.get("/api/bff/backoffice/v1/nowhere").await.problem(404, not_found);
    let method = gateway.post("/openapi.json").anonymous().await;
    let method = method.problem(405, "MELMASTOON.GENERAL.METHOD_NOT_ALLOWED");
    assert_eq!(method.headers["allow"], "GET,HEAD");
    let large = gateway.get(SESSION).header("content-length", "2000000").await;
    large.problem(413, "MELMASTOON.BFF.PAYLOAD_TOO_LARGE");
}

#[tokio::test]
async fn a_stream_begins_with_hello() {
    let gateway = TestGateway::open().await;
    let path = "/api/bff/backoffice/v1/sse/stream";
    let first = streams::next(&mut gateway.stream().await).await.unwrap();
    let [retry, id, event, data, "", ""] = first.split('\n').collect::<Vec<_>>()[..] else {
        panic!("{first}")
    };
    let retry: u64 = retry.strip_prefix("retry: ").unwrap().parse().unwrap();
    assert!((1000..3000).contains(&retry), "{retry}");
    let hello: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
    assert_eq!(hello["retryMs"], retry);
    assert_eq!(id, format!("id: {}.0", hello["connectionId"].as_str().unwrap()));
    assert_eq!(event, "event: hello");
    gateway.get(format!("{path}?channels=gossip")).await.invalid("query.channels");
    gateway.get(path).anonymous().await.problem(401, "MELMASTOON.BFF.SESSION_REQUIRED");
}
