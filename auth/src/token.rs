//! Access tokens of iam (gateway-api section 2): signature, issuer, audience, claims, binding.

use std::str::FromStr;

use contracts::id::IdError;
use contracts::role::RoleSet;
use contracts::upstream::iam::AccessTokenClaims;
use jiff::Timestamp;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Validation, decode, decode_header};
use sha2::{Digest, Sha256};

use crate::jwks::{KeySet, TrustedKey};
use crate::jwt;
use crate::principal::Principal;

/// Seconds a token is taken before its `iat` or `nbf`: clocks differ.
const SKEW: i64 = 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("it is not a well-formed JWT of at most 8 KiB")]
    Malformed,
    #[error("its type is not that of an access token")]
    Type,
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

/// The key id a token names, to find its key. Nothing of the token is trusted yet.
pub fn key_id(token: &str) -> Result<String, TokenError> {
    if token.len() > jwt::LONGEST {
        return Err(TokenError::Malformed);
    }
    let header = decode_header(token).map_err(|_| TokenError::Malformed)?;
    let is_access_token = header.typ.as_deref().is_none_or(|typ| {
        ["at+jwt", "application/at+jwt", "jwt"].iter().any(|name| typ.eq_ignore_ascii_case(name))
    });
    if !is_access_token {
        return Err(TokenError::Type);
    }
    header.kid.ok_or(TokenError::UnknownKey)
}

/// Verifies a token with the key its `kid` names.
pub fn verify(
    token: &str,
    keys: &KeySet,
    rules: &TokenRules,
    now: Timestamp,
) -> Result<AccessToken, TokenError> {
    let key = keys.get(&key_id(token)?).ok_or(TokenError::UnknownKey)?;
    let claims = verified_claims(token, key, rules)?;
    if claims.iat > now.as_second() + SKEW {
        return Err(TokenError::NotYetValid);
    }
    let bound_to = claims.cnf.jkt.clone();
    let principal = principal(&claims, Sha256::digest(token.as_bytes()).into())?;
    Ok(AccessToken { principal, bound_to })
}

fn verified_claims(
    token: &str,
    key: &TrustedKey,
    rules: &TokenRules,
) -> Result<AccessTokenClaims, TokenError> {
    let mut validation = Validation::new(key.algorithms[0]);
    validation.algorithms.clone_from(&key.algorithms);
    validation.set_issuer(&[&rules.issuer]);
    validation.set_audience(&[&rules.audience]);
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    // Time is judged by the injected clock.
    validation.validate_exp = false;
    decode(token, &key.key, &validation).map(|data| data.claims).map_err(|error| {
        match error.kind() {
            ErrorKind::InvalidSignature => TokenError::Signature,
            ErrorKind::InvalidAlgorithm | ErrorKind::InvalidAlgorithmName => TokenError::Algorithm,
            ErrorKind::InvalidIssuer => TokenError::Issuer,
            ErrorKind::InvalidAudience => TokenError::Audience,
            ErrorKind::Json(_) | ErrorKind::MissingRequiredClaim(_) => TokenError::Claims,
            _ => TokenError::Malformed,
        }
    })
}

fn principal(claims: &AccessTokenClaims, token_digest: [u8; 32]) -> Result<Principal, TokenError> {
    fn id<T: FromStr<Err = IdError>>(text: &str) -> Result<T, TokenError> {
        text.parse().map_err(|_| TokenError::Claims)
    }
    let properties =
        claims.property_ids.iter().map(|property| id(property)).collect::<Result<_, _>>()?;
    Ok(Principal {
        tenant: id(&claims.tenant_id)?,
        operator: id(&claims.sub)?,
        device: id(&claims.device_id)?,
        session: claims.sid.as_deref().map(id).transpose()?,
        roles: RoleSet::from_names(claims.roles.iter().map(String::as_str)),
        properties,
        issued_at: Timestamp::from_second(claims.iat).map_err(|_| TokenError::Claims)?,
        expires_at: Timestamp::from_second(claims.exp).map_err(|_| TokenError::Claims)?,
        token_digest,
    })
}
