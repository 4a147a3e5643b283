//! DPoP proofs (RFC 9449 section 4.3). The checks carry the RFC's numbers and keep its order.
//!
//! Not here: check 1 (one header), which needs the request, and the replay store, which is
//! asked last; both are in [`crate::edge`].

use std::sync::Arc;

use jiff::Timestamp;
use josekit::jwk::Jwk;
use josekit::jws::{ES256, ES384, EdDSA, JwsVerifier, PS256, RS256};
use moka::sync::Cache;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::htu::Htu;
use crate::jwt::{self, JwtError, Unverified};
use crate::replay::{ReplayKey, Use};
use crate::thumbprint::ProofKey;

/// The algorithms taken, as `WWW-Authenticate` and authorization server metadata list them.
pub const ALGORITHMS: [&str; 5] = ["ES256", "EdDSA", "ES384", "RS256", "PS256"];
const LONGEST_JTI: usize = 256;
const SMALLEST_RSA_BYTES: usize = 256;

/// Which check a proof did not pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    #[error("no DPoP proof was sent")]
    Missing,
    #[error("check 1: more than one DPoP header was sent")]
    Several,
    #[error("check 2: it is not a well-formed JWT: {0}")]
    Jwt(JwtError),
    #[error("check 3: a claim is missing or of the wrong type")]
    Claims,
    #[error("check 4: typ is not dpop+jwt")]
    Type,
    #[error("check 5: the algorithm is not allowed, or not the key's")]
    Algorithm,
    #[error("the header names an extension this server does not know")]
    Critical,
    #[error("the jwk is not a usable public key")]
    Key,
    #[error("check 6: the signature does not verify")]
    Signature,
    #[error("check 7: the jwk carries a private key")]
    PrivateKey,
    #[error("check 8: htm is not the request's method")]
    Method,
    #[error("check 9: htu is not the request's URI")]
    Uri,
    #[error("check 11: iat is outside the accepted window")]
    Time,
    #[error("check 12: ath is not the token's digest")]
    TokenDigest,
    #[error("check 12: the key is not the one the token is bound to")]
    Binding,
    #[error("the proof was used before")]
    Replayed,
}

/// How old or how far ahead a proof may be.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    /// Seconds.
    pub back: i64,
    /// Seconds.
    pub ahead: i64,
}

impl Default for Window {
    /// 60 s back, 10 s ahead (gateway-api section 2).
    fn default() -> Self {
        Self { back: 60, ahead: 10 }
    }
}

/// What the request says that the proof must agree with.
#[derive(Debug)]
pub struct Expected<'a> {
    pub method: &'a str,
    /// One per public base URL; the proof names any of them.
    pub targets: &'a [Htu],
    /// The access token it comes with; none at the token endpoint.
    pub access_token: Option<&'a str>,
    /// Thumbprint the token is bound to; none at the token endpoint.
    pub bound_to: Option<&'a str>,
    pub now: Timestamp,
}

/// A proof that passed all checks but the replay store's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// RFC 7638 thumbprint of its key.
    pub thumbprint: String,
    pub replay: Use,
}

#[derive(Deserialize)]
struct Header {
    typ: Option<String>,
    alg: String,
    jwk: ProofKey,
    crit: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Claims {
    jti: String,
    htm: String,
    htu: String,
    iat: i64,
    ath: Option<String>,
}

/// Verifies proofs; keys that repeat are parsed once.
#[derive(Debug)]
pub struct ProofVerifier {
    window: Window,
    /// By thumbprint, which is the key itself: nothing of a tenant is in it.
    verifiers: Cache<(String, &'static str), Arc<dyn JwsVerifier>>,
}

impl ProofVerifier {
    pub fn new(window: Window) -> Self {
        Self { window, verifiers: Cache::new(10_000) }
    }

    /// The longest time any proof stays acceptable.
    pub fn span(&self) -> std::time::Duration {
        std::time::Duration::from_secs((self.window.back + self.window.ahead).unsigned_abs() + 2)
    }

    /// All checks of section 4.3 that need no store.
    pub fn verify(&self, text: &str, expected: &Expected<'_>) -> Result<Proof, ProofError> {
        // 2: a single well-formed JWT, bounded before anything is decoded.
        let jwt = Unverified::split(text).map_err(ProofError::Jwt)?;
        let header: Header = jwt.header().map_err(ProofError::Jwt)?;
        // 3: every required claim, of its type. Read before the signature so that size and shape are known.
        let claims: Claims = jwt.payload().map_err(|_| ProofError::Claims)?;
        if claims.jti.is_empty() || claims.jti.len() > LONGEST_JTI {
            return Err(ProofError::Claims);
        }
        let (thumbprint, algorithm, verifier) = self.key_of(&header)?;
        // 6: the signature verifies with the key in the header.
        check_length(algorithm, &jwt.signature)?;
        verifier.verify(jwt.signing_input, &jwt.signature).map_err(|_| ProofError::Signature)?;
        check_request(&claims, expected)?;
        let acceptable_until = self.check_time(claims.iat, expected.now)?;
        check_binding(&claims, &thumbprint, expected)?;
        let key = ReplayKey::of(&thumbprint, &claims.jti);
        Ok(Proof { thumbprint, replay: Use { key, acceptable_until } })
    }

    /// 4, 5 and 7: type, algorithm, and a public key that fits it.
    fn key_of(
        &self,
        header: &Header,
    ) -> Result<(String, &'static str, Arc<dyn JwsVerifier>), ProofError> {
        if header.typ.as_deref() != Some("dpop+jwt") {
            return Err(ProofError::Type);
        }
        let algorithm =
            ALGORITHMS.into_iter().find(|name| *name == header.alg).ok_or(ProofError::Algorithm)?;
        if header.crit.is_some() {
            return Err(ProofError::Critical);
        }
        if header.jwk.has_private_member() {
            return Err(ProofError::PrivateKey);
        }
        let fits = match algorithm {
            "ES256" => {
                (header.jwk.kty.as_str(), header.jwk.crv.as_deref()) == ("EC", Some("P-256"))
            }
            "ES384" => {
                (header.jwk.kty.as_str(), header.jwk.crv.as_deref()) == ("EC", Some("P-384"))
            }
            "EdDSA" => {
                (header.jwk.kty.as_str(), header.jwk.crv.as_deref()) == ("OKP", Some("Ed25519"))
            }
            _ => header.jwk.kty == "RSA",
        };
        if !fits {
            return Err(ProofError::Algorithm);
        }
        let (thumbprint, canonical) = header.jwk.thumbprint().ok_or(ProofError::Key)?;
        let cache_key = (thumbprint, algorithm);
        if let Some(verifier) = self.verifiers.get(&cache_key) {
            return Ok((cache_key.0, algorithm, verifier));
        }
        let verifier = verifier(algorithm, &header.jwk, &canonical)?;
        self.verifiers.insert(cache_key.clone(), Arc::clone(&verifier));
        Ok((cache_key.0, algorithm, verifier))
    }

    /// 11: the instant the proof was made is near now. Answers until when that stays so.
    fn check_time(&self, iat: i64, now: Timestamp) -> Result<Timestamp, ProofError> {
        let age = now.as_second().checked_sub(iat).ok_or(ProofError::Time)?;
        if age > self.window.back || age < -self.window.ahead {
            return Err(ProofError::Time);
        }
        Timestamp::from_second(iat + self.window.back + 1).map_err(|_| ProofError::Time)
    }
}

/// Makes the verifier from the canonical members alone, so that nothing else in the `jwk` is believed.
fn verifier(
    algorithm: &str,
    key: &ProofKey,
    canonical: &str,
) -> Result<Arc<dyn JwsVerifier>, ProofError> {
    let jwk = Jwk::from_bytes(canonical).map_err(|_| ProofError::Key)?;
    if key.kty == "RSA" && !has_enough_bits(key) {
        return Err(ProofError::Key);
    }
    let made: Result<Arc<dyn JwsVerifier>, _> = match algorithm {
        "ES256" => ES256.verifier_from_jwk(&jwk).map(|it| Arc::new(it) as _),
        "ES384" => ES384.verifier_from_jwk(&jwk).map(|it| Arc::new(it) as _),
        "EdDSA" => EdDSA.verifier_from_jwk(&jwk).map(|it| Arc::new(it) as _),
        "RS256" => RS256.verifier_from_jwk(&jwk).map(|it| Arc::new(it) as _),
        _ => PS256.verifier_from_jwk(&jwk).map(|it| Arc::new(it) as _),
    };
    made.map_err(|_| ProofError::Key)
}

/// RSA keys below 2048 bits are refused; leading zeros do not count.
fn has_enough_bits(key: &ProofKey) -> bool {
    let padded = key.n.as_deref().unwrap_or_default();
    let Ok(bytes) =
        base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, padded)
    else {
        return false;
    };
    let significant = bytes.len() - bytes.iter().take_while(|byte| **byte == 0).count();
    significant > SMALLEST_RSA_BYTES
        || (significant == SMALLEST_RSA_BYTES && bytes[bytes.len() - significant] >= 0x80)
}

/// Elliptic signatures have one length (RFC 7518 section 3.4): DER and padded forms are refused.
fn check_length(algorithm: &str, signature: &[u8]) -> Result<(), ProofError> {
    let fits = match algorithm {
        "ES256" | "EdDSA" => signature.len() == 64,
        "ES384" => signature.len() == 96,
        _ => true,
    };
    if fits { Ok(()) } else { Err(ProofError::Signature) }
}

/// 8 and 9: the proof is for this method and this URI.
fn check_request(claims: &Claims, expected: &Expected<'_>) -> Result<(), ProofError> {
    if claims.htm != expected.method {
        return Err(ProofError::Method);
    }
    let named = Htu::parse(&claims.htu).map_err(|_| ProofError::Uri)?;
    if expected.targets.contains(&named) { Ok(()) } else { Err(ProofError::Uri) }
}

/// 12: the proof is for this token, and the token for this key.
fn check_binding(
    claims: &Claims,
    thumbprint: &str,
    expected: &Expected<'_>,
) -> Result<(), ProofError> {
    if let Some(token) = expected.access_token {
        let digest = jwt::encode(&Sha256::digest(token.as_bytes()));
        let ath = claims.ath.as_deref().ok_or(ProofError::Claims)?;
        if !bool::from(ath.as_bytes().ct_eq(digest.as_bytes())) {
            return Err(ProofError::TokenDigest);
        }
    }
    match expected.bound_to {
        Some(bound) if !bool::from(bound.as_bytes().ct_eq(thumbprint.as_bytes())) => {
            Err(ProofError::Binding)
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
