//! Builds requests: the parts that all attempts share once, the rest per attempt.

use std::time::Duration;

use bytes::Bytes;
use contracts::upstream::Upstream;
use contracts::{deadline, headers};
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};
use http_body_util::Full;
use serde::Serialize;
use url::Url;

use crate::context::CallContext;
use crate::transport::{HttpRequest, Transport};

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const REQUEST_ID: HeaderName = HeaderName::from_static(headers::REQUEST_ID);
const TRACEPARENT: HeaderName = HeaderName::from_static(headers::TRACEPARENT);
const DEADLINE_MS: HeaderName = HeaderName::from_static(headers::DEADLINE_MS);
const TENANT_ID: HeaderName = HeaderName::from_static(headers::TENANT_ID);
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static(headers::IDEMPOTENCY_KEY);
const HEADER_CAPACITY: usize = 12;

/// A call with a body, which may change something.
#[derive(Debug, Clone)]
pub struct Call<'a> {
    pub path: &'a str,
    /// JSON.
    pub body: Bytes,
    /// With a key the upstream performs the call once, however often it is sent, so it may be
    /// retried.
    pub idempotency_key: Option<&'a str>,
}

/// The body of a command, with the key under which the upstream performs it once.
#[derive(Debug, Clone)]
pub struct IdempotentBody<'a> {
    pub key: &'a str,
    /// JSON.
    pub body: Bytes,
}

impl<'a> IdempotentBody<'a> {
    pub(crate) fn call(self, path: &'a str) -> Call<'a> {
        Call { path, body: self.body, idempotency_key: Some(self.key) }
    }
}

/// The parts of a request that are the same for every attempt.
#[derive(Debug)]
pub(crate) struct OutgoingRequest<'a> {
    method: Method,
    uri: Uri,
    host: HeaderValue,
    body: Bytes,
    key: Option<&'a str>,
    is_repeatable: bool,
}

impl<'a> OutgoingRequest<'a> {
    pub(crate) fn get<Q: Serialize + ?Sized>(to: &Transport, path: &str, query: &Q) -> Self {
        let query = serde_urlencoded::to_string(query).expect("queries are names and values");
        Self {
            method: Method::GET,
            uri: uri(to.base(), path, &query),
            host: to.host(),
            body: Bytes::new(),
            key: None,
            is_repeatable: true,
        }
    }

    /// `is_repeatable`: it may be sent twice.
    pub(crate) fn post(to: &Transport, call: &Call<'a>, is_repeatable: bool) -> Self {
        Self {
            method: Method::POST,
            uri: uri(to.base(), call.path, ""),
            host: to.host(),
            body: call.body.clone(),
            key: call.idempotency_key,
            is_repeatable,
        }
    }

    pub(crate) fn is_repeatable(&self) -> bool {
        self.is_repeatable
    }

    /// Path and query.
    pub(crate) fn target(&self) -> &str {
        self.uri.path_and_query().map_or("", PathAndQuery::as_str)
    }

    /// Builds one attempt; `left` is the time the upstream has to respond.
    pub(crate) fn to_http(
        &self,
        upstream: Upstream,
        context: &CallContext,
        left: Duration,
    ) -> HttpRequest {
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        let mut headers = HeaderMap::with_capacity(HEADER_CAPACITY);
        headers.insert(HOST, self.host.clone());
        headers.insert(AUTHORIZATION, bearer(&context.credentials.bearer(upstream)));
        headers.insert(REQUEST_ID, value(context.request_id.as_str()));
        headers.insert(TRACEPARENT, value(&context.traceparent));
        headers.insert(DEADLINE_MS, value(&deadline::format(left)));
        if let Some(tenant) = &context.tenant {
            headers.insert(TENANT_ID, value(tenant.as_str()));
        }
        if self.method == Method::POST {
            headers.insert(CONTENT_TYPE, JSON);
        }
        if let Some(key) = self.key {
            headers.insert(IDEMPOTENCY_KEY, value(key));
        }
        *request.headers_mut() = headers;
        request
    }
}

fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("tokens, ids and numbers are ASCII")
}

fn bearer(token: &str) -> HeaderValue {
    let text = ["Bearer ", token].concat();
    let mut value = HeaderValue::from_maybe_shared(Bytes::from(text)).expect("a token is ASCII");
    value.set_sensitive(true);
    value
}

/// `path?query` as the request line carries it.
fn uri(base: &Url, path: &str, query: &str) -> Uri {
    let mut target = String::with_capacity(path.len() + 1 + query.len());
    if is_plain(path) {
        target.push_str(path);
    } else {
        let mut url = base.clone();
        url.set_path(path);
        target.push_str(url.path());
    }
    if !query.is_empty() {
        target.push('?');
        target.push_str(query);
    }
    PathAndQuery::from_maybe_shared(Bytes::from(target))
        .expect("paths and queries are encoded")
        .into()
}

/// Whether the path needs no encoding and has no `.` or `..` to resolve.
fn is_plain(path: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/:".contains(&byte);
    path.starts_with('/') && path.bytes().all(plain) && !path.contains("/.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(path: &str, query: &str) -> String {
        uri(&Url::parse("http://upstream.test/").unwrap(), path, query).to_string()
    }

    #[test]
    fn plain_paths_are_unchanged_and_others_encoded() {
        assert_eq!(target("/api/v1/folios/fol_1/refunds", ""), "/api/v1/folios/fol_1/refunds");
        assert_eq!(target("/api/v1/x", "a=b%20c"), "/api/v1/x?a=b%20c");
        assert_eq!(target("/a b?c#d", ""), "/a%20b%3Fc%23d");
        assert_eq!(target("/a/../b", ""), "/b");
        assert_eq!(target("no-slash", ""), "/no-slash");
    }
}
