//! Key sets (RFC 7517) as this crate trusts them: signature keys with an id and an algorithm
//! of the allow-list; everything else in the document is passed over.

use std::collections::HashMap;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};

/// One key and the algorithms a token signed with it may name.
#[derive(Clone)]
pub struct TrustedKey {
    pub key: DecodingKey,
    pub algorithms: Vec<Algorithm>,
}

impl std::fmt::Debug for TrustedKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TrustedKey").field("algorithms", &self.algorithms).finish_non_exhaustive()
    }
}

#[derive(Debug, Clone, Default)]
pub struct KeySet(HashMap<String, TrustedKey>);

#[derive(Debug, thiserror::Error)]
pub enum KeySetError {
    #[error("the key set is not a JWK Set")]
    Json(#[from] serde_json::Error),
    #[error("the key set holds no usable signature key")]
    Empty,
}

impl KeySet {
    pub fn parse(json: &[u8]) -> Result<Self, KeySetError> {
        let set: JwkSet = serde_json::from_slice(json)?;
        let keys: HashMap<_, _> = set.keys.iter().filter_map(trusted).collect();
        if keys.is_empty() { Err(KeySetError::Empty) } else { Ok(Self(keys)) }
    }

    pub fn get(&self, kid: &str) -> Option<&TrustedKey> {
        self.0.get(kid)
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn trusted(jwk: &Jwk) -> Option<(String, TrustedKey)> {
    if jwk.common.public_key_use.as_ref().is_some_and(|use_| *use_ != PublicKeyUse::Signature) {
        return None;
    }
    let algorithms = match &jwk.algorithm {
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
            vec![Algorithm::ES256]
        }
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            vec![Algorithm::EdDSA]
        }
        AlgorithmParameters::RSA(_) => vec![Algorithm::RS256, Algorithm::PS256],
        _ => return None,
    };
    let key = DecodingKey::from_jwk(jwk).ok()?;
    Some((jwk.common.key_id.clone()?, TrustedKey { key, algorithms }))
}
