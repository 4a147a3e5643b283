//! Runs all checks of a request's token and proof that need no I/O, in the order of gateway-api
//! section 3: headers, token, proof, expiry; then the device.
//!
//! Not here: where keys come from and whether the proof was used before ([`crate::edge`]).

use std::sync::Arc;

use contracts::headers;
use contracts::id::DeviceId;
use contracts::safeguard;
use foldhash::quality::RandomState;
use http::{HeaderMap, header::AUTHORIZATION};
use jiff::Timestamp;
use moka::sync::Cache;
use sha2::{Digest, Sha256};

use crate::htu::Htu;
use crate::jwks::KeySet;
use crate::jwt::JwtError;
use crate::principal::Principal;
use crate::proof::{Expected, Proof, ProofError, ProofVerifier};
use crate::replay::ProofUse;
use crate::token::{self, AccessToken, TokenError, TokenRules};

/// More than the active devices of a large hotel chain.
const MAX_CACHED_TOKENS: u64 = 50_000;

/// Why a request is rejected, in the order of gateway-api section 3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    #[error("no Authorization header was sent")]
    NoCredentials,
    #[error("more than one Authorization header was sent")]
    SeveralCredentials,
    #[error("the Authorization scheme is not DPoP")]
    Scheme,
    #[error("DPoP proof: {0}")]
    Proof(#[from] ProofError),
    #[error("access token: {0}")]
    Token(#[from] TokenError),
    #[error("X-Device-Id is missing, doubled or not the token's device")]
    Device,
    #[error("the key set of the issuer cannot be fetched")]
    KeysUnavailable,
}

/// The parts of a request that the checks need.
#[derive(Debug)]
pub struct RequestCredentials<'a> {
    pub method: &'a str,
    /// The request line's, without its query.
    pub path: &'a str,
    pub headers: &'a HeaderMap,
    /// The access token of the one `Authorization: DPoP` header.
    token: &'a str,
    digest: [u8; 32],
}

impl<'a> RequestCredentials<'a> {
    /// Extracts the access token: one header, scheme DPoP in any case (RFC 9449 section 7.1).
    pub fn read(method: &'a str, path: &'a str, headers: &'a HeaderMap) -> Result<Self, AuthError> {
        let token = access_token(headers)?;
        let digest = Sha256::digest(token.as_bytes()).into();
        Ok(Self { method, path, headers, token, digest })
    }
}

/// A request with a valid token and proof. Its device is not checked and its proof not consumed
/// yet.
#[derive(Debug)]
pub struct Verified {
    pub principal: Principal,
    pub replay: ProofUse,
}

impl Verified {
    /// Checks that there is exactly one device header and that it names the token's device.
    pub fn check_device(&self, headers: &HeaderMap) -> Result<(), AuthError> {
        let named = single(headers, headers::DEVICE_ID).and_then(|id| id.parse::<DeviceId>().ok());
        if named == Some(self.principal.device) { Ok(()) } else { Err(AuthError::Device) }
    }
}

/// A verified token, and the keys that verified it.
#[derive(Debug, Clone)]
struct CachedToken {
    keys: Arc<KeySet>,
    token: Arc<AccessToken>,
}

/// Verifies requests at the gateway. Tokens and device keys are cached, so that each is verified or
/// parsed once.
#[derive(Debug)]
pub struct RequestVerifier {
    pub proofs: ProofVerifier,
    rules: TokenRules,
    /// The public base URLs, never the `Host` header.
    base_urls: Vec<Htu>,
    /// By SHA-256 of the token. Expiry is checked with every request.
    tokens: Cache<[u8; 32], CachedToken, RandomState>,
}

impl RequestVerifier {
    pub fn new(proofs: ProofVerifier, rules: TokenRules, base_urls: Vec<Htu>) -> Self {
        let tokens = Cache::builder().max_capacity(MAX_CACHED_TOKENS);
        let tokens = tokens.build_with_hasher(RandomState::default());
        Self { proofs, rules, base_urls, tokens }
    }

    /// Returns the key id that the access token names, if `keys` lacks it.
    pub fn missing_key(
        &self,
        request: &RequestCredentials<'_>,
        keys: &Arc<KeySet>,
    ) -> Result<Option<String>, TokenError> {
        if self.cached(request, keys).is_some() {
            return Ok(None);
        }
        let kid = token::key_id(request.token)?;
        Ok(if keys.get(&kid).is_some() { None } else { Some(kid) })
    }

    /// Checks headers, token, proof and expiry. The device is checked later, after the caller's
    /// session; the proof is consumed last.
    pub fn verify(
        &self,
        request: &RequestCredentials<'_>,
        keys: &Arc<KeySet>,
        now: Timestamp,
    ) -> Result<Verified, AuthError> {
        let token = self.token(request, keys, now)?;
        let targets = self.targets(request.path);
        let expected = Expected {
            method: request.method,
            targets: &targets,
            token_digest: Some(&request.digest),
            bound_to: Some(&token.bound_to),
            now,
        };
        let proof = proof_header(request.headers)
            .and_then(|proof| self.proofs.verify(proof, &expected))
            .map(|proof| proof.replay);
        let replay = match proof {
            Err(_) if !safeguard!(Proof) => ProofUse::unproven(now),
            proof => proof?,
        };
        if safeguard!(TokenExpiry) {
            token.check_expiry(now)?;
        }
        Ok(Verified { principal: token.principal.clone(), replay })
    }

    /// Verifies a proof without an access token, as at a token endpoint (RFC 9449 section 5). Does
    /// not consume it.
    pub fn verify_proof(
        &self,
        method: &str,
        path: &str,
        headers: &HeaderMap,
        now: Timestamp,
    ) -> Result<Proof, ProofError> {
        let targets = self.targets(path);
        let expected =
            Expected { method, targets: &targets, token_digest: None, bound_to: None, now };
        self.proofs.verify(proof_header(headers)?, &expected)
    }

    /// Verifies a token that the issuer has just returned, by the rules for tokens of callers.
    pub fn verify_issued(
        &self,
        token: &str,
        keys: &KeySet,
        now: Timestamp,
    ) -> Result<AccessToken, TokenError> {
        let token = token::verify(token, keys, &self.rules, now)?;
        token.check_expiry(now)?;
        Ok(token)
    }

    /// The `htu` values accepted for this path.
    fn targets(&self, path: &str) -> Vec<Htu> {
        self.base_urls.iter().filter_map(|base| base.join(path).ok()).collect()
    }

    /// Verifies the token, unless it is cached with the same keys.
    fn token(
        &self,
        request: &RequestCredentials<'_>,
        keys: &Arc<KeySet>,
        now: Timestamp,
    ) -> Result<Arc<AccessToken>, TokenError> {
        if let Some(token) = self.cached(request, keys) {
            return Ok(token);
        }
        let token = token::verify_digested(request.token, request.digest, keys, &self.rules, now)?;
        let token = Arc::new(token);
        // An expired token is not cached: it would evict a valid one.
        if token.check_expiry(now).is_ok() {
            let cached = CachedToken { keys: Arc::clone(keys), token: Arc::clone(&token) };
            self.tokens.insert(request.digest, cached);
        }
        Ok(token)
    }

    fn cached(
        &self,
        request: &RequestCredentials<'_>,
        keys: &Arc<KeySet>,
    ) -> Option<Arc<AccessToken>> {
        let cached = self.tokens.get(&request.digest)?;
        Arc::ptr_eq(&cached.keys, keys).then_some(cached.token)
    }
}

/// Extracts the token of the one `Authorization: DPoP` header (RFC 9449 section 7.1).
pub fn access_token(headers: &HeaderMap) -> Result<&str, AuthError> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next().ok_or(AuthError::NoCredentials)?;
    if values.next().is_some() {
        return Err(AuthError::SeveralCredentials);
    }
    // A bound token under Bearer is a downgrade and refused (RFC 9449 section 7.2).
    value.to_str().ok().and_then(|value| with_scheme(value, "DPoP")).ok_or(AuthError::Scheme)
}

/// Check 1 of RFC 9449 section 4.3: exactly one `DPoP` header. A folded `a, b` fails check 2.
pub fn proof_header(headers: &HeaderMap) -> Result<&str, ProofError> {
    let mut values = headers.get_all(headers::DPOP).iter();
    let value = values.next().ok_or(ProofError::Missing)?;
    if values.next().is_some() {
        return Err(ProofError::Several);
    }
    value.to_str().map_err(|_| ProofError::Jwt(JwtError::Shape))
}

/// Strips the scheme, in any case (RFC 9110 section 11.1).
fn with_scheme<'a>(value: &'a str, scheme: &str) -> Option<&'a str> {
    let (given, rest) = value.split_once(' ')?;
    given.eq_ignore_ascii_case(scheme).then(|| rest.trim_start_matches(' '))
}

/// Extracts the token of the one `Authorization: Bearer` header (RFC 6750 section 2.1).
pub fn bearer(headers: &HeaderMap) -> Result<&str, AuthError> {
    let value = single(headers, AUTHORIZATION.as_str()).ok_or(AuthError::NoCredentials)?;
    with_scheme(value, "Bearer").ok_or(AuthError::Scheme)
}

/// The header's value, if there is exactly one.
pub fn single<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    if values.next().is_some() { None } else { value.to_str().ok() }
}
