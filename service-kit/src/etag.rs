//! Entity tags of reads (RFC 9110 section 8.8.3): a caller that has the answer gets 304.

use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, ETAG, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Serialize;
use sha2::{Digest, Sha256};

/// Answers `body`, or 304 when the request already holds it. `basis` is what makes two answers
/// the same: the body without the instant it was read at. The tag is weak for that reason.
pub fn answer<T: Serialize>(request: &HeaderMap, basis: &impl Serialize, body: &T) -> Response {
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

/// Whether the caller says that it holds the answer with this tag.
pub fn holds(request: &HeaderMap, tag: &str) -> bool {
    request.get_all(IF_NONE_MATCH).iter().any(|value| names(value, tag))
}

fn tag(basis: &impl Serialize) -> String {
    let bytes = serde_json::to_vec(basis).expect("a body is plain JSON");
    let digest = Sha256::digest(bytes);
    let start = digest.first_chunk().copied().unwrap_or_default();
    format!("W/\"{:032x}\"", u128::from_be_bytes(start))
}

/// Weak comparison with each member of the list; `*` names any.
fn names(header: &HeaderValue, tag: &str) -> bool {
    let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    let list = header.to_str().unwrap_or_default();
    list.split(',').any(|member| member.trim() == "*" || opaque(member) == opaque(tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(tag: &str) -> StatusCode {
        let mut headers = HeaderMap::new();
        headers.insert(IF_NONE_MATCH, HeaderValue::from_str(tag).unwrap());
        answer(&headers, &[1], &[1, 2]).status()
    }

    #[test]
    fn what_the_caller_holds_is_not_sent_again() {
        let tag = tag(&[1]);
        for held in [tag.clone(), tag.trim_start_matches("W/").to_owned(), format!("\"x\", {tag}")]
        {
            assert_eq!(asked(&held), StatusCode::NOT_MODIFIED, "{held}");
        }
        assert_eq!(asked("*"), StatusCode::NOT_MODIFIED);
        assert_eq!(asked("\"x\""), StatusCode::OK);
    }
}
