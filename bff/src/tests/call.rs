//! Requests that read like sentences: `gateway.post(path).key(&key).json(&body).await.status(201)`.

use std::pin::Pin;

use axum::Router;
use axum::body::Body;
use contracts::upstream::iam::AccessTokenClaims;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use serde::Serialize;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::tests::response::TestResponse;
use crate::tests::test_gateway::TestGateway;

/// Changes, applied in order.
type Changes<'a, T> = Vec<Box<dyn FnOnce(&mut T) + 'a>>;

/// A request, sent by awaiting it.
#[must_use = "a call is sent by awaiting it"]
pub(crate) struct TestCall<'a> {
    app: &'a Router,
    method: Method,
    path: String,
    /// `None` for a request without credentials.
    operator: Option<Operator<'a>>,
    /// Of the headers of the credentials.
    headers: Changes<'a, HeaderMap>,
    body: Body,
}

/// The test gateway's operator, who sends a valid token and a fresh proof from the gateway's device.
struct Operator<'a> {
    gateway: &'a TestGateway,
    claims: AccessTokenClaims,
    /// Sent instead of a token with the claims.
    token: Option<String>,
    /// Of the claims of the proof.
    proof: Changes<'a, Value>,
}

impl TestGateway {
    pub(crate) fn get(&self, path: impl Into<String>) -> TestCall<'_> {
        self.call("GET", path)
    }

    pub(crate) fn post(&self, path: impl Into<String>) -> TestCall<'_> {
        self.call("POST", path)
    }

    /// Calls the public listener as the operator.
    pub(crate) fn call(&self, method: &str, path: impl Into<String>) -> TestCall<'_> {
        let operator =
            Operator { gateway: self, claims: self.claims(), token: None, proof: Vec::new() };
        TestCall { operator: Some(operator), ..TestCall::to(&self.app, method, path) }
    }
}

impl<'a> TestCall<'a> {
    /// A request without credentials; `method` in any case.
    pub(crate) fn to(app: &'a Router, method: &str, path: impl Into<String>) -> Self {
        let method = method.to_ascii_uppercase().parse().unwrap();
        let (path, headers) = (path.into(), Vec::new());
        Self { app, method, path, operator: None, headers, body: Body::empty() }
    }

    /// Sends the request to this router instead.
    pub(crate) fn through(self, app: &'a Router) -> Self {
        Self { app, ..self }
    }

    fn operator(&mut self) -> &mut Operator<'a> {
        self.operator.as_mut().expect("a call with an operator's credentials")
    }

    /// Changes the claims of the token.
    pub(crate) fn claims(mut self, change: impl FnOnce(&mut AccessTokenClaims)) -> Self {
        change(&mut self.operator().claims);
        self
    }

    /// Replaces the roles of the token.
    pub(crate) fn role(self, role: &str) -> Self {
        self.claims(|claims| claims.roles = vec![role.to_owned()])
    }

    /// Replaces the token; the proof is for this one.
    pub(crate) fn token(mut self, token: impl Into<String>) -> Self {
        self.operator().token = Some(token.into());
        self
    }

    /// Changes the claims of the proof.
    pub(crate) fn proof(mut self, change: impl FnOnce(&mut Value) + 'a) -> Self {
        self.operator().proof.push(Box::new(change));
        self
    }

    /// Sends no token, and a proof that is for none.
    pub(crate) fn proof_only(self) -> Self {
        let without_token =
            |claims: &mut Value| drop(claims.as_object_mut().unwrap().remove("ath"));
        self.proof(without_token).without("authorization")
    }

    /// Sends no credentials.
    pub(crate) fn anonymous(self) -> Self {
        Self { operator: None, ..self }
    }

    /// Sets a header, also one of the credentials.
    pub(crate) fn header(self, name: impl AsRef<str>, value: impl AsRef<str>) -> Self {
        let name: HeaderName = name.as_ref().parse().unwrap();
        let value = HeaderValue::from_str(value.as_ref()).unwrap();
        self.change_headers(move |headers| drop(headers.insert(name, value)))
    }

    /// Adds lines to a header.
    pub(crate) fn header_lines(self, name: &'static str, lines: &'a [&'a str]) -> Self {
        self.change_headers(move |headers| {
            let name = HeaderName::from_static(name);
            headers.extend(lines.iter().map(|line| (name.clone(), line.parse().unwrap())));
        })
    }

    /// Removes a header of the credentials.
    pub(crate) fn without(self, name: &'static str) -> Self {
        self.change_headers(move |headers| drop(headers.remove(name)))
    }

    fn change_headers(mut self, change: impl FnOnce(&mut HeaderMap) + 'a) -> Self {
        self.headers.push(Box::new(change));
        self
    }

    /// Sets the `Idempotency-Key`.
    pub(crate) fn key(self, key: impl AsRef<str>) -> Self {
        self.header("idempotency-key", key)
    }

    /// Sets the attestation of a second factor, if there is one.
    pub(crate) fn attestation(self, id: Option<impl ToString>) -> Self {
        match id {
            Some(id) => self.header("x-mfa-attestation", id.to_string()),
            None => self,
        }
    }

    /// Sets the entity tag that the caller holds.
    pub(crate) fn holding(self, tag: impl AsRef<str>) -> Self {
        self.header("if-none-match", tag)
    }

    /// Sets the client address that the trusted proxy saw.
    pub(crate) fn from(self, address: &str) -> Self {
        self.header("x-forwarded-for", format!("192.0.2.1, {address}"))
    }

    pub(crate) fn json(self, body: &(impl Serialize + ?Sized)) -> Self {
        self.text(serde_json::to_string(body).unwrap())
    }

    /// Sends this text as JSON, whatever it is.
    pub(crate) fn text(self, body: impl Into<String>) -> Self {
        let body = Body::from(body.into());
        Self { body, ..self.header("content-type", "application/json") }
    }

    /// Builds the request.
    pub(crate) fn request(self) -> Request<Body> {
        let method = self.method;
        let mut headers = match self.operator {
            Some(operator) => operator.credentials(&method, &self.path),
            None => HeaderMap::new(),
        };
        for change in self.headers {
            change(&mut headers);
        }
        let request = Request::builder().method(method).uri(self.path);
        let mut request = request.body(self.body).unwrap();
        *request.headers_mut() = headers;
        request
    }

    /// Sends the request and returns a response whose body may be endless.
    pub(crate) fn response(self) -> impl Future<Output = http::Response<Body>> {
        // Signed here and not when it is polled, so that many at once do not wait for each other.
        let response = self.app.clone().oneshot(self.request());
        async { response.await.unwrap() }
    }

    /// Asserts 200 and returns the body, which may be endless.
    pub(crate) async fn stream(self) -> Body {
        let response = self.response().await;
        assert_eq!(response.status(), 200);
        response.into_body()
    }
}

impl Operator<'_> {
    fn credentials(self, method: &Method, path: &str) -> HeaderMap {
        let Self { gateway, claims, token, proof } = self;
        let token = token.unwrap_or_else(|| gateway.sign(claims));
        let proof = gateway.proof(path.split('?').next().unwrap(), &token, |claims| {
            claims["htm"] = json!(method.as_str());
            for change in proof {
                change(claims);
            }
        });
        let credentials = [
            ("authorization", format!("DPoP {token}")),
            ("dpop", proof),
            ("x-device-id", gateway.device.to_string()),
        ];
        let parsed = |(name, value): (&'static str, String)| {
            (HeaderName::from_static(name), value.parse().unwrap())
        };
        credentials.map(parsed).into_iter().collect()
    }
}

impl<'a> IntoFuture for TestCall<'a> {
    type Output = TestResponse;
    type IntoFuture = Pin<Box<dyn Future<Output = TestResponse> + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        let response = self.response();
        Box::pin(async { TestResponse::of(response.await).await })
    }
}
