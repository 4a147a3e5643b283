//! Verifies DPoP proofs (RFC 9449 section 4.3). The checks have the RFC's numbers and order.
//!
//! Not here: check 1 (one header), which needs the request, and the replay check, which comes last;
//! both are in [`crate::edge`].

pub(crate) mod signature;

use std::sync::Arc;
use std::time::Duration;

use foldhash::quality::RandomState;
use jiff::Timestamp;
use moka::sync::Cache;
use subtle::ConstantTimeEq;

use crate::htu::Htu;
use crate::json::Object;
use crate::jwk::{KeyError, KeyKind, ProofKey};
use crate::jwt::{self, JwtError, Unverified};
use crate::nonce::Nonces;
use crate::replay::{ProofUse, ReplayKey};
use signature::SignatureVerifier;

/// Accepted algorithms, as listed in `WWW-Authenticate` and authorization server metadata (RFC 9449
/// sections 5.1 and 7.1). `Ed25519` is the name of RFC 9864 for `EdDSA` with that curve.
pub const ALGORITHMS: [&str; 6] = ["ES256", "EdDSA", "Ed25519", "ES384", "RS256", "PS256"];
const MAX_JTI_BYTES: usize = 256;
/// Cached headers of devices. The longest allowed one has an RSA key of 4096 bits.
const MAX_CACHED_HEADERS: u64 = 10_000;
const MAX_CACHED_HEADER_BYTES: usize = 1536;

/// The check that a proof failed, by its number in RFC 9449 section 4.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    #[error("no DPoP proof was sent")]
    Missing,
    #[error("check 1: more than one DPoP header was sent")]
    Several,
    #[error("check 2: not a well-formed JWT: {0}")]
    Jwt(JwtError),
    #[error("check 3: a claim is missing or of the wrong type")]
    Claims,
    #[error("check 4: typ is not dpop+jwt")]
    Type,
    #[error("check 5: the algorithm is not allowed, or not the key's")]
    Algorithm,
    /// RFC 7515 section 4.1.11.
    #[error("the header has an unknown critical extension")]
    Critical,
    #[error("the jwk is not a usable public key")]
    Key,
    #[error("check 6: the signature is invalid")]
    Signature,
    #[error("check 7: the jwk has a private key")]
    PrivateKey,
    #[error("check 8: htm is not the request's method")]
    Method,
    #[error("check 9: htu is not the request's URI")]
    Uri,
    /// Answered with `use_dpop_nonce` (RFC 9449 sections 8 and 9).
    #[error("check 10: a nonce is required")]
    NonceRequired,
    /// Answered with `use_dpop_nonce` too; otherwise the client would not retry.
    #[error("check 10: the nonce is not a current one of this server")]
    NonceUnknown,
    /// `exp` and `nbf` are not in RFC 9449, but are honoured if present (RFC 7519 sections 4.1.4
    /// and
    /// 4.1.5).
    #[error("check 11: iat is outside the accepted window, or exp or nbf forbids it now")]
    Time,
    #[error("check 12: ath is not the token's digest")]
    TokenDigest,
    #[error("check 12: the key is not the one the token is bound to")]
    Binding,
    /// RFC 9449 section 11.1.
    #[error("the proof was used before")]
    Replayed,
}

impl From<KeyError> for ProofError {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::Private => Self::PrivateKey,
            KeyError::Unusable => Self::Key,
        }
    }
}

impl ProofError {
    /// Whether the response must be `use_dpop_nonce` with a nonce (RFC 9449 section 8).
    pub fn asks_for_nonce(self) -> bool {
        matches!(self, Self::NonceRequired | Self::NonceUnknown)
    }
}

/// The accepted age of a proof.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    /// Seconds in the past.
    pub back: i64,
    /// Seconds in the future.
    pub ahead: i64,
}

impl Default for Window {
    /// 60 s back, 10 s ahead (gateway-api section 2).
    fn default() -> Self {
        Self { back: 60, ahead: 10 }
    }
}

/// What the proof must match.
#[derive(Debug)]
pub struct Expected<'a> {
    pub method: &'a str,
    /// One per public base URL; the proof must name one of them.
    pub targets: &'a [Htu],
    /// SHA-256 of the access token; `None` at the token endpoint.
    pub token_digest: Option<&'a [u8; 32]>,
    /// Thumbprint that the token is bound to; `None` at the token endpoint.
    pub bound_to: Option<&'a str>,
    pub now: Timestamp,
}

/// A proof that passed all checks except for replay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// RFC 7638 thumbprint of its key.
    pub thumbprint: String,
    pub replay: ProofUse,
}

/// The claims of RFC 9449 section 4.2, with their types checked.
struct ProofClaims<'a> {
    jti: &'a str,
    htm: &'a str,
    htu: &'a str,
    iat: i64,
    ath: Option<&'a str>,
    exp: Option<i64>,
    nbf: Option<i64>,
}

/// A valid header: the key's thumbprint and its verifier.
#[derive(Debug)]
struct ProofHeader {
    thumbprint: String,
    verifier: SignatureVerifier,
}

/// Verifies proofs. A device sends the same header with each proof, so headers and keys are cached.
#[derive(Debug)]
pub struct ProofVerifier {
    window: Window,
    nonces: Option<Nonces>,
    /// By the header's text, which alone determines the value; contains no tenant data.
    headers: Cache<String, Arc<ProofHeader>, RandomState>,
}

impl ProofVerifier {
    pub fn new(window: Window) -> Self {
        let headers = Cache::builder().max_capacity(MAX_CACHED_HEADERS);
        let headers = headers.build_with_hasher(RandomState::default());
        Self { window, nonces: None, headers }
    }

    /// Requires a current nonce in every proof, and checks the nonce's time instead of `iat` (RFC
    /// 9449 section 11.1), because the clocks of hotel computers drift.
    pub fn with_nonces(mut self, nonces: Nonces) -> Self {
        self.nonces = Some(nonces);
        self
    }

    /// The nonce to issue, if nonces are required.
    pub fn nonce(&self, now: Timestamp) -> Option<String> {
        self.nonces.as_ref().map(|nonces| nonces.current(now))
    }

    /// The longest time a proof is accepted, clock skew included.
    pub fn span(&self) -> Duration {
        let seconds = match self.nonces {
            Some(_) => Nonces::max_lifetime(self.window.ahead),
            None => self.window.back + self.window.ahead + 1,
        };
        Duration::from_secs(seconds.unsigned_abs() + 1)
    }

    /// Runs all checks of RFC 9449 section 4.3 that need no store.
    pub fn verify(&self, text: &str, expected: &Expected<'_>) -> Result<Proof, ProofError> {
        // 2: a single well-formed JWT, bounded before anything is decoded.
        let jwt = Unverified::split(text).map_err(ProofError::Jwt)?;
        let header = match self.headers.get(jwt.header_text) {
            Some(header) => HeaderSource::Cached(header),
            None => HeaderSource::New(jwt.header().map_err(ProofError::Jwt)?),
        };
        let payload = jwt.claims().map_err(ProofError::Jwt)?;
        // 3: all required claims with their types, before the costly signature.
        let claims = ProofClaims::read(&payload).ok_or(ProofError::Claims)?;
        // 4, 5 and 7.
        let is_new = matches!(header, HeaderSource::New(_));
        let header = header.read()?;
        // 6: the signature, with the key in the header.
        if !header.verifier.accepts(jwt.signing_input, &jwt.signature) {
            return Err(ProofError::Signature);
        }
        if is_new {
            self.cache(jwt.header_text, &header);
        }
        let thumbprint = header.thumbprint.clone();
        check_request(&claims, expected)?;
        let acceptable_until = self.check_time(&payload, &claims, expected.now)?;
        check_binding(&claims, &thumbprint, expected)?;
        let key = ReplayKey::of(&thumbprint, claims.jti);
        Ok(Proof { thumbprint, replay: ProofUse { key, acceptable_until } })
    }

    /// Called only after a valid signature; otherwise forged headers could evict those of devices.
    fn cache(&self, text: &str, header: &Arc<ProofHeader>) {
        if text.len() <= MAX_CACHED_HEADER_BYTES {
            self.headers.insert(text.to_owned(), Arc::clone(header));
        }
    }

    /// 10 and 11: the nonce if one is required, else `iat`, is current. Returns until when.
    fn check_time(
        &self,
        payload: &Object<'_>,
        claims: &ProofClaims<'_>,
        now: Timestamp,
    ) -> Result<Timestamp, ProofError> {
        let second = now.as_second();
        if claims.exp.is_some_and(|exp| exp <= second)
            || claims.nbf.is_some_and(|nbf| nbf > second.saturating_add(self.window.ahead))
        {
            return Err(ProofError::Time);
        }
        if let Some(nonces) = &self.nonces {
            let nonce = payload.get("nonce").ok_or(ProofError::NonceRequired)?;
            let nonce = nonce.text().ok_or(ProofError::Claims)?;
            return nonces
                .expires_at(nonce, now, self.window.ahead)
                .ok_or(ProofError::NonceUnknown);
        }
        let age = second.checked_sub(claims.iat).ok_or(ProofError::Time)?;
        if age > self.window.back || age < -self.window.ahead {
            return Err(ProofError::Time);
        }
        Timestamp::from_second(claims.iat + self.window.back + 1).map_err(|_| ProofError::Time)
    }
}

/// A proof's header: read before and cached, or new.
enum HeaderSource<'a> {
    Cached(Arc<ProofHeader>),
    New(Object<'a>),
}

impl HeaderSource<'_> {
    fn read(self) -> Result<Arc<ProofHeader>, ProofError> {
        match self {
            Self::Cached(header) => Ok(header),
            Self::New(header) => ProofHeader::read(&header).map(Arc::new),
        }
    }
}

impl ProofHeader {
    /// 4, 5 and 7: type, algorithm, and a matching public key. `kid`, `jku`, `x5u` and `x5c` are
    /// ignored: the key is the `jwk`.
    fn read(header: &Object<'_>) -> Result<Self, ProofError> {
        if header.text("typ") != Some("dpop+jwt") {
            return Err(ProofError::Type);
        }
        let named = header.text("alg").ok_or(ProofError::Algorithm)?;
        let algorithm =
            ALGORITHMS.into_iter().find(|name| *name == named).ok_or(ProofError::Algorithm)?;
        // No extension is supported; an empty list or null is invalid, too.
        if header.has("crit") {
            return Err(ProofError::Critical);
        }
        let jwk = header.object("jwk").ok_or(ProofError::Key)?;
        let key = ProofKey::read(jwk)?;
        if !fits(key.kind, algorithm) || jwk.get("alg").is_some_and(|own| own.text() != Some(named))
        {
            return Err(ProofError::Algorithm);
        }
        Ok(Self {
            thumbprint: key.thumbprint(),
            verifier: SignatureVerifier::new(algorithm, &key)?,
        })
    }
}

impl<'a> ProofClaims<'a> {
    /// Check 3; `exp` and `nbf` must be integers if present. `ath` and `nonce` are required later,
    /// if there is a token and if nonces are on.
    fn read(claims: &'a Object<'_>) -> Option<Self> {
        let jti = claims.text("jti").filter(|jti| (1..=MAX_JTI_BYTES).contains(&jti.len()))?;
        let ath = match claims.get("ath") {
            None => None,
            Some(value) => Some(value.text()?),
        };
        let (htm, htu) = (claims.text("htm")?, claims.text("htu")?);
        if !is_optional_time(claims, "exp") || !is_optional_time(claims, "nbf") {
            return None;
        }
        let (exp, nbf) = (claims.integer("exp"), claims.integer("nbf"));
        Some(Self { jti, htm, htu, iat: claims.integer("iat")?, ath, exp, nbf })
    }
}

/// Whether an optional time is absent or an integer.
fn is_optional_time(claims: &Object<'_>, name: &str) -> bool {
    !claims.has(name) || claims.integer(name).is_some()
}

/// Each kind of key allows one algorithm, RSA two (RFC 7518 section 3.1, RFC 8037 section 3.1, RFC
/// 9864).
fn fits(kind: KeyKind, algorithm: &str) -> bool {
    match kind {
        KeyKind::P256 => algorithm == "ES256",
        KeyKind::P384 => algorithm == "ES384",
        KeyKind::Ed25519 => matches!(algorithm, "EdDSA" | "Ed25519"),
        KeyKind::Rsa => matches!(algorithm, "RS256" | "PS256"),
    }
}

/// 8 and 9: the proof is for this method and this URI.
fn check_request(claims: &ProofClaims<'_>, expected: &Expected<'_>) -> Result<(), ProofError> {
    if claims.htm != expected.method {
        return Err(ProofError::Method);
    }
    let named = Htu::parse(claims.htu).map_err(|_| ProofError::Uri)?;
    if expected.targets.contains(&named) { Ok(()) } else { Err(ProofError::Uri) }
}

/// 12: the proof is for this token, and the token for this key.
fn check_binding(
    claims: &ProofClaims<'_>,
    thumbprint: &str,
    expected: &Expected<'_>,
) -> Result<(), ProofError> {
    if let Some(digest) = expected.token_digest {
        let ath = claims.ath.ok_or(ProofError::Claims)?;
        if !jwt::is_digest(ath, digest) {
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
