//! Access tokens of iam (gateway-api section 2): signature, issuer, audience, claims, binding.

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

/// Seconds a token is taken before its `iat` or `nbf`: clocks differ.
const SKEW: i64 = 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("it is not a well-formed JWT of at most 8 KiB")]
    Malformed,
    #[error("its type is not that of an access token")]
    Type,
    /// RFC 7515 section 4.1.11.
    #[error("its header names an extension this server does not know")]
    Critical,
    #[error("it is signed with a key this server does not know")]
    UnknownKey,
    #[error("its algorithm is not allowed for its key")]
    Algorithm,
    #[error("its signature does not verify")]
    Signature,
    #[error("it is not from the issuer this server trusts")]
    Issuer,
    #[error("it is meant for another audience")]
    Audience,
    #[error("a claim is missing or of the wrong type")]
    Claims,
    /// Never taken as a plain bearer token instead (RFC 9449 sections 6.1 and 7.2).
    #[error("it is not bound to a device's key")]
    Unbound,
    #[error("it is not valid yet")]
    NotYetValid,
    #[error("it has expired")]
    Expired,
}

/// Who may issue tokens, and for whom.
#[derive(Debug, Clone)]
pub struct TokenRules {
    pub issuer: String,
    pub audience: String,
}

/// A token whose signature and claims hold; whether it has expired is asked apart, because the
/// proof is judged first.
#[derive(Debug, Clone)]
pub struct AccessToken {
    pub principal: Principal,
    /// Thumbprint of the key it is bound to.
    pub bound_to: String,
}

impl AccessToken {
    pub fn check_expiry(&self, now: Timestamp) -> Result<(), TokenError> {
        if now < self.principal.expires_at { Ok(()) } else { Err(TokenError::Expired) }
    }
}

/// The key id an access token names, to find its key. Nothing of the token is trusted yet.
pub fn key_id(token: &str) -> Result<String, TokenError> {
    let jwt = Unverified::split(token).map_err(|_| TokenError::Malformed)?;
    let header = jwt.header().map_err(|_| TokenError::Malformed)?;
    check_type(&header)?;
    header.text("kid").map(str::to_owned).ok_or(TokenError::UnknownKey)
}

/// RFC 9068 section 4: a token of another kind, an identity token or a proof, is not taken.
fn check_type(header: &Object<'_>) -> Result<(), TokenError> {
    let typ = header.text("typ").unwrap_or_default();
    let is_access_token =
        ["at+jwt", "application/at+jwt"].iter().any(|name| typ.eq_ignore_ascii_case(name));
    if is_access_token { Ok(()) } else { Err(TokenError::Type) }
}

/// Verifies a token with the key its `kid` names.
pub fn verify(
    token: &str,
    keys: &KeySet,
    rules: &TokenRules,
    now: Timestamp,
) -> Result<AccessToken, TokenError> {
    verify_digested(token, Sha256::digest(token.as_bytes()).into(), keys, rules, now)
}

/// As [`verify`], for callers that have the token's SHA-256 already.
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
    check_signature(&jwt, header.text("alg"), key)?;
    check_addressing(&claims, &rules.issuer, &rules.audience)?;
    check_start(&claims, now)?;
    let bound_to = bound_to(&claims).ok_or(TokenError::Unbound)?;
    let principal = principal(&claims, &bound_to, digest).ok_or(TokenError::Claims)?;
    Ok(AccessToken { principal, bound_to })
}

pub(crate) fn check_signature(
    jwt: &Unverified<'_>,
    named: Option<&str>,
    key: &TrustedKey,
) -> Result<(), TokenError> {
    check_raw_signature(jwt.signing_input, jwt.signature_text, named, key)
}

/// The algorithm is the key's, never the token's choice alone (RFC 8725 section 3.1).
pub(crate) fn check_raw_signature(
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
    let verdict = jsonwebtoken::crypto::verify(signature, input, &key.key, algorithm);
    if verdict.unwrap_or(false) { Ok(()) } else { Err(TokenError::Signature) }
}

/// `iss` is ours, and `aud`, one text or a list (RFC 7519 section 4.1.3), names us.
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

/// `iat` and, where present, `nbf` are not ahead of a clock that may differ a little.
pub(crate) fn check_start(claims: &Object<'_>, now: Timestamp) -> Result<(), TokenError> {
    let latest = now.as_second() + SKEW;
    let issued = claims.integer("iat").ok_or(TokenError::Claims)?;
    let valid_from = match claims.get("nbf") {
        None => issued,
        Some(_) => claims.integer("nbf").ok_or(TokenError::Claims)?,
    };
    if issued > latest || valid_from > latest { Err(TokenError::NotYetValid) } else { Ok(()) }
}

/// `cnf.jkt`, if it is a SHA-256 thumbprint (RFC 7800 section 3.1, RFC 9449 section 6.1).
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
