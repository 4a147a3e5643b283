use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::middleware::from_fn;
use axum::routing::get;
use http::StatusCode;
use http_body_util::BodyExt;
use migrations::Schema;
use migrations::testing::TestDatabase;
use tokio::time::sleep;
use tower::ServiceExt;

use super::*;
use crate::postgres::{self, Database};

const REMAINING: Duration = Duration::from_millis(300);

async fn get_root(app: &Router, left: Option<&str>) -> Response {
    let mut request = Request::get("/");
    if let Some(left) = left {
        request = request.header(headers::DEADLINE_MS, left);
    }
    app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
}

fn app<H: axum::handler::Handler<T, ()>, T: 'static>(handler: H) -> Router {
    Router::new().route("/", get(handler)).layer(from_fn(enforce))
}

#[tokio::test(start_paused = true)]
async fn a_request_ends_at_its_deadline() {
    let app = app(async || sleep(REMAINING * 2).await);
    let begun = Instant::now();
    assert_eq!(get_root(&app, Some("300")).await.status(), StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(begun.elapsed(), REMAINING);
    assert_eq!(get_root(&app, None).await.status(), StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn an_error_at_the_deadline_is_a_gateway_timeout() {
    let until_the_end = async || {
        sleep(REMAINING).await;
        StatusCode::SERVICE_UNAVAILABLE
    };
    let late = get_root(&app(until_the_end), Some("300")).await;
    assert_eq!(late.status(), StatusCode::GATEWAY_TIMEOUT);
    let early = get_root(&app(async || StatusCode::SERVICE_UNAVAILABLE), Some("300")).await;
    assert_eq!(early.status(), StatusCode::SERVICE_UNAVAILABLE);
}

/// What Postgres lets a statement of the request take, in milliseconds.
async fn limit(database: Database) -> String {
    let mut connection = database.connection().await.unwrap();
    let tenant = "tnt_01K0000000000000000000000A".parse().unwrap();
    let transaction = postgres::read(&mut connection, tenant).await.unwrap();
    let setting = "SELECT setting FROM pg_settings WHERE name = 'statement_timeout'";
    transaction.query_one(setting, &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn a_statement_ends_with_the_request_it_runs_for() {
    let server = TestDatabase::create(Schema::Staff).await;
    let database = Database::new(&crate::testing::postgres(server.url(), 1)).unwrap();
    let app = app(async move || limit(database.clone()).await);
    let limit = async |left| {
        let body = get_root(&app, left).await.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(body.into()).unwrap().parse::<u64>().unwrap()
    };
    assert_eq!(limit(None).await, 800);
    assert!((1..=700).contains(&limit(Some("699")).await));
    // The next one on the same connection has its own; a far deadline changes nothing.
    assert_eq!(limit(Some("60000")).await, 800);
}
