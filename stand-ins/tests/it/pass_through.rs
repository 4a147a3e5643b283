//! A real service behind the fault layer.

use axum::Router;
use axum::extract::Request;
use axum::routing::post;
use contracts::upstream::Upstream;
use http::StatusCode;
use serde_json::json;
use service_kit::lifecycle::Lifecycle;
use service_kit::serve::{Plain, bind, serve};

use crate::world::{self, ANY_PORT, World};

/// Says what it was asked, and with which header.
async fn echo(request: Request) -> (StatusCode, [(&'static str, &'static str); 1], String) {
    let seen = request.headers().get("x-deadline-ms").and_then(|it| it.to_str().ok());
    let told = format!("{} {}", request.uri(), seen.unwrap_or_default());
    let body = axum::body::to_bytes(request.into_body(), 1024).await.unwrap();
    let body = String::from_utf8(body.to_vec()).unwrap();
    (StatusCode::CONFLICT, [("x-own", "kept")], format!("{told} {body}"))
}

/// Stand-ins whose listener for staff leads to a service, and the life of that service.
async fn world() -> (World, Lifecycle) {
    let (listener, life) = (bind(ANY_PORT).await.unwrap(), Lifecycle::new());
    let service = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    serve(listener, Plain, Router::new().route("/api/v1/staff/clock", post(echo)), &life);
    let world = world::start_with(|config| {
        config.upstreams.insert(Upstream::Staff, ANY_PORT);
        config.pass_through.insert(Upstream::Staff, service);
    });
    (world.await, life)
}

fn punch(world: &World) -> reqwest::RequestBuilder {
    let url = world.url(Upstream::Staff, "/api/v1/staff/clock?of=a%20b");
    world.http.post(url).header("x-deadline-ms", "400").body("in")
}

#[tokio::test]
async fn a_request_and_its_answer_pass_as_they_are() {
    let (world, _life) = world().await;
    let answer = punch(&world).send().await.unwrap();
    assert_eq!(answer.status(), 409);
    assert_eq!(answer.headers()["x-own"], "kept");
    assert_eq!(answer.text().await.unwrap(), "/api/v1/staff/clock?of=a%20b 400 in");
    let counted = world.listed("requests", Upstream::Staff).await;
    assert_eq!(counted[0]["route"], "POST /api/v1/staff/clock");
}

#[tokio::test]
async fn faults_hit_a_service_like_what_is_played() {
    let (world, _life) = world().await;
    world.fail(json!({"upstream": "staff", "kind": "status", "times": 1})).await;
    assert_eq!(punch(&world).send().await.unwrap().status(), 503);
    assert_eq!(punch(&world).send().await.unwrap().status(), 409);
    world.fail(json!({"upstream": "staff", "kind": "refuse"})).await;
    assert!(punch(&world).send().await.unwrap_err().is_connect());
    world.heal().await;
    assert_eq!(punch(&world).send().await.unwrap().status(), 409);
}

#[tokio::test]
async fn a_service_that_is_away_is_away_here_too() {
    let world = world::start_with(|config| {
        config.upstreams.insert(Upstream::Staff, ANY_PORT);
        let nobody = "http://127.0.0.1:1".parse().unwrap();
        config.pass_through.insert(Upstream::Staff, nobody);
    });
    let error = punch(&world.await).send().await.unwrap_err();
    assert!(!error.is_connect() && !error.is_timeout(), "{error}");
}

#[tokio::test]
async fn a_service_is_never_played() {
    let mut config = world::config("key.pem".into(), "http://127.0.0.1:1/jwks".to_owned());
    config.upstreams.insert(Upstream::Staff, ANY_PORT);
    let refused = config.check().unwrap_err().to_string();
    assert!(refused.contains("MELMASTOON_PASS_THROUGH__"), "{refused}");
}
