//! Which service account calls: OpenID Connect identity tokens (Core 1.0 section 2) as the
//! scheduler and the Pub/Sub push send them under `Bearer`. Pure: keys and time are passed in.
//!
//! Not here: what an account may do, and the tokens of operators ([`crate::token`]).

use jiff::Timestamp;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Validation, decode, decode_header};
use serde::Deserialize;

use crate::jwks::{KeySet, TrustedKey};
use crate::jwt;

/// Seconds clocks may differ: a token is taken so long before its `iat`, and not after its `exp`.
const SKEW: i64 = 10;
/// Seconds; Google's live for an hour. One that lives longer was not made for a call.
const LONGEST_LIFE: i64 = 2 * 60 * 60;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OidcError {
    #[error("it is not a well-formed JWT of at most 8 KiB")]
    Malformed,
    #[error("its type is not that of an identity token")]
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
    #[error("it is not valid at this time")]
    Time,
    #[error("its email is missing or not verified")]
    Email,
}

/// Who may issue tokens, and for whom.
#[derive(Debug, Clone)]
pub struct OidcRules {
    pub issuer: String,
    /// The one audience; a token for several is not for us.
    pub audience: String,
}

/// A service account whose token holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceAccount {
    pub email: String,
    /// The issuer's own id of it, which is never given to another.
    pub subject: String,
}

#[derive(Debug, Deserialize)]
struct Claims {
    /// Again beside the library's check: it takes a list that contains the audience.
    aud: String,
    sub: String,
    iat: i64,
    exp: i64,
    email: Option<String>,
    email_verified: Option<bool>,
}

/// The key id a token names, to find its key. Nothing of the token is trusted yet.
pub fn key_id(token: &str) -> Result<String, OidcError> {
    if token.len() > jwt::LONGEST {
        return Err(OidcError::Malformed);
    }
    let header = decode_header(token).map_err(|_| OidcError::Malformed)?;
    // An access token (`at+jwt`) of the same issuer must not pass for an identity.
    if header.typ.as_deref().is_some_and(|typ| !typ.eq_ignore_ascii_case("jwt")) {
        return Err(OidcError::Type);
    }
    header.kid.ok_or(OidcError::UnknownKey)
}

/// Verifies a token with the key its `kid` names.
pub fn verify(
    token: &str,
    keys: &KeySet,
    rules: &OidcRules,
    now: Timestamp,
) -> Result<ServiceAccount, OidcError> {
    let key = keys.get(&key_id(token)?).ok_or(OidcError::UnknownKey)?;
    let claims = verified_claims(token, key, rules)?;
    let now = now.as_second();
    let in_time = claims.iat <= now + SKEW
        && now < claims.exp
        && claims.exp.saturating_sub(claims.iat) <= LONGEST_LIFE;
    if !in_time {
        return Err(OidcError::Time);
    }
    if claims.aud != rules.audience {
        return Err(OidcError::Audience);
    }
    let email = claims.email.filter(|_| claims.email_verified == Some(true));
    Ok(ServiceAccount { email: email.ok_or(OidcError::Email)?, subject: claims.sub })
}

fn verified_claims(token: &str, key: &TrustedKey, rules: &OidcRules) -> Result<Claims, OidcError> {
    let mut validation = Validation::new(key.algorithms[0]);
    validation.algorithms.clone_from(&key.algorithms);
    validation.set_issuer(&[&rules.issuer]);
    validation.set_audience(&[&rules.audience]);
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    // Time is judged by the injected clock.
    validation.validate_exp = false;
    decode(token, &key.key, &validation).map(|data| data.claims).map_err(|error| {
        match error.kind() {
            ErrorKind::InvalidSignature => OidcError::Signature,
            ErrorKind::InvalidAlgorithm | ErrorKind::InvalidAlgorithmName => OidcError::Algorithm,
            ErrorKind::InvalidIssuer => OidcError::Issuer,
            ErrorKind::InvalidAudience => OidcError::Audience,
            ErrorKind::Json(_) | ErrorKind::MissingRequiredClaim(_) => OidcError::Claims,
            _ => OidcError::Malformed,
        }
    })
}
