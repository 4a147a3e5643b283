//! DPoP proofs (RFC 9449 section 4.3). The checks carry the RFC's numbers and keep its order.
//!
//! Not here: check 1 (one header), which needs the request, and the replay store, which is
//! asked last; both are in [`crate::edge`].

pub(crate) mod signature;

use std::sync::Arc;
use std::time::Duration;

use foldhash::quality::RandomState;
use jiff::Timestamp;
use moka::sync::Cache;
use subtle::ConstantTimeEq;

use crate::htu::Htu;
use crate::json::Object;
use crate::jwt::{self, JwtError, Unverified};
use crate::nonce::Nonces;
use crate::replay::{ReplayKey, Use};
use crate::thumbprint::{KeyError, KeyKind, ProofKey};
use signature::Verifier;

/// The algorithms taken, as `WWW-Authenticate` and authorization server metadata list them
/// (RFC 9449 sections 5.1 and 7.1). `Ed25519` is the name RFC 9864 gives what `EdDSA` is here.
pub const ALGORITHMS: [&str; 6] = ["ES256", "EdDSA", "Ed25519", "ES384", "RS256", "PS256"];
const LONGEST_JTI: usize = 256;
/// Headers of devices that are kept, and the longest of them: one with an RSA key of 4096 bits.
const KEPT_HEADERS: u64 = 10_000;
const LONGEST_KEPT: usize = 1536;

/// Which check a proof did not pass, by its number in RFC 9449 section 4.3.
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
    /// RFC 7515 section 4.1.11.
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
    /// Answered with `use_dpop_nonce` (RFC 9449 sections 8 and 9).
    #[error("check 10: it carries no nonce, and one is required")]
    NonceRequired,
    /// Answered with `use_dpop_nonce` too, or the client would not try again.
    #[error("check 10: its nonce is not a current one of this server")]
    NonceUnknown,
    /// `exp` and `nbf` are not of RFC 9449, but where they stand they bind (RFC 7519 sections
    /// 4.1.4 and 4.1.5).
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
    /// Whether the answer is `use_dpop_nonce` with a nonce to use (RFC 9449 section 8).
    pub fn asks_for_nonce(self) -> bool {
        matches!(self, Self::NonceRequired | Self::NonceUnknown)
    }
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
    /// SHA-256 of the access token it comes with; none at the token endpoint.
    pub token_digest: Option<&'a [u8; 32]>,
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

/// The claims of RFC 9449 section 4.2, each of its type.
struct Claims<'a> {
    jti: &'a str,
    htm: &'a str,
    htu: &'a str,
    iat: i64,
    ath: Option<&'a str>,
    exp: Option<i64>,
    nbf: Option<i64>,
}

/// A header that holds: the key it shows, and what judges its signatures.
#[derive(Debug)]
struct Shown {
    thumbprint: String,
    verifier: Verifier,
}

/// Verifies proofs. A device sends the same header with each: it is read once, and so is its key.
#[derive(Debug)]
pub struct ProofVerifier {
    window: Window,
    nonces: Option<Nonces>,
    /// By their text, which alone decides what they show: nothing of a tenant is in it.
    headers: Cache<String, Arc<Shown>, RandomState>,
}

impl ProofVerifier {
    pub fn new(window: Window) -> Self {
        let headers = Cache::builder().max_capacity(KEPT_HEADERS);
        let headers = headers.build_with_hasher(RandomState::default());
        Self { window, nonces: None, headers }
    }

    /// From now on a proof without a current nonce is refused, and the nonce's time is judged
    /// instead of `iat` (RFC 9449 section 11.1): computers in hotels drift.
    pub fn with_nonces(mut self, nonces: Nonces) -> Self {
        self.nonces = Some(nonces);
        self
    }

    /// The nonce to hand out, when nonces are required.
    pub fn nonce(&self, now: Timestamp) -> Option<String> {
        self.nonces.as_ref().map(|nonces| nonces.current(now))
    }

    /// The longest time any proof stays acceptable, clock skew included.
    pub fn span(&self) -> Duration {
        let seconds = match self.nonces {
            Some(_) => Nonces::longest(self.window.ahead),
            None => self.window.back + self.window.ahead + 1,
        };
        Duration::from_secs(seconds.unsigned_abs() + 1)
    }

    /// All checks of RFC 9449 section 4.3 that need no store.
    pub fn verify(&self, text: &str, expected: &Expected<'_>) -> Result<Proof, ProofError> {
        // 2: a single well-formed JWT, bounded before anything is decoded.
        let jwt = Unverified::split(text).map_err(ProofError::Jwt)?;
        let header = match self.headers.get(jwt.header_text) {
            Some(shown) => Header::Known(shown),
            None => Header::New(jwt.header().map_err(ProofError::Jwt)?),
        };
        let payload = jwt.claims().map_err(ProofError::Jwt)?;
        // 3: every required claim, of its type. Read before the signature so that size and shape are known.
        let claims = Claims::read(&payload).ok_or(ProofError::Claims)?;
        // 4, 5 and 7.
        let is_new = matches!(header, Header::New(_));
        let shown = header.shown()?;
        // 6: the signature verifies with the key in the header.
        if !shown.verifier.accepts(jwt.signing_input, &jwt.signature) {
            return Err(ProofError::Signature);
        }
        if is_new {
            self.keep(jwt.header_text, &shown);
        }
        let thumbprint = shown.thumbprint.clone();
        check_request(&claims, expected)?;
        let acceptable_until = self.check_time(&payload, &claims, expected.now)?;
        check_binding(&claims, &thumbprint, expected)?;
        let key = ReplayKey::of(&thumbprint, claims.jti);
        Ok(Proof { thumbprint, replay: Use { key, acceptable_until } })
    }

    /// Only one whose key made a signature takes a place: others would push out the devices'.
    fn keep(&self, header: &str, shown: &Arc<Shown>) {
        if header.len() <= LONGEST_KEPT {
            self.headers.insert(header.to_owned(), Arc::clone(shown));
        }
    }

    /// 10 and 11: the nonce where one is required, else `iat`, is near now. Answers until when
    /// that stays so.
    fn check_time(
        &self,
        payload: &Object<'_>,
        claims: &Claims<'_>,
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
            return nonces.ends(nonce, now, self.window.ahead).ok_or(ProofError::NonceUnknown);
        }
        let age = second.checked_sub(claims.iat).ok_or(ProofError::Time)?;
        if age > self.window.back || age < -self.window.ahead {
            return Err(ProofError::Time);
        }
        Timestamp::from_second(claims.iat + self.window.back + 1).map_err(|_| ProofError::Time)
    }
}

/// A proof's header, which was seen before or was not.
enum Header<'a> {
    Known(Arc<Shown>),
    New(Object<'a>),
}

impl Header<'_> {
    fn shown(self) -> Result<Arc<Shown>, ProofError> {
        match self {
            Self::Known(shown) => Ok(shown),
            Self::New(header) => Shown::read(&header).map(Arc::new),
        }
    }
}

impl Shown {
    /// 4, 5 and 7: type, algorithm, and a public key that fits it. `kid`, `jku`, `x5u` and
    /// `x5c` are never read: the key is the `jwk`.
    fn read(header: &Object<'_>) -> Result<Self, ProofError> {
        if header.text("typ") != Some("dpop+jwt") {
            return Err(ProofError::Type);
        }
        let named = header.text("alg").ok_or(ProofError::Algorithm)?;
        let algorithm =
            ALGORITHMS.into_iter().find(|name| *name == named).ok_or(ProofError::Algorithm)?;
        // This server knows no extension, and an empty list or null is not allowed either.
        if header.has("crit") {
            return Err(ProofError::Critical);
        }
        let jwk = header.object("jwk").ok_or(ProofError::Key)?;
        let key = ProofKey::read(jwk)?;
        if !fits(key.kind, algorithm) || jwk.get("alg").is_some_and(|own| own.text() != Some(named))
        {
            return Err(ProofError::Algorithm);
        }
        Ok(Self { thumbprint: key.thumbprint(), verifier: Verifier::new(algorithm, &key)? })
    }
}

impl<'a> Claims<'a> {
    /// Check 3, and `exp` and `nbf`, which only have to be integers where they stand. `ath` is asked for where there is a token, `nonce` where one is required.
    fn read(claims: &'a Object<'_>) -> Option<Self> {
        let jti = claims.text("jti").filter(|jti| (1..=LONGEST_JTI).contains(&jti.len()))?;
        let ath = match claims.get("ath") {
            None => None,
            Some(value) => Some(value.text()?),
        };
        let (htm, htu) = (claims.text("htm")?, claims.text("htu")?);
        if !is_date(claims, "exp") || !is_date(claims, "nbf") {
            return None;
        }
        let (exp, nbf) = (claims.integer("exp"), claims.integer("nbf"));
        Some(Self { jti, htm, htu, iat: claims.integer("iat")?, ath, exp, nbf })
    }
}

/// A time that may be absent is an integer where it stands.
fn is_date(claims: &Object<'_>, name: &str) -> bool {
    !claims.has(name) || claims.integer(name).is_some()
}

/// One algorithm per kind of key (RFC 7518 section 3.1, RFC 8037 section 3.1, RFC 9864), two for RSA.
fn fits(kind: KeyKind, algorithm: &str) -> bool {
    match kind {
        KeyKind::P256 => algorithm == "ES256",
        KeyKind::P384 => algorithm == "ES384",
        KeyKind::Ed25519 => matches!(algorithm, "EdDSA" | "Ed25519"),
        KeyKind::Rsa => matches!(algorithm, "RS256" | "PS256"),
    }
}

/// 8 and 9: the proof is for this method and this URI.
fn check_request(claims: &Claims<'_>, expected: &Expected<'_>) -> Result<(), ProofError> {
    if claims.htm != expected.method {
        return Err(ProofError::Method);
    }
    let named = Htu::parse(claims.htu).map_err(|_| ProofError::Uri)?;
    if expected.targets.contains(&named) { Ok(()) } else { Err(ProofError::Uri) }
}

/// 12: the proof is for this token, and the token for this key.
fn check_binding(
    claims: &Claims<'_>,
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
