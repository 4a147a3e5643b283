//! A fake iam on a socket: responds as the test says and records its calls.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use contracts::problem::Problem;
use contracts::upstream::Upstream;
use contracts::upstream::iam::TokenResponse;
use http::{HeaderMap, StatusCode, Uri};
use serde_json::{Value, json};
use service_kit::lifecycle::Lifecycle;
use tokio::sync::Semaphore;

use crate::tests::test_gateway::TestGateway;

/// A received call.
#[derive(Debug, Clone)]
pub(crate) struct ReceivedCall {
    pub(crate) path: String,
    pub(crate) bearer: String,
    pub(crate) request_id: String,
    pub(crate) body: Value,
}

#[derive(Clone)]
pub(crate) struct Iam {
    played: Arc<Mutex<Played>>,
    calls: Arc<Semaphore>,
}

struct Played {
    response: (u16, Value),
    after: Duration,
    requests: Vec<ReceivedCall>,
}

impl Iam {
    pub(crate) async fn open() -> (Self, String) {
        let played =
            Played { response: (204, Value::Null), after: Duration::ZERO, requests: Vec::new() };
        let listener = service_kit::serve::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let calls = Arc::new(Semaphore::new(0));
        let iam = Self { played: Arc::new(Mutex::new(played)), calls };
        let app = Router::new().fallback(respond).with_state(iam.clone());
        service_kit::serve::serve(listener, service_kit::serve::Plain, app, &Lifecycle::new());
        (iam, url)
    }

    pub(crate) fn answers(&self, status: u16, body: Value) {
        self.played.lock().unwrap().response = (status, body);
    }

    pub(crate) fn refuses(&self, status: u16, code: &'static str) {
        let mut problem =
            Problem::new(&contracts::problem::code::UNAUTHENTICATED, "iam says no. Try again.");
        (problem.status, problem.code) = (status, code.into());
        self.answers(status, serde_json::to_value(problem).unwrap());
    }

    /// A token response with this access token.
    pub(crate) fn grants(&self, access_token: String) {
        let response = TokenResponse {
            access_token,
            token_type: "DPoP".into(),
            expires_in: 900,
            refresh_token: Some("the-next".into()),
        };
        self.answers(200, serde_json::to_value(response).unwrap());
    }

    pub(crate) fn attests(&self) {
        self.answers(200, json!({"verifiedAt": "2026-01-01T00:00:00.000Z"}));
    }

    pub(crate) fn takes(&self, time: Duration) {
        self.played.lock().unwrap().after = time;
    }

    /// Returns after the next call.
    pub(crate) async fn called(&self) {
        self.calls.acquire().await.unwrap().forget();
    }

    pub(crate) fn requests(&self) -> Vec<ReceivedCall> {
        self.played.lock().unwrap().requests.clone()
    }
}

async fn respond(State(iam): State<Iam>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let text = |name: &str| headers[name].to_str().unwrap().to_owned();
    let requests = ReceivedCall {
        path: uri.path().to_owned(),
        bearer: text("authorization"),
        request_id: text("x-request-id"),
        body: serde_json::from_slice(&body).unwrap(),
    };
    let (response, after) = {
        let mut played = iam.played.lock().unwrap();
        played.requests.push(requests);
        iam.calls.add_permits(1);
        (played.response.clone(), played.after)
    };
    if !after.is_zero() {
        tokio::time::sleep(after).await;
    }
    let (status, body) = response;
    let status = StatusCode::from_u16(status).unwrap();
    if body.is_null() { status.into_response() } else { (status, axum::Json(body)).into_response() }
}

/// A gateway and its fake iam.
pub(crate) async fn gateway() -> (TestGateway, Iam) {
    let (iam, url) = Iam::open().await;
    (TestGateway::open().await.asking(Upstream::Iam, &url), iam)
}

/// A gateway whose iam is unreachable.
pub(crate) async fn gateway_without() -> TestGateway {
    TestGateway::open().await.asking(Upstream::Iam, "http://127.0.0.1:1")
}
