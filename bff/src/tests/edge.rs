//! Authentication, through the real router.

use serde_json::{Value, json};

use crate::tests::test_gateway::{Key, TestGateway};

type Change = fn(&mut contracts::upstream::iam::AccessTokenClaims);

const SESSION: &str = "/api/bff/backoffice/v1/session";

#[tokio::test]
async fn a_bound_token_with_a_fresh_proof_is_accepted() {
    let gateway = TestGateway::open().await;
    let answer = gateway.send(gateway.request(SESSION)).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.body["deviceId"], gateway.device.as_str());
    assert_eq!(answer.body["roles"], json!(["front_desk"]));
    assert!(answer.headers.contains_key("x-request-id"));
}

#[tokio::test]
async fn the_scheme_s_case_does_not_matter() {
    let gateway = TestGateway::open().await;
    let token = gateway.token(|_| {});
    let proof = gateway.proof(SESSION, &token, |_| {});
    let answer = gateway.send(gateway.with(SESSION, &format!("dpop {token}"), &proof)).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
}

#[tokio::test]
async fn without_credentials_the_challenge_names_no_error() {
    let gateway = TestGateway::open().await;
    let answer = gateway.send(http::Request::get(SESSION)).await;
    answer.is_problem(401, "MELMASTOON.BFF.SESSION_REQUIRED");
    assert_eq!(
        answer.headers["www-authenticate"],
        r#"DPoP algs="ES256 EdDSA Ed25519 ES384 RS256 PS256""#
    );
}

#[tokio::test]
async fn a_proof_is_taken_once() {
    let gateway = TestGateway::open().await;
    let token = gateway.token(|_| {});
    let proof = gateway.proof(SESSION, &token, |_| {});
    let request = || gateway.with(SESSION, &format!("DPoP {token}"), &proof);
    assert_eq!(gateway.send(request()).await.status, 200);
    let answer = gateway.send(request()).await;
    answer.is_problem(401, "MELMASTOON.BFF.DPOP_INVALID");
    assert!(
        answer.headers["www-authenticate"]
            .to_str()
            .unwrap()
            .contains(r#"error="invalid_dpop_proof""#)
    );
}

#[tokio::test]
async fn with_nonces_on_the_answer_hands_one_out_and_a_proof_that_carries_it_is_taken() {
    let gateway = TestGateway::with_nonces().await;
    let token = gateway.token(|_| {});
    let send = async |nonce: Option<&str>| {
        let proof = gateway.proof(SESSION, &token, |claims| {
            // A clock that drifts does not matter: the nonce says when.
            claims["iat"] = json!(7);
            if let Some(nonce) = nonce {
                claims["nonce"] = json!(nonce);
            }
        });
        gateway.send(gateway.with(SESSION, &format!("DPoP {token}"), &proof)).await
    };
    let mut nonce = String::new();
    for guess in [None, Some("guess")] {
        let answer = send(guess).await;
        answer.is_problem(401, "MELMASTOON.BFF.DPOP_INVALID");
        let challenge = answer.headers["www-authenticate"].to_str().unwrap();
        assert!(challenge.contains(r#"error="use_dpop_nonce""#), "{challenge}");
        assert_eq!(answer.headers["cache-control"], "no-store");
        assert_eq!(answer.headers.get_all("dpop-nonce").iter().count(), 1);
        nonce = answer.headers["dpop-nonce"].to_str().unwrap().to_owned();
    }
    let answer = send(Some(&nonce)).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(answer.headers.contains_key("dpop-nonce"));
    assert_eq!(send(Some(&nonce)).await.status, 200, "a nonce serves many proofs");
}

#[tokio::test]
async fn a_missing_wrong_doubled_or_foreign_proof_is_refused() {
    let gateway = TestGateway::open().await;
    let token = gateway.token(|_| {});
    let authorization = format!("DPoP {token}");
    let send =
        async |request| gateway.send(request).await.is_problem(401, "MELMASTOON.BFF.DPOP_INVALID");

    let missing = http::Request::get(SESSION)
        .header("authorization", &authorization)
        .header("x-device-id", gateway.device.as_str());
    send(missing).await;
    let other_route = gateway.proof("/api/bff/backoffice/v1/dashboard", &token, |_| {});
    send(gateway.with(SESSION, &authorization, &other_route)).await;
    let old = gateway.proof(SESSION, &token, |claims| {
        claims["iat"] = json!(claims["iat"].as_i64().unwrap() - 120);
    });
    send(gateway.with(SESSION, &authorization, &old)).await;
    let unbound = gateway.proof(SESSION, "another token", |_| {});
    send(gateway.with(SESSION, &authorization, &unbound)).await;
    let good = gateway.proof(SESSION, &token, |_| {});
    send(
        gateway
            .with(SESSION, &authorization, &good)
            .header("dpop", gateway.proof(SESSION, &token, |_| {})),
    )
    .await;
    // The attacker's own key, with a proof that is valid for it.
    let mut attacker = TestGateway::open().await;
    attacker.device = gateway.device;
    send(gateway.with(SESSION, &authorization, &attacker.proof(SESSION, &token, |_| {}))).await;
    // None of the refused ones was burnt with the good one.
    assert_eq!(gateway.send(gateway.with(SESSION, &authorization, &good)).await.status, 200);
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
        let token = gateway.token(change);
        let proof = gateway.proof(SESSION, &token, |_| {});
        let answer = gateway.send(gateway.with(SESSION, &format!("DPoP {token}"), &proof)).await;
        assert_eq!(answer.body["code"], "MELMASTOON.BFF.TOKEN_INVALID", "{name}");
    }
    let forged = Key::new().sign(
        &json!({"alg": "ES256", "typ": "at+jwt", "kid": "iam-1"}),
        &serde_json::to_value(gateway.claims()).unwrap(),
    );
    let proof = gateway.proof(SESSION, &forged, |_| {});
    gateway
        .send(gateway.with(SESSION, &format!("DPoP {forged}"), &proof))
        .await
        .is_problem(401, "MELMASTOON.BFF.TOKEN_INVALID");
}

#[tokio::test]
async fn a_bound_token_under_bearer_is_refused_even_with_a_proof() {
    let gateway = TestGateway::open().await;
    let token = gateway.token(|_| {});
    let proof = gateway.proof(SESSION, &token, |_| {});
    let answer = gateway.send(gateway.with(SESSION, &format!("Bearer {token}"), &proof)).await;
    answer.is_problem(401, "MELMASTOON.BFF.TOKEN_INVALID");
}

#[tokio::test]
async fn two_authorization_headers_are_malformed() {
    let gateway = TestGateway::open().await;
    let answer = gateway.send(gateway.request(SESSION).header("authorization", "Bearer x")).await;
    answer.is_problem(400, "MELMASTOON.GENERAL.MALFORMED_REQUEST");
}

#[tokio::test]
async fn an_expired_token_has_its_own_code_and_only_after_its_proof() {
    let gateway = TestGateway::open().await;
    let token = gateway.token(|claims| claims.exp = claims.iat - 1);
    let authorization = format!("DPoP {token}");
    let proof = gateway.proof(SESSION, &token, |_| {});
    gateway
        .send(gateway.with(SESSION, &authorization, &proof))
        .await
        .is_problem(401, "MELMASTOON.BFF.SESSION_EXPIRED");
    let bad = gateway.proof(SESSION, "another token", |_| {});
    gateway
        .send(gateway.with(SESSION, &authorization, &bad))
        .await
        .is_problem(401, "MELMASTOON.BFF.DPOP_INVALID");
}

#[tokio::test]
async fn the_device_header_must_be_the_token_s_device() {
    let gateway = TestGateway::open().await;
    let token = gateway.token(|claims| claims.device_id = "dev_01K0000000000000000000000A".into());
    let proof = gateway.proof(SESSION, &token, |_| {});
    let answer = gateway.send(gateway.with(SESSION, &format!("DPoP {token}"), &proof)).await;
    answer.is_problem(403, "MELMASTOON.BFF.DEVICE_MISMATCH");
}

#[tokio::test]
async fn a_property_outside_the_scope_is_refused_and_a_malformed_one_named() {
    let gateway = TestGateway::open().await;
    let dashboard =
        |property: &str| format!("/api/bff/backoffice/v1/dashboard?propertyId={property}");
    let other = dashboard("ppt_01K0000000000000000000000A");
    gateway
        .send(gateway.request(&other))
        .await
        .is_problem(403, "MELMASTOON.BFF.PROPERTY_OUT_OF_SCOPE");
    let answer = gateway.send(gateway.request(&dashboard("x"))).await;
    answer.is_problem(400, "MELMASTOON.GENERAL.VALIDATION_FAILED");
    assert_eq!(answer.body["errors"][0]["field"], "query.propertyId");
    let missing = gateway.send(gateway.request("/api/bff/backoffice/v1/dashboard")).await;
    assert_eq!(missing.body["errors"][0]["code"], "REQUIRED");
}

#[tokio::test]
async fn without_upstreams_the_dashboard_is_whole_but_empty() {
    let gateway = TestGateway::open().await;
    let path = format!("/api/bff/backoffice/v1/dashboard?propertyId={}", gateway.property);
    let answer = gateway.send(gateway.request(&path)).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.body["partial"], true);
    assert_eq!(answer.body["widgets"]["occupancy"]["reason"], "UPSTREAM_UNAVAILABLE");
    assert_eq!(answer.body["widgets"]["kpis"]["status"], "forbidden");
    let unknown =
        gateway.send(gateway.request(&format!("{path}&widgets=occupancy,nonsense"))).await;
    unknown.is_problem(400, "MELMASTOON.GENERAL.VALIDATION_FAILED");
}

#[tokio::test]
async fn errors_of_the_router_itself_are_problems_too() {
    let gateway = TestGateway::open().await;
    let outside = gateway.send(http::Request::get("/nowhere")).await;
    outside.is_problem(404, "MELMASTOON.GENERAL.RESOURCE_NOT_FOUND");
    let inside = gateway.send(gateway.request("/api/bff/backoffice/v1/nowhere")).await;
    inside.is_problem(404, "MELMASTOON.GENERAL.RESOURCE_NOT_FOUND");
    let method = gateway.send(http::Request::post("/openapi.json")).await;
    method.is_problem(405, "MELMASTOON.GENERAL.METHOD_NOT_ALLOWED");
    assert_eq!(method.headers["allow"], "GET,HEAD");
    let large = gateway.send(gateway.request(SESSION).header("content-length", "2000000")).await;
    large.is_problem(413, "MELMASTOON.BFF.PAYLOAD_TOO_LARGE");
}

#[tokio::test]
async fn a_stream_begins_with_hello() {
    let gateway = TestGateway::open().await;
    let path = "/api/bff/backoffice/v1/sse/stream";
    let first = gateway.first_bytes(gateway.request(path)).await;
    let [retry, id, event, data, "", ""] = first.split('\n').collect::<Vec<_>>()[..] else {
        panic!("{first}")
    };
    let retry: u64 = retry.strip_prefix("retry: ").unwrap().parse().unwrap();
    assert!((1000..3000).contains(&retry), "{retry}");
    let hello: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
    assert_eq!(hello["retryMs"], retry);
    assert_eq!(id, format!("id: {}.0", hello["connectionId"].as_str().unwrap()));
    assert_eq!(event, "event: hello");
    let unknown = gateway.send(gateway.request(&format!("{path}?channels=gossip"))).await;
    unknown.is_problem(400, "MELMASTOON.GENERAL.VALIDATION_FAILED");
    gateway.send(http::Request::get(path)).await.is_problem(401, "MELMASTOON.BFF.SESSION_REQUIRED");
}
