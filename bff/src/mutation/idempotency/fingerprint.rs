//! Fingerprint of a request: a digest of everything in it that decides its effect.

use sha2::{Digest, Sha256};
use url::form_urlencoded;

/// SHA-256 over method, path, canonical query, content type and raw body. Credentials, proofs and
/// trace headers are left out: a repeat has new ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fingerprint([u8; 32]);

/// A request's line and its content type.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RequestLine<'a> {
    pub method: &'a str,
    pub path: &'a str,
    pub query: Option<&'a str>,
    pub content_type: &'a str,
}

impl Fingerprint {
    pub(crate) fn new(line: RequestLine<'_>, body: &[u8]) -> Self {
        let content_type = line.content_type.trim_ascii().to_ascii_lowercase();
        let query = canonical(line.query.unwrap_or_default());
        let mut parts = vec![line.method.as_bytes(), line.path.as_bytes(), content_type.as_bytes()];
        parts.extend(query.iter().flat_map(|(name, value)| [name.as_bytes(), value.as_bytes()]));
        parts.push(body);
        let mut digest = Sha256::new();
        // Each with its length, so that no two requests are the same bytes in a row.
        for part in parts {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        Self(digest.finalize().into())
    }

    pub(crate) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Decoded and sorted: order and escapes do not matter, repeated names do.
fn canonical(query: &str) -> Vec<(String, String)> {
    let mut pairs: Vec<_> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    pairs.sort();
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: RequestLine<'_> = RequestLine {
        method: "POST",
        path: "/reservations/rsv_1/check-in",
        query: None,
        content_type: "application/json",
    };

    fn with_query(query: &str) -> Fingerprint {
        Fingerprint::new(RequestLine { query: Some(query), ..LINE }, b"{}")
    }

    #[test]
    fn each_part_counts() {
        let first = Fingerprint::new(LINE, b"{}");
        assert_eq!(first, Fingerprint::new(LINE, b"{}"));
        let others = [
            Fingerprint::new(RequestLine { method: "PUT", ..LINE }, b"{}"),
            Fingerprint::new(RequestLine { path: "/reservations/rsv_2/check-in", ..LINE }, b"{}"),
            Fingerprint::new(RequestLine { content_type: "application/x-json", ..LINE }, b"{}"),
            Fingerprint::new(LINE, b"{ }"),
            with_query("a=1"),
        ];
        for other in others {
            assert_ne!(first, other);
        }
    }

    #[test]
    fn a_query_counts_by_its_meaning() {
        assert_eq!(with_query("a=1&b=x%20y"), with_query("b=x+y&a=1"));
        assert_eq!(with_query(""), Fingerprint::new(LINE, b"{}"));
        assert_ne!(with_query("a=1&a=2"), with_query("a=1"));
        assert_ne!(with_query("ab=c"), with_query("a=bc"));
    }

    #[test]
    fn parts_cannot_be_moved_into_one_another() {
        let shifted = RequestLine { path: "/a", content_type: "b", ..LINE };
        let other = RequestLine { path: "/", content_type: "ab", ..LINE };
        assert_ne!(Fingerprint::new(shifted, b""), Fingerprint::new(other, b""));
    }
}
