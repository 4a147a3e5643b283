//! The issuer of service accounts' tokens.

use auth::jwks::KeySet;
use auth::oidc::verify;
use auth::token::TokenRules;
use contracts::upstream::Upstream::Iam;
use jiff::SignedDuration;
use serde_json::Value;

use crate::platform::{self, TestPlatform, encoded};

const OPERATOR: &str = "operator-a@demo.melmastoon.example";
const AUDIENCE: &str = "http://gateway.internal";

fn form() -> Vec<(&'static str, &'static str)> {
    vec![
        ("grant_type", "client_credentials"),
        ("client_id", OPERATOR),
        ("client_secret", "a-secret"),
        ("audience", AUDIENCE),
    ]
}

/// Status and body of a response that must not be stored.
async fn request_token(platform: &TestPlatform, form: &[(&str, &str)]) -> (u16, Value) {
    let post = platform.post(Iam, "/oidc/token").body(encoded(form));
    let post = post.header("content-type", "application/x-www-form-urlencoded");
    let response = post.send().await.unwrap();
    assert_eq!(response.headers()["cache-control"], "no-store");
    (response.status().as_u16(), response.json().await.unwrap())
}

async fn document(platform: &TestPlatform, path: &str) -> Value {
    platform.http.get(platform.url(Iam, path)).send().await.unwrap().json().await.unwrap()
}

#[tokio::test]
async fn an_account_gets_a_token_that_the_gateway_takes() {
    let platform = platform::start().await;
    let metadata = document(&platform, "/oidc/.well-known/openid-configuration").await;
    let issuer = format!("{}/oidc", platform.running.issuer);
    assert_eq!(metadata["issuer"], issuer);
    assert_eq!(metadata["jwks_uri"], format!("{issuer}/jwks"));
    assert_eq!(metadata["token_endpoint"], format!("{issuer}/token"));

    let (status, response) = request_token(&platform, &form()).await;
    assert_eq!(
        (status, &response["token_type"], &response["expires_in"]),
        (200, &"Bearer".into(), &3600.into())
    );
    let keys = document(&platform, "/oidc/jwks").await.to_string();
    let keys = KeySet::parse(keys.as_bytes()).unwrap();
    let rules = TokenRules { issuer, audience: AUDIENCE.to_owned() };
    let token = response["id_token"].as_str().unwrap();
    let account = verify(token, &keys, &rules, platform.now()).unwrap();
    assert_eq!(account.email, OPERATOR);
    let later = platform.now() + SignedDuration::from_secs(3601);
    assert!(verify(token, &keys, &rules, later).is_err(), "it never ends");
}

#[tokio::test]
async fn its_keys_are_not_those_of_access_tokens() {
    let platform = platform::start().await;
    let (own, iams) = (document(&platform, "/oidc/jwks").await, document(&platform, "/jwks").await);
    assert_ne!(own["keys"][0]["kid"], iams["keys"][0]["kid"]);
}

#[tokio::test]
async fn wrong_accounts_and_secrets_look_the_same_and_a_token_needs_an_audience() {
    let platform = platform::start().await;
    let with = |field: &str, value: &'static str| -> Vec<_> {
        let swap = |(name, own)| if name == field { (name, value) } else { (name, own) };
        form().into_iter().map(swap).collect()
    };
    let (status, wrong) = request_token(&platform, &with("client_secret", "push-secret")).await;
    assert_eq!((status, &wrong["error"]), (401, &"invalid_client".into()));
    for form in [
        with("client_secret", ""),
        with("client_id", "nobody@demo.melmastoon.example"),
        with("client_id", ""),
    ] {
        assert_eq!(request_token(&platform, &form).await, (401, wrong.clone()), "{form:?}");
    }
    for (form, error) in [
        (with("audience", ""), "invalid_request"),
        (with("grant_type", "password"), "unsupported_grant_type"),
        (with("grant_type", ""), "invalid_request"),
    ] {
        let (status, response) = request_token(&platform, &form).await;
        assert_eq!((status, &response["error"]), (400, &error.into()), "{form:?}");
    }
}

#[tokio::test]
async fn without_accounts_there_is_no_issuer() {
    let platform = platform::start_with(|config| config.oidc = None).await;
    let response = platform.http.get(platform.url(Iam, "/oidc/jwks")).send().await.unwrap();
    assert_eq!(response.status(), 404);
}
