//! Short-lived request tokens: the gateway's signed statement to one service about the caller. It
//! is the only statement about identity that services trust.

use std::sync::Arc;
use std::time::Duration;

use contracts::clock::{Clock, Entropy};
use contracts::id::{Id, PropertyId, RequestId};
use contracts::role::RoleSet;
use foldhash::quality::RandomState;
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::jwk::{Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use moka::sync::Cache;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::json::Object;
use crate::jwks::KeySet;
use crate::jwt::Unverified;
use crate::principal::Principal;
use crate::token::{self, TokenError, TokenRules};

/// `typ` that distinguishes these tokens from access tokens and proofs (RFC 8725 section 3.11).
const TYPE: &str = "request+jwt";
/// `typ` of tokens for the gateway's own calls.
const SERVICE_TYPE: &str = "service+jwt";
const LIFETIME: SignedDuration = SignedDuration::from_secs(60);
/// Half of the lifetime, so that a reused token is still valid this long.
const REUSE_DURATION: Duration = Duration::from_secs(30);

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct CallerClaims {
    iss: String,
    aud: String,
    sub: String,
    tenant_id: String,
    device_id: String,
    property_ids: Vec<PropertyId>,
    roles: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sid: Option<String>,
    iat: i64,
    /// In seconds since 1970, as `iat`.
    pub(crate) exp: i64,
    jti: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct ServiceClaims {
    iss: String,
    aud: String,
    /// Equal to the issuer.
    sub: String,
    iat: i64,
    exp: i64,
    jti: String,
}

#[derive(Debug, thiserror::Error)]
pub enum SignerError {
    #[error("the request token key is not a P-256 private key in PKCS#8 PEM form")]
    Key(#[source] jsonwebtoken::errors::Error),
}

/// Signs request tokens. Reuses a caller's token for a service while it is fresh.
#[derive(derive_more::Debug)]
#[debug("RequestTokens {{ issuer: {issuer:?}, .. }}")]
pub struct RequestTokens {
    issuer: String,
    key: EncodingKey,
    key_id: String,
    clock: Clock,
    entropy: Entropy,
    issued: Cache<([u8; 32], &'static str), Arc<str>, RandomState>,
}

impl RequestTokens {
    pub fn new(
        issuer: &str,
        pem: &[u8],
        clock: Clock,
        entropy: Entropy,
    ) -> Result<Self, SignerError> {
        let key = EncodingKey::from_ec_pem(pem).map_err(SignerError::Key)?;
        let public = Jwk::from_encoding_key(&key, Algorithm::ES256).map_err(SignerError::Key)?;
        let members = serde_json::to_vec(&public.algorithm).expect("a public key is plain JSON");
        let key_id = crate::jwt::encode(&Sha256::digest(members)[..12]);
        let issued = Cache::builder().max_capacity(100_000).time_to_live(REUSE_DURATION);
        let issued = issued.build_with_hasher(RandomState::default());
        Ok(Self { issuer: issuer.to_owned(), key, key_id, clock, entropy, issued })
    }

    /// Returns a token that identifies the caller to `audience`.
    pub fn token_for(&self, principal: &Principal, audience: &'static str) -> Arc<str> {
        self.issued
            .get_with((principal.token_digest, audience), || self.sign(principal, audience).into())
    }

    fn sign(&self, principal: &Principal, audience: &str) -> String {
        self.encode(TYPE, &self.claims(principal, audience, LIFETIME))
    }

    /// Claims about the caller, valid from now.
    pub(crate) fn claims(
        &self,
        principal: &Principal,
        audience: &str,
        lifetime: SignedDuration,
    ) -> CallerClaims {
        let now = self.clock.unix_seconds();
        CallerClaims {
            iss: self.issuer.clone(),
            aud: audience.to_owned(),
            sub: principal.operator.to_string(),
            tenant_id: principal.tenant.to_string(),
            device_id: principal.device.to_string(),
            property_ids: principal.properties.clone(),
            roles: principal.roles.iter().map(|role| role.name().to_owned()).collect(),
            sid: principal.session.map(|session| session.to_string()),
            iat: now,
            exp: now + lifetime.as_secs(),
            jti: RequestId::generate(&self.clock, &self.entropy).to_string(),
        }
    }

    /// Returns a token that identifies the gateway itself to `audience`, for no operator.
    pub fn service_token(&self, audience: &str) -> Arc<str> {
        let now = self.clock.unix_seconds();
        let claims = ServiceClaims {
            iss: self.issuer.clone(),
            aud: audience.to_owned(),
            sub: self.issuer.clone(),
            iat: now,
            exp: now + LIFETIME.as_secs(),
            jti: RequestId::generate(&self.clock, &self.entropy).to_string(),
        };
        self.encode(SERVICE_TYPE, &claims).into()
    }

    pub(crate) fn encode(&self, kind: &str, claims: &impl Serialize) -> String {
        let mut header = Header::new(Algorithm::ES256);
        header.typ = Some(kind.to_owned());
        header.kid = Some(self.key_id.clone());
        encode(&header, claims, &self.key).expect("the key was checked when it was read")
    }

    /// The public key, for services to fetch.
    pub fn key_set(&self) -> JwkSet {
        let mut jwk = Jwk::from_encoding_key(&self.key, Algorithm::ES256)
            .expect("the key was checked when it was read");
        jwk.common.key_id = Some(self.key_id.clone());
        jwk.common.public_key_use = Some(PublicKeyUse::Signature);
        JwkSet { keys: vec![jwk] }
    }
}

/// Returns the key id that a request token names. Nothing of the token is trusted yet.
pub fn key_id(token: &str) -> Result<String, TokenError> {
    key_id_of(TYPE, token)
}

/// Returns the key id that a service token names.
pub fn service_key_id(token: &str) -> Result<String, TokenError> {
    key_id_of(SERVICE_TYPE, token)
}

pub(crate) fn key_id_of(kind: &str, token: &str) -> Result<String, TokenError> {
    let jwt = Unverified::split(token).map_err(|_| TokenError::Malformed)?;
    let header = jwt.header().map_err(|_| TokenError::Malformed)?;
    check_header(kind, &header)
}

fn check_header(kind: &str, header: &Object<'_>) -> Result<String, TokenError> {
    if header.text("typ") != Some(kind) {
        return Err(TokenError::Type);
    }
    if header.has("crit") {
        return Err(TokenError::Critical);
    }
    header.text("kid").map(str::to_owned).ok_or(TokenError::UnknownKey)
}

/// Verifies a request token, at the service it was issued for.
pub fn verify(
    token: &str,
    keys: &KeySet,
    rules: &TokenRules,
    now: Timestamp,
) -> Result<Principal, TokenError> {
    let claims: CallerClaims = signed(TYPE, token, keys, rules, now)?;
    principal(&claims, token).ok_or(TokenError::Claims)
}

/// Verifies a service token, at the service it was issued for.
pub fn verify_service(
    token: &str,
    keys: &KeySet,
    rules: &TokenRules,
    now: Timestamp,
) -> Result<(), TokenError> {
    let claims: ServiceClaims = signed(SERVICE_TYPE, token, keys, rules, now)?;
    // The gateway identifies only itself, and each token has an id.
    let is_own = claims.sub == claims.iss && !claims.jti.is_empty();
    if is_own { Ok(()) } else { Err(TokenError::Claims) }
}

/// Verifies signature, addressing and times of a token of this kind. Returns its claims.
pub(crate) fn signed<T: DeserializeOwned>(
    kind: &str,
    token: &str,
    keys: &KeySet,
    rules: &TokenRules,
    now: Timestamp,
) -> Result<T, TokenError> {
    let jwt = Unverified::split(token).map_err(|_| TokenError::Malformed)?;
    let header = jwt.header().map_err(|_| TokenError::Malformed)?;
    let claims = jwt.claims().map_err(|_| TokenError::Malformed)?;
    let key = keys.get(&check_header(kind, &header)?).ok_or(TokenError::UnknownKey)?;
    token::check_signature(jwt.signing_input, jwt.signature_text, header.text("alg"), key)?;
    token::check_addressing(&claims, &rules.issuer, &rules.audience)?;
    token::check_start(&claims, now)?;
    if claims.integer("exp").ok_or(TokenError::Claims)? <= now.as_second() {
        return Err(TokenError::Expired);
    }
    jwt.payload().map_err(|_| TokenError::Claims)
}

/// The principal of a token with these claims.
pub(crate) fn principal(claims: &CallerClaims, token: &str) -> Option<Principal> {
    Some(Principal {
        tenant: claims.tenant_id.parse().ok()?,
        operator: claims.sub.parse().ok()?,
        device: claims.device_id.parse().ok()?,
        session: claims.sid.as_deref().map(str::parse).transpose().ok()?,
        roles: RoleSet::from_names(claims.roles.iter().map(String::as_str)),
        properties: claims.property_ids.clone(),
        issued_at: Timestamp::from_second(claims.iat).ok()?,
        expires_at: Timestamp::from_second(claims.exp).ok()?,
        thumbprint: None,
        token_digest: Sha256::digest(token.as_bytes()).into(),
    })
}
