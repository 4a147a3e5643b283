//! Key sets (RFC 7517). Only signature keys with an id and an allowed algorithm are trusted; other
//! entries are skipped, so that an unknown kind of key does not invalidate the set.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, DecodingKey};
use sha2::{Digest, Sha256};

use crate::json::{Object, Value};
use crate::jwk::{KeyKind, ProofKey};

/// A larger document is rejected unread.
pub const MAX_DOCUMENT_BYTES: usize = 128 * 1024;

/// A key and the algorithms that tokens signed with it may use.
#[derive(Clone, derive_more::Debug)]
#[debug("TrustedKey {{ algorithms: {algorithms:?}, .. }}")]
pub struct TrustedKey {
    pub key: DecodingKey,
    pub algorithms: Vec<Algorithm>,
    thumbprint: String,
}

/// The trusted keys of one document, by `kid`.
#[derive(Debug, Clone, Default)]
pub struct KeySet {
    /// `None` for an id that several keys share: it is ambiguous.
    keys: HashMap<String, Option<TrustedKey>>,
    digest: [u8; 32],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    #[error("the key set is larger than 128 KiB")]
    TooLarge,
    #[error("the key set is not a JWK Set")]
    Json,
    #[error("the key set holds no usable signature key")]
    Empty,
}

impl KeySet {
    /// Parses a JWK Set (RFC 7517 section 5). Two different keys with one `kid` are both ignored.
    pub fn parse(json: &[u8]) -> Result<Self, KeySetError> {
        if json.len() > MAX_DOCUMENT_BYTES {
            return Err(KeySetError::TooLarge);
        }
        let set = Object::parse(json).map_err(|_| KeySetError::Json)?;
        let Some(Value::List(members)) = set.get("keys") else { return Err(KeySetError::Json) };
        let mut keys = HashMap::new();
        for (kid, key) in members.iter().filter_map(trusted) {
            insert(&mut keys, kid, key);
        }
        if !keys.values().any(Option::is_some) {
            return Err(KeySetError::Empty);
        }
        Ok(Self { keys, digest: Sha256::digest(json).into() })
    }

    pub fn get(&self, kid: &str) -> Option<&TrustedKey> {
        self.keys.get(kid)?.as_ref()
    }

    pub fn len(&self) -> usize {
        self.keys.values().flatten().count()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether both were parsed from equal documents.
    pub fn is_same_document(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

fn insert(keys: &mut HashMap<String, Option<TrustedKey>>, kid: String, key: TrustedKey) {
    match keys.entry(kid) {
        Entry::Vacant(entry) => drop(entry.insert(Some(key))),
        Entry::Occupied(mut entry) => {
            let same = entry.get().as_ref().is_some_and(|known| known.thumbprint == key.thumbprint);
            if !same {
                tracing::warn!(kid = %entry.key(), "Ignored two different keys with one id in a key set.");
                entry.insert(None);
            }
        }
    }
}

/// The id and the key, if it is trusted. A published private key is not: anyone could sign with it.
fn trusted(member: &Value<'_>) -> Option<(String, TrustedKey)> {
    let Value::Object(jwk) = member else { return None };
    let public = ProofKey::read(jwk).ok()?;
    let algorithms = algorithms(public.kind, jwk)?;
    if !public.is_well_formed() {
        return None;
    }
    let parsed: Jwk = serde_json::from_str(&public.canonical).ok()?;
    let key = DecodingKey::from_jwk(&parsed).ok()?;
    let kid = jwk.text("kid")?.to_owned();
    Some((kid, TrustedKey { key, algorithms, thumbprint: public.thumbprint() }))
}

/// The algorithms allowed by gateway-api section 2 and by the key's own `alg` (RFC 7517 section
/// 4.4).
fn algorithms(kind: KeyKind, jwk: &Object<'_>) -> Option<Vec<Algorithm>> {
    let allowed: &[(&str, Algorithm)] = match kind {
        KeyKind::P256 => &[("ES256", Algorithm::ES256)],
        KeyKind::Ed25519 => &[("EdDSA", Algorithm::EdDSA), ("Ed25519", Algorithm::EdDSA)],
        KeyKind::Rsa => &[("RS256", Algorithm::RS256), ("PS256", Algorithm::PS256)],
        KeyKind::P384 => &[],
    };
    let own = match jwk.get("alg") {
        None => None,
        Some(value) => Some(value.text()?),
    };
    let mut found: Vec<_> = allowed
        .iter()
        .filter(|(name, _)| own.is_none_or(|own| own == *name))
        .map(|(_, algorithm)| *algorithm)
        .collect();
    found.dedup();
    if found.is_empty() { None } else { Some(found) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ED: &str =
        r#""kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo""#;
    const EC: &str = r#""kty":"EC","crv":"P-256","x":"l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs","y":"9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA""#;

    fn set(keys: &[String]) -> Result<KeySet, KeySetError> {
        KeySet::parse(format!(r#"{{"keys":[{}]}}"#, keys.join(",")).as_bytes())
    }

    #[test]
    fn keys_of_unknown_kinds_do_not_invalidate_the_set() {
        let keys = [
            format!(r#"{{{ED},"kid":"a","alg":"EdDSA"}}"#),
            r#"{"kty":"AKP","alg":"ML-DSA-44","pub":"AA","kid":"b"}"#.to_owned(),
            r#"{"kty":"EC","crv":"P-999","x":"AA","y":"AA","kid":"c"}"#.to_owned(),
            format!(r#"{{{EC},"kid":"d","use":"enc"}}"#),
            format!(r#"{{{EC},"kid":"e","d":null}}"#),
            format!(r#"{{{EC},"kid":"f","alg":"ES384"}}"#),
            format!(r#"{{{EC},"kid":"g","key_ops":["sign"]}}"#),
            format!(r"{{{EC}}}"),
            "7".to_owned(),
        ];
        let set = set(&keys).unwrap();
        assert_eq!(
            (set.len(), set.get("a").unwrap().algorithms.as_slice()),
            (1, &[Algorithm::EdDSA][..])
        );
    }

    #[test]
    fn an_id_of_two_keys_names_neither() {
        let (one, two) = (format!(r#"{{{ED},"kid":"a"}}"#), format!(r#"{{{EC},"kid":"a"}}"#));
        let third = format!(r#"{{{EC},"kid":"b"}}"#);
        let twice = set(&[one.clone(), two.clone(), third, one.clone()]).unwrap();
        assert!(twice.get("a").is_none() && twice.get("b").is_some());
        assert!(set(&[one.clone(), one]).unwrap().get("a").is_some(), "the same key twice is one");
    }

    #[test]
    fn invalid_documents_are_rejected() {
        assert_eq!(set(&[]).unwrap_err(), KeySetError::Empty);
        assert_eq!(KeySet::parse(b"[]").unwrap_err(), KeySetError::Json);
        assert_eq!(KeySet::parse(b"{}").unwrap_err(), KeySetError::Json);
        assert_eq!(
            KeySet::parse(&vec![b' '; MAX_DOCUMENT_BYTES + 1]).unwrap_err(),
            KeySetError::TooLarge
        );
    }
}
