//! Verifies access tokens of iam (gateway-api section 2): signature, issuer, audience, claims,
//! binding.

use std::str::FromStr;

use contracts::id::IdError;
use contracts::role::RoleSet;
use jiff::Timestamp;
use jsonwebtoken::Algorithm;
use sha2::{Digest, Sha256};

use crate::json::{Object, Value};
use crate::jwks::{KeySet, TrustedKey};
use crate::jwt::{self, Unverified};
use crate::principal::Principal;

/// A token is accepted this long before its `iat` or `nbf`.
const CLOCK_SKEW_SECONDS: i64 = 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("not a well-formed JWT of at most 8 KiB")]
    Malformed,
    #[error("not an access token")]
    Type,
    /// RFC 7515 section 4.1.11.
    #[error("the header has an unknown critical extension")]
    Critical,
    #[error("signed with an unknown key")]
    UnknownKey,
    #[error("the algorithm is not allowed for the key")]
    Algorithm,
    #[error("the signature is invalid")]
    Signature,
    #[error("the issuer is not trusted")]
    Issuer,
    #[error("issued for another audience")]
    Audience,
    #[error("a claim is missing or of the wrong type")]
    Claims,
    /// Never accepted as a bearer token instead (RFC 9449 sections 6.1 and 7.2).
    #[error("not bound to a device's key")]
    Unbound,
    #[error("not valid yet")]
    NotYetValid,
    #[error("expired")]
    Expired,
}

/// Who may issue tokens, and for whom.
#[derive(Debug, Clone)]
pub struct TokenRules {
    pub issuer: String,
    /// The receiver's own name.
    pub audience: String,
}

/// A token with valid signature and claims. Expiry is checked separately, because the proof is
/// checked first.
#[derive(Debug, Clone)]
pub struct AccessToken {
    pub principal: Principal,
    /// Thumbprint of the device key it is bound to.
    pub bound_to: String,
}

impl AccessToken {
    pub fn check_expiry(&self, now: Timestamp) -> Result<(), TokenError> {
        if now < self.principal.expires_at { Ok(()) } else { Err(TokenError::Expired) }
    }
}

/// Returns the key id that an access token names. Nothing of the token is trusted yet.
pub fn key_id(token: &str) -> Result<String, TokenError> {
    let jwt = Unverified::split(token).map_err(|_| TokenError::Malformed)?;
    let header = jwt.header().map_err(|_| TokenError::Malformed)?;
    check_type(&header)?;
    header.text("kid").map(str::to_owned).ok_or(TokenError::UnknownKey)
}

/// Rejects other kinds of tokens, such as identity tokens and proofs (RFC 9068 section 4).
fn check_type(header: &Object<'_>) -> Result<(), TokenError> {
    let typ = header.text("typ").unwrap_or_default();
    let is_access_token =
        ["at+jwt", "application/at+jwt"].iter().any(|name| typ.eq_ignore_ascii_case(name));
    if is_access_token { Ok(()) } else { Err(TokenError::Type) }
}

/// Verifies a token with the key that its `kid` names.
pub fn verify(
    token: &str,
    keys: &KeySet,
    rules: &TokenRules,
    now: Timestamp,
) -> Result<AccessToken, TokenError> {
    verify_digested(token, Sha256::digest(token.as_bytes()).into(), keys, rules, now)
}

/// As [`verify`], for callers that already have the token's SHA-256.
pub(crate) fn verify_digested(
    token: &str,
    digest: [u8; 32],
    keys: &KeySet,
    rules: &TokenRules,
    now: Timestamp,
) -> Result<AccessToken, TokenError> {
    let jwt = Unverified::split(token).map_err(|_| TokenError::Malformed)?;
    let header = jwt.header().map_err(|_| TokenError::Malformed)?;
    let claims = jwt.claims().map_err(|_| TokenError::Malformed)?;
    check_type(&header)?;
    if header.has("crit") {
        return Err(TokenError::Critical);
    }
    let kid = header.text("kid").ok_or(TokenError::UnknownKey)?;
    let key = keys.get(kid).ok_or(TokenError::UnknownKey)?;
    check_signature(jwt.signing_input, jwt.signature_text, header.text("alg"), key)?;
    check_addressing(&claims, &rules.issuer, &rules.audience)?;
    check_start(&claims, now)?;
    let bound_to = bound_to(&claims).ok_or(TokenError::Unbound)?;
    let principal = principal(&claims, &bound_to, digest).ok_or(TokenError::Claims)?;
    Ok(AccessToken { principal, bound_to })
}

/// Verifies a signature. The key decides which algorithms are allowed, not the token (RFC 8725
/// section 3.1).
pub(crate) fn check_signature(
    input: &[u8],
    signature: &str,
    named: Option<&str>,
    key: &TrustedKey,
) -> Result<(), TokenError> {
    let algorithm = match named {
        Some("ES256") => Algorithm::ES256,
        Some("EdDSA" | "Ed25519") => Algorithm::EdDSA,
        Some("RS256") => Algorithm::RS256,
        Some("PS256") => Algorithm::PS256,
        _ => return Err(TokenError::Algorithm),
    };
    if !key.algorithms.contains(&algorithm) {
        return Err(TokenError::Algorithm);
    }
    let is_valid = jsonwebtoken::crypto::verify(signature, input, &key.key, algorithm);
    if is_valid.unwrap_or(false) { Ok(()) } else { Err(TokenError::Signature) }
}

/// Checks that `iss` is trusted and that `aud`, a string or a list (RFC 7519 section 4.1.3), names
/// us.
pub(crate) fn check_addressing(
    claims: &Object<'_>,
    issuer: &str,
    expected: &str,
) -> Result<(), TokenError> {
    if claims.text("iss").ok_or(TokenError::Claims)? != issuer {
        return Err(TokenError::Issuer);
    }
    let audience = match claims.get("aud") {
        Some(Value::Text(one)) => vec![one.as_ref()],
        Some(Value::List(_)) => claims.texts("aud").ok_or(TokenError::Claims)?,
        _ => return Err(TokenError::Claims),
    };
    if audience.contains(&expected) { Ok(()) } else { Err(TokenError::Audience) }
}

/// Checks that `iat` and `nbf`, if present, are not in the future, with some clock skew.
pub(crate) fn check_start(claims: &Object<'_>, now: Timestamp) -> Result<(), TokenError> {
    let latest = now.as_second() + CLOCK_SKEW_SECONDS;
    let issued = claims.integer("iat").ok_or(TokenError::Claims)?;
    let valid_from = match claims.get("nbf") {
        None => issued,
        Some(_) => claims.integer("nbf").ok_or(TokenError::Claims)?,
    };
    if issued > latest || valid_from > latest { Err(TokenError::NotYetValid) } else { Ok(()) }
}

/// Returns `cnf.jkt` if it is a SHA-256 thumbprint (RFC 7800 section 3.1, RFC 9449 section 6.1).
fn bound_to(claims: &Object<'_>) -> Option<String> {
    let thumbprint = claims.object("cnf")?.text("jkt")?;
    let is_digest = jwt::decoded(thumbprint).is_some_and(|bytes| bytes.len() == 32);
    is_digest.then(|| thumbprint.to_owned())
}

fn principal(claims: &Object<'_>, bound_to: &str, token_digest: [u8; 32]) -> Option<Principal> {
    let properties = claims.texts("property_ids")?;
    let session = match claims.get("sid") {
        None => None,
        Some(value) => Some(value.text()?.parse().ok()?),
    };
    claims.text("jti").filter(|jti| !jti.is_empty())?;
    Some(Principal {
        tenant: id(claims, "tenant_id")?,
        operator: id(claims, "sub")?,
        device: id(claims, "device_id")?,
        session,
        roles: RoleSet::from_names(claims.texts("roles")?),
        properties: properties.into_iter().map(|id| id.parse().ok()).collect::<Option<_>>()?,
        issued_at: Timestamp::from_second(claims.integer("iat")?).ok()?,
        expires_at: Timestamp::from_second(claims.integer("exp")?).ok()?,
        thumbprint: Some(bound_to.into()),
        token_digest,
    })
}

fn id<T: FromStr<Err = IdError>>(claims: &Object<'_>, name: &str) -> Option<T> {
    claims.text(name)?.parse().ok()
}
