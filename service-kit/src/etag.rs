//! Entity tags (RFC 9110 section 8.8.3) and conditional requests.

use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use headers::{HeaderMapExt, IfMatch, IfNoneMatch};
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_MATCH, IF_NONE_MATCH};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use http_body_util::BodyExt;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::problem::ApiError;

/// Responds with `body`, or 304 if the caller has it. The tag is made of `basis`, the body without the
/// instant of the read, and is therefore weak.
pub fn respond<T: Serialize>(request: &HeaderMap, basis: &impl Serialize, body: &T) -> Response {
    let tag = tag(basis);
    let held = holds(request, &tag);
    let headers = [
        (ETAG, HeaderValue::from_str(&tag).expect("a tag is ASCII")),
        (CACHE_CONTROL, HeaderValue::from_static("private, no-cache")),
    ];
    if held {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    (headers, axum::Json(body)).into_response()
}

/// Whether `If-None-Match` names this tag (RFC 9110 section 13.1.2). A header that cannot be parsed
/// names none.
pub fn holds(request: &HeaderMap, tag: &str) -> bool {
    let held = parsable(request, &IF_NONE_MATCH).typed_get::<IfNoneMatch>();
    held.zip(tag.parse().ok()).is_some_and(|(held, tag)| !held.precondition_passes(&tag))
}

/// Whether `If-Match` allows a change: it is absent, or names this tag or `*` (RFC 9110 section
/// 13.1.1). A header that cannot be parsed names none.
pub fn may_change(request: &HeaderMap, tag: &str) -> bool {
    if !request.contains_key(IF_MATCH) {
        return true;
    }
    let expected = parsable(request, &IF_MATCH).typed_get::<IfMatch>();
    expected.zip(tag.parse().ok()).is_some_and(|(it, tag)| it.precondition_passes(&tag))
}

/// The lines of one header joined to one (RFC 9110 section 5.3), in which no entity tag has white
/// space within its quotes: RFC 9110 allows none there, and the parser panics on it in a debug build.
/// Joined before that, because quotes may open in one line and close in the next. No tag of ours has
/// the mark that stands for white space.
fn parsable(request: &HeaderMap, name: &HeaderName) -> HeaderMap {
    let lines: Vec<&[u8]> = request.get_all(name).iter().map(HeaderValue::as_bytes).collect();
    if lines.is_empty() {
        return HeaderMap::new();
    }
    let joined = HeaderValue::from_bytes(&without_quoted_space(lines.join(&b", "[..])));
    joined.into_iter().map(|line| (name.clone(), line)).collect()
}

fn without_quoted_space(mut line: Vec<u8>) -> Vec<u8> {
    let mut is_quoted = false;
    for byte in &mut line {
        is_quoted ^= *byte == b'"';
        if is_quoted && matches!(byte, b' ' | b'\t') {
            *byte = b'!';
        }
    }
    line
}

fn tag(basis: &impl Serialize) -> String {
    tag_of(&serde_json::to_vec(basis).expect("a body is plain JSON"))
}

fn tag_of(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    let start = digest.first_chunk().copied().unwrap_or_default();
    format!("W/\"{:032x}\"", u128::from_be_bytes(start))
}

/// Middleware that adds an entity tag and `Cache-Control` to every successful GET and HEAD, and responds
/// with 304 if the caller has it. Responses with a tag, with `no-store`, or of unknown length (streams)
/// are unchanged. The router removes the body of a response to HEAD afterwards.
pub async fn conditional_get(request: Request, next: Next) -> Response {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return next.run(request).await;
    }
    let held = request.headers().get_all(IF_NONE_MATCH).iter().cloned();
    let held: HeaderMap = held.map(|value| (IF_NONE_MATCH, value)).collect();
    let response = next.run(request).await;
    if is_untagged(&response) { tagged(response, &held).await } else { response }
}

fn is_untagged(response: &Response) -> bool {
    let headers = response.headers();
    let is_stored = headers.get(CACHE_CONTROL).is_none_or(|value| value != "no-store");
    let is_whole = response.body().size_hint().exact().is_some();
    response.status() == StatusCode::OK && !headers.contains_key(ETAG) && is_stored && is_whole
}

async fn tagged(response: Response, held: &HeaderMap) -> Response {
    let (mut parts, body) = response.into_parts();
    let body = match body.collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => return ApiError::internal(&error).into_response(),
    };
    let tag = tag_of(&body);
    parts.headers.insert(ETAG, HeaderValue::from_str(&tag).expect("a tag is ASCII"));
    let private = HeaderValue::from_static("private, no-cache");
    parts.headers.entry(CACHE_CONTROL).or_insert(private);
    if !holds(held, &tag) {
        return Response::from_parts(parts, Body::from(body));
    }
    parts.status = StatusCode::NOT_MODIFIED;
    parts.headers.remove(CONTENT_TYPE);
    parts.headers.remove(CONTENT_LENGTH);
    Response::from_parts(parts, Body::empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status_of(tag: &str) -> StatusCode {
        let mut headers = HeaderMap::new();
        headers.insert(IF_NONE_MATCH, HeaderValue::from_str(tag).unwrap());
        respond(&headers, &[1], &[1, 2]).status()
    }

    #[test]
    fn a_current_tag_is_304() {
        let tag = tag(&[1]);
        for held in [tag.clone(), tag.trim_start_matches("W/").to_owned(), format!("\"x\", {tag}")]
        {
            assert_eq!(status_of(&held), StatusCode::NOT_MODIFIED, "{held}");
        }
        assert_eq!(status_of("*"), StatusCode::NOT_MODIFIED);
        assert_eq!(status_of("\"x\""), StatusCode::OK);
    }

    fn headers(name: http::HeaderName, lines: &[&str]) -> HeaderMap {
        lines.iter().map(|line| (name.clone(), line.parse().unwrap())).collect()
    }

    #[test]
    fn a_list_of_tags_is_read_as_rfc_9110_writes_it() {
        let tag = "W/\"a,b\"";
        let spaced = "\"other, one\", \"a,b\"";
        for held in [
            &["\"x\", W/\"a,b\""][..],
            &[spaced],
            &["\"a,b\""],
            &["\"x\"", "\"y\" , \"a,b\""],
            &["*"],
        ] {
            assert!(holds(&headers(IF_NONE_MATCH, held), tag), "{held:?}");
        }
        for other in [
            &["\"a\", \"b\""][..],
            &["\"x, a,b\""],
            &["\"a, b\""],
            &["\" "],
            &["a,b"],
            &["w/\"a,b\""],
            &["\"a", "b\""],
            &["W/\"a", "b\""],
            &["\"a", "\""],
            &["\"", "\"a,b\""],
            &["\"\t", "\""],
            &[""],
            &[],
        ] {
            assert!(!holds(&headers(IF_NONE_MATCH, other), tag), "{other:?}");
        }
    }

    #[test]
    fn a_change_goes_on_when_its_tag_is_named_strongly() {
        let tag = "\"v=3\"";
        for expected in [&["\"v=3\""][..], &["\"v=2\", \"v=3\""], &["*"], &[]] {
            assert!(may_change(&headers(IF_MATCH, expected), tag), "{expected:?}");
        }
        for other in
            [&["\"v=2\""][..], &["W/\"v=3\""], &["v=3"], &["\"x, \"v=3\"\""], &["\"v", "3\""]]
        {
            assert!(!may_change(&headers(IF_MATCH, other), tag), "{other:?}");
        }
    }
}
