//! A request's token and proof through all checks that need no I/O, in the order of
//! gateway-api section 3: headers, token, proof, expiry; then the device.
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
use crate::replay::Use;
use crate::token::{self, AccessToken, TokenError, TokenRules};

/// Verified tokens that are kept: more than devices of a large chain at once.
const KEPT_TOKENS: u64 = 50_000;

/// Why a request is not let in, in the order of gateway-api section 3.
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

/// One request, as the checks see it.
#[derive(Debug)]
pub struct Credentials<'a> {
    pub method: &'a str,
    /// The request line's, without its query.
    pub path: &'a str,
    pub headers: &'a HeaderMap,
    /// The access token of the one `Authorization: DPoP` header.
    token: &'a str,
    digest: [u8; 32],
}

impl<'a> Credentials<'a> {
    /// Finds the access token: one header, scheme DPoP in any case (RFC 9449 section 7.1).
    pub fn read(method: &'a str, path: &'a str, headers: &'a HeaderMap) -> Result<Self, AuthError> {
        let token = access_token(headers)?;
        let digest = Sha256::digest(token.as_bytes()).into();
        Ok(Self { method, path, headers, token, digest })
    }
}

/// A request whose token and proof hold. Its device is not judged and its proof not burnt yet.
#[derive(Debug)]
pub struct Verified {
    pub principal: Principal,
    pub replay: Use,
}

impl Verified {
    /// The device header must stand once and name the token's device.
    pub fn check_device(&self, headers: &HeaderMap) -> Result<(), AuthError> {
        let named = single(headers, headers::DEVICE_ID).and_then(|id| id.parse::<DeviceId>().ok());
        if named == Some(self.principal.device) { Ok(()) } else { Err(AuthError::Device) }
    }
}

/// A token that was verified, and the keys it was verified with.
#[derive(Debug, Clone)]
struct Known {
    keys: Arc<KeySet>,
    token: Arc<AccessToken>,
}

/// Judges requests at the gateway. Tokens and device keys that repeat are verified and parsed once.
#[derive(Debug)]
pub struct Judge {
    pub proofs: ProofVerifier,
    rules: TokenRules,
    /// The public base URLs, never the `Host` header.
    base_urls: Vec<Htu>,
    /// By SHA-256. Expiry is asked of each every time.
    known: Cache<[u8; 32], Known, RandomState>,
}

impl Judge {
    pub fn new(proofs: ProofVerifier, rules: TokenRules, base_urls: Vec<Htu>) -> Self {
        let known = Cache::builder().max_capacity(KEPT_TOKENS);
        let known = known.build_with_hasher(RandomState::default());
        Self { proofs, rules, base_urls, known }
    }

    /// The key id an access token names; `None` when the token is known under these keys.
    pub fn missing_key(
        &self,
        request: &Credentials<'_>,
        keys: &Arc<KeySet>,
    ) -> Result<Option<String>, TokenError> {
        if self.known(request, keys).is_some() {
            return Ok(None);
        }
        let kid = token::key_id(request.token)?;
        Ok(if keys.get(&kid).is_some() { None } else { Some(kid) })
    }

    /// Headers, token, proof and expiry. The device comes after what the caller knows of
    /// sessions, and the proof's use is burnt last.
    pub fn judge(
        &self,
        request: &Credentials<'_>,
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
            Err(_) if !safeguard!(Proof) => Use::unproven(now),
            proof => proof?,
        };
        if safeguard!(TokenExpiry) {
            token.check_expiry(now)?;
        }
        Ok(Verified { principal: token.principal.clone(), replay })
    }

    /// A proof that comes with no access token, as at a token endpoint (RFC 9449 section 5). Its
    /// use is not burnt yet.
    pub fn judge_proof(
        &self,
        (method, path): (&str, &str),
        headers: &HeaderMap,
        now: Timestamp,
    ) -> Result<Proof, ProofError> {
        let targets = self.targets(path);
        let expected =
            Expected { method, targets: &targets, token_digest: None, bound_to: None, now };
        self.proofs.verify(proof_header(headers)?, &expected)
    }

    /// A token that came from the issuer just now, by the rules for those that callers send.
    pub fn judge_issued(
        &self,
        token: &str,
        keys: &KeySet,
        now: Timestamp,
    ) -> Result<AccessToken, TokenError> {
        let token = token::verify(token, keys, &self.rules, now)?;
        token.check_expiry(now)?;
        Ok(token)
    }

    /// What a proof for this path may name.
    fn targets(&self, path: &str) -> Vec<Htu> {
        self.base_urls.iter().filter_map(|base| base.join(path).ok()).collect()
    }

    /// The token, verified now or before with the same keys.
    fn token(
        &self,
        request: &Credentials<'_>,
        keys: &Arc<KeySet>,
        now: Timestamp,
    ) -> Result<Arc<AccessToken>, TokenError> {
        if let Some(token) = self.known(request, keys) {
            return Ok(token);
        }
        let token = token::verify_digested(request.token, request.digest, keys, &self.rules, now)?;
        let token = Arc::new(token);
        // One that has expired is verified each time, so that it takes no place of a live one.
        if token.check_expiry(now).is_ok() {
            let known = Known { keys: Arc::clone(keys), token: Arc::clone(&token) };
            self.known.insert(request.digest, known);
        }
        Ok(token)
    }

    fn known(&self, request: &Credentials<'_>, keys: &Arc<KeySet>) -> Option<Arc<AccessToken>> {
        let known = self.known.get(&request.digest)?;
        Arc::ptr_eq(&known.keys, keys).then_some(known.token)
    }
}

/// The token of the one `Authorization: DPoP` header, scheme in any case (RFC 9449 section 7.1).
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

/// The rest of a value that starts with this scheme, in any case (RFC 9110 section 11.1).
pub(crate) fn with_scheme<'a>(value: &'a str, scheme: &str) -> Option<&'a str> {
    let (given, rest) = value.split_once(' ')?;
    given.eq_ignore_ascii_case(scheme).then(|| rest.trim_start_matches(' '))
}

/// A header that stands exactly once.
pub(crate) fn single<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    if values.next().is_some() { None } else { value.to_str().ok() }
}
