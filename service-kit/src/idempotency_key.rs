//! The idempotency key of a request (draft-ietf-httpapi-idempotency-key-header-07).

use contracts::headers::{IDEMPOTENCY_KEY, X_IDEMPOTENCY_KEY};
use http::{HeaderMap, HeaderValue};

/// 16 to 128 of `[A-Za-z0-9_-]`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(String);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("no idempotency key was sent")]
    Absent,
    #[error("the idempotency key is malformed, or two different ones were sent")]
    Malformed,
}

impl IdempotencyKey {
    /// The one key of a request, under either name. Sent twice it must be the same.
    pub fn of(headers: &HeaderMap) -> Result<Self, KeyError> {
        let sent = [IDEMPOTENCY_KEY, X_IDEMPOTENCY_KEY].map(|name| headers.get_all(name));
        let mut keys = sent.into_iter().flatten().map(Self::parse);
        let first = keys.next().ok_or(KeyError::Absent)??;
        if keys.all(|other| other.as_ref() == Ok(&first)) {
            return Ok(first);
        }
        Err(KeyError::Malformed)
    }

    /// Quoted, as the draft has it (a string of RFC 9651), or bare: the same key.
    fn parse(value: &HeaderValue) -> Result<Self, KeyError> {
        let text = value.to_str().map_err(|_| KeyError::Malformed)?.trim_ascii();
        let quoted = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        let key = quoted.unwrap_or(text);
        let is_plain =
            key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
        if is_plain && (16..=128).contains(&key.len()) {
            return Ok(Self(key.to_owned()));
        }
        Err(KeyError::Malformed)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ULID: &str = "01K0000000000000000000000A";

    fn of(sent: &[(&'static str, &str)]) -> Result<String, KeyError> {
        let mut headers = HeaderMap::new();
        for (name, value) in sent {
            headers.append(*name, value.parse().unwrap());
        }
        IdempotencyKey::of(&headers).map(|key| key.0)
    }

    #[test]
    fn quoted_or_bare_and_under_either_name_it_is_the_same_key() {
        let quoted = format!("\"{ULID}\"");
        for (name, value) in [
            ("idempotency-key", ULID),
            ("idempotency-key", quoted.as_str()),
            ("x-idempotency-key", ULID),
        ] {
            assert_eq!(of(&[(name, value)]).as_deref(), Ok(ULID));
        }
        let both = [("idempotency-key", quoted.as_str()), ("x-idempotency-key", ULID)];
        assert_eq!(of(&both).as_deref(), Ok(ULID));
    }

    #[test]
    fn absent_is_not_malformed() {
        assert_eq!(of(&[]), Err(KeyError::Absent));
        assert_eq!(of(&[("idempotency-key", "")]), Err(KeyError::Malformed));
    }

    #[test]
    fn other_forms_and_two_different_keys_are_malformed() {
        let long = "a".repeat(129);
        let odd = ["short", &long, "0123456789abcde.", "0123456789abcdé_", "\"0123456789abcdef"];
        let listed = format!("{ULID}, {ULID}");
        let parameter = format!("\"{ULID}\";a=1");
        for value in odd.into_iter().chain([listed.as_str(), parameter.as_str()]) {
            let mut headers = HeaderMap::new();
            headers.insert("idempotency-key", HeaderValue::from_bytes(value.as_bytes()).unwrap());
            assert_eq!(IdempotencyKey::of(&headers), Err(KeyError::Malformed), "{value}");
        }
        let two = [("idempotency-key", ULID), ("idempotency-key", "01K0000000000000000000000B")];
        assert_eq!(of(&two), Err(KeyError::Malformed));
        let two = [("idempotency-key", ULID), ("x-idempotency-key", "short")];
        assert_eq!(of(&two), Err(KeyError::Malformed));
    }

    #[test]
    fn the_shortest_and_the_longest_are_keys() {
        for length in [16, 128] {
            assert!(of(&[("idempotency-key", &"_".repeat(length))]).is_ok());
        }
    }
}
