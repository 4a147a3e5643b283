//! A real service behind the fault layer.

use axum::Router;
use axum::extract::Request;
use axum::routing::post;
use contracts::upstream::Upstream;
use garde::Validate;
use http::StatusCode;
use serde_json::json;
use service_kit::lifecycle::Lifecycle;
use service_kit::serve::{Plain, bind, serve};

use crate::platform::{self, ANY_PORT, TestPlatform};

/// Echoes the request and a header.
async fn echo(request: Request) -> (StatusCode, [(&'static str, &'static str); 1], String) {
    let seen = request.headers().get("x-deadline-ms").and_then(|value| value.to_str().ok());
    let listed = format!("{} {}", request.uri(), seen.unwrap_or_default());
    let body = axum::body::to_bytes(request.into_body(), 1024).await.unwrap();
    let body = String::from_utf8(body.to_vec()).unwrap();
    (StatusCode::CONFLICT, [("x-own", "kept")], format!("{listed} {body}"))
}

/// Stand-ins whose listener for staff forwards to a service, and the lifecycle of that service.
async fn platform() -> (TestPlatform, Lifecycle) {
    let (listener, life) = (bind(ANY_PORT).await.unwrap(), Lifecycle::new());
    let service = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    serve(listener, Plain, Router::new().route("/api/v1/staff/clock", post(echo)), &life);
    let platform = platform::start_with(|config| {
        config.upstreams.insert(Upstream::Staff, ANY_PORT);
        config.pass_through.insert(Upstream::Staff, service);
    });
    (platform.await, life)
}

fn punch(platform: &TestPlatform) -> reqwest::RequestBuilder {
    let url = platform.url(Upstream::Staff, "/api/v1/staff/clock?of=a%20b");
    platform.http.post(url).header("x-deadline-ms", "400").body("in")
}

#[tokio::test]
async fn a_request_and_its_answer_pass_as_they_are() {
    let (platform, _life) = platform().await;
    let response = punch(&platform).send().await.unwrap();
    assert_eq!(response.status(), 409);
    assert_eq!(response.headers()["x-own"], "kept");
    assert_eq!(response.text().await.unwrap(), "/api/v1/staff/clock?of=a%20b 400 in");
    let counted = platform.listed("requests", Upstream::Staff).await;
    assert_eq!(counted[0]["route"], "POST /api/v1/staff/clock");
}

#[tokio::test]
async fn faults_apply_to_a_real_service() {
    let (platform, _life) = platform().await;
    platform.fail(json!({"upstream": "staff", "kind": "status", "times": 1})).await;
    assert_eq!(punch(&platform).send().await.unwrap().status(), 503);
    assert_eq!(punch(&platform).send().await.unwrap().status(), 409);
    platform.fail(json!({"upstream": "staff", "kind": "refuse"})).await;
    assert!(punch(&platform).send().await.unwrap_err().is_connect());
    platform.heal().await;
    assert_eq!(punch(&platform).send().await.unwrap().status(), 409);
}

#[tokio::test]
async fn an_unavailable_service_closes_the_connection() {
    let platform = platform::start_with(|config| {
        config.upstreams.insert(Upstream::Staff, ANY_PORT);
        let nobody = "http://127.0.0.1:1".parse().unwrap();
        config.pass_through.insert(Upstream::Staff, nobody);
    });
    let error = punch(&platform.await).send().await.unwrap_err();
    assert!(!error.is_connect() && !error.is_timeout(), "{error}");
}

#[tokio::test]
async fn a_real_service_has_no_stand_in() {
    let mut config = platform::config("key.pem".into(), "http://127.0.0.1:1/jwks".to_owned());
    config.upstreams.insert(Upstream::Staff, ANY_PORT);
    let refused = config.validate().unwrap_err().to_string();
    assert!(refused.contains("MELMASTOON_PASS_THROUGH__"), "{refused}");
}
