//! The token endpoint.

use auth::jwks::KeySet;
use auth::token::TokenRules;
use contracts::upstream::Upstream;
use contracts::upstream::iam::TokenResponse;
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::platform::{self, Desktop, TestPlatform, encoded, password_form, refresh_form};

/// Status and `error` of a response that must not be cached.
async fn refusal(response: reqwest::Response) -> (u16, String) {
    assert_eq!(response.headers()["cache-control"], "no-store");
    let status = response.status().as_u16();
    let body: Value = response.json().await.unwrap();
    assert!(body["error_description"].as_str().unwrap().ends_with('.'), "{body}");
    (status, body["error"].as_str().unwrap().to_owned())
}

fn bad(error: &str) -> (u16, String) {
    (400, error.to_owned())
}

async fn keys(platform: &TestPlatform) -> KeySet {
    let response = platform.http.get(platform.url(Upstream::Iam, "/jwks")).send().await.unwrap();
    KeySet::parse(&response.bytes().await.unwrap()).unwrap()
}

#[tokio::test]
async fn metadata_names_the_configured_issuer() {
    let platform = platform::start().await;
    let url = platform.url(Upstream::Iam, "/.well-known/oauth-authorization-server");
    let metadata: Value = platform.http.get(url).send().await.unwrap().json().await.unwrap();
    let issuer = &platform.running.issuer;
    assert_eq!(metadata["issuer"], *issuer);
    assert_eq!(metadata["token_endpoint"], format!("{issuer}/oauth2/token"));
    assert_eq!(metadata["jwks_uri"], format!("{issuer}/jwks"));
    assert_eq!(metadata["dpop_signing_alg_values_supported"], json!(auth::proof::ALGORITHMS));
}

#[tokio::test]
async fn a_signed_in_operator_gets_a_token_the_gateway_takes() {
    let platform = platform::start().await;
    let keys = keys(&platform).await;
    let rules =
        TokenRules { issuer: platform.running.issuer.clone(), audience: "bff-backoffice".into() };
    for operator in &platform.demo.operators {
        let tokens = platform.sign_in(operator, &Desktop::new()).await;
        assert_eq!((tokens.token_type.as_str(), tokens.expires_in), ("DPoP", 900));
        let token =
            auth::token::verify(&tokens.access_token, &keys, &rules, platform.now()).unwrap();
        assert_eq!(token.principal.operator, operator.id);
        assert_eq!(token.principal.tenant, operator.tenant_id);
        assert_eq!(token.principal.device, operator.device_id);
        assert_eq!(token.principal.properties, operator.property_ids);
        assert!(operator.roles.iter().all(|&role| token.principal.roles.contains(role)));
        assert!(token.principal.session.is_some());
    }
}

#[tokio::test]
async fn wrong_names_passwords_and_devices_look_the_same() {
    let platform = platform::start().await;
    let operator = platform.operator("frontdesk", "kabul");
    let other = platform.operator("gm", "kabul");
    let mut answers = Vec::new();
    for (field, value) in [
        ("username", "nobody@lapis.example"),
        ("password", other.password.as_str()),
        ("password", "x"),
        ("device_id", other.device_id.as_str()),
        ("device_id", "this computer"),
    ] {
        let form = password_form(operator)
            .map(|(name, own)| if name == field { (name, value) } else { (name, own) });
        let response = platform.token(&form, &Desktop::new().proof(&platform)).await;
        assert_eq!(response.status(), 400);
        answers.push(response.text().await.unwrap());
    }
    assert!(answers[0].contains("invalid_grant"));
    assert!(
        answers.iter().all(|response| *response == answers[0]),
        "the answers tell what was wrong"
    );
}

#[tokio::test]
async fn a_refresh_token_is_used_once_and_a_second_use_ends_the_session() {
    let platform = platform::start().await;
    let (operator, desktop) = (platform.operator("frontdesk", "kabul"), Desktop::new());
    let first = platform.sign_in(operator, &desktop).await.refresh_token.unwrap();
    let response = platform.token(&refresh_form(&first), &desktop.proof(&platform)).await;
    let second: TokenResponse = response.json().await.unwrap();
    let second = second.refresh_token.unwrap();
    assert_ne!(first, second);
    platform.pass(SignedDuration::from_secs(30));
    for token in [&first, &second] {
        let response = platform.token(&refresh_form(token), &desktop.proof(&platform)).await;
        assert_eq!(refusal(response).await, bad("invalid_grant"));
    }
    let actions: Vec<_> = platform.listed("effects", Upstream::Iam).await;
    let actions: Vec<_> = actions.iter().map(|effect| effect["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["session.opened", "session.refreshed", "session.revoked"]);
}

#[tokio::test]
async fn a_refresh_token_without_its_key_does_nothing() {
    let platform = platform::start().await;
    let (operator, desktop) = (platform.operator("frontdesk", "kabul"), Desktop::new());
    let token = platform.sign_in(operator, &desktop).await.refresh_token.unwrap();
    let stolen = platform.token(&refresh_form(&token), &Desktop::new().proof(&platform)).await;
    assert_eq!(refusal(stolen).await, bad("invalid_grant"));
    let own = platform.token(&refresh_form(&token), &desktop.proof(&platform)).await;
    assert_eq!(own.status(), 200, "a thief ended the session");
}

#[tokio::test]
async fn an_unused_refresh_token_ends_after_thirty_days() {
    let platform = platform::start().await;
    let (operator, desktop) = (platform.operator("frontdesk", "kabul"), Desktop::new());
    let token = platform.sign_in(operator, &desktop).await.refresh_token.unwrap();
    platform.pass(SignedDuration::from_hours(30 * 24));
    let late = platform.token(&refresh_form(&token), &desktop.proof(&platform)).await;
    assert_eq!(refusal(late).await, bad("invalid_grant"));
}

#[tokio::test]
async fn two_refreshes_at_once_get_the_same_pair() {
    let platform = platform::start().await;
    let (operator, desktop) = (platform.operator("frontdesk", "kabul"), Desktop::new());
    let token = platform.sign_in(operator, &desktop).await.refresh_token.unwrap();
    let form = refresh_form(&token);
    let (one, two) = (desktop.proof(&platform), desktop.proof(&platform));
    let (one, two) = tokio::join!(platform.token(&form, &one), platform.token(&form, &two));
    let (one, two): (TokenResponse, TokenResponse) =
        (one.json().await.unwrap(), two.json().await.unwrap());
    assert!(one == two, "two pairs for one refresh token");
}

#[tokio::test]
async fn a_proof_is_required_fresh_for_this_endpoint_and_used_once() {
    let platform = platform::start().await;
    let (operator, desktop) = (platform.operator("frontdesk", "kabul"), Desktop::new());
    let form = password_form(operator);
    let used = desktop.proof(&platform);
    assert_eq!(platform.token(&form, &used).await.status(), 200);
    let wrong = [
        used,
        "abc".to_owned(),
        desktop.proof_with(&platform, |claims| claims["htm"] = "GET".into()),
        desktop.proof_with(&platform, |claims| {
            claims["htu"] = "http://127.0.0.1:1/oauth2/token".into();
        }),
        desktop.proof_with(&platform, |claims| {
            claims["iat"] = (platform.now().as_second() - 120).into();
        }),
        desktop.proof_with(&platform, |claims| {
            claims.as_object_mut().unwrap().remove("jti");
        }),
    ];
    for proof in &wrong {
        assert_eq!(refusal(platform.token(&form, proof).await).await, bad("invalid_dpop_proof"));
    }
    let url = platform.url(Upstream::Iam, "/oauth2/token");
    let post = || {
        let post = platform.http.post(&url).body(encoded(&form));
        post.header("content-type", "application/x-www-form-urlencoded")
    };
    let none = post().send().await.unwrap();
    assert_eq!(refusal(none).await, bad("invalid_dpop_proof"));
    let (one, two) = (desktop.proof(&platform), desktop.proof(&platform));
    let two = post().header("dpop", one).header("dpop", two).send().await.unwrap();
    assert_eq!(refusal(two).await, bad("invalid_dpop_proof"));
}

#[tokio::test]
async fn malformed_requests_get_the_error_rfc_6749_names() {
    let platform = platform::start().await;
    let operator = platform.operator("frontdesk", "kabul");
    let own = password_form(operator);
    let with = |extra: (&'static str, &'static str)| [own.as_slice(), &[extra]].concat();
    let without =
        |gone: &str| -> Vec<_> { own.into_iter().filter(|(name, _)| *name != gone).collect() };
    let replaced = |field: &'static str, value: &'static str| {
        let mut form = without(field);
        form.push((field, value));
        form
    };
    let client = (401, "invalid_client".to_owned());
    for (form, expected) in [
        (replaced("grant_type", "client_credentials"), bad("unsupported_grant_type")),
        (without("grant_type"), bad("invalid_request")),
        (without("username"), bad("invalid_request")),
        (without("device_id"), bad("invalid_request")),
        (with(("username", "twice")), bad("invalid_request")),
        (without("client_id"), client.clone()),
        (replaced("client_id", "mobile"), client.clone()),
        (with(("client_secret", "s")), client),
        (vec![("grant_type", "refresh_token"), ("client_id", "desktop")], bad("invalid_request")),
        (refresh_form("made-up").to_vec(), bad("invalid_grant")),
    ] {
        let response = platform.token(&form, &Desktop::new().proof(&platform)).await;
        assert_eq!(refusal(response).await, expected, "{form:?}");
    }
    let json = platform.http.post(platform.url(Upstream::Iam, "/oauth2/token")).json(&json!({}));
    assert_eq!(refusal(json.send().await.unwrap()).await, bad("invalid_request"));
}

#[tokio::test]
async fn with_nonces_on_a_proof_needs_a_current_one_and_clocks_may_drift() {
    let platform = platform::start_with(|config| config.iam.dpop_nonces = true).await;
    let (operator, desktop) = (platform.operator("frontdesk", "kabul"), Desktop::new());
    let form = password_form(operator);
    let challenge = platform.token(&form, &desktop.proof(&platform)).await;
    let nonce = challenge.headers()["dpop-nonce"].to_str().unwrap().to_owned();
    assert_eq!(refusal(challenge).await, bad("use_dpop_nonce"));
    let drifted = platform.now().as_second() - 3600;
    let proof = || {
        desktop.proof_with(&platform, |claims| {
            claims["nonce"] = nonce.as_str().into();
            claims["iat"] = drifted.into();
        })
    };
    let response = platform.token(&form, &proof()).await;
    assert_eq!(response.status(), 200);
    assert!(response.headers().contains_key("dpop-nonce"));
    platform.pass(SignedDuration::from_mins(3));
    assert_eq!(refusal(platform.token(&form, &proof()).await).await, bad("use_dpop_nonce"));
}

#[tokio::test]
async fn the_console_may_call_it_and_other_pages_may_not() {
    let platform = platform::start().await;
    let own = format!("http://127.0.0.1:{}", platform.running.control.port());
    for (origin, allowed) in [(own.as_str(), true), ("https://elsewhere.example", false)] {
        let preflight = platform
            .http
            .request(reqwest::Method::OPTIONS, platform.url(Upstream::Iam, "/oauth2/token"))
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "dpop")
            .send()
            .await
            .unwrap();
        let answered = preflight.headers().get("access-control-allow-origin");
        assert_eq!(answered.is_some_and(|value| value == origin), allowed);
    }
}
