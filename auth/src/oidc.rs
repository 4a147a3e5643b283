//! Verifies OpenID Connect identity tokens (Core 1.0 section 2) of service accounts, as the
//! scheduler and Pub/Sub push send them under `Bearer`. Pure: keys and time are passed in.
//!
//! Not here: what an account may do, and the tokens of operators ([`crate::token`]).

use jiff::Timestamp;

use crate::json::Object;
use crate::jwks::KeySet;
use crate::jwt::{JwtError, Unverified};
use crate::token::{self, TokenError, TokenRules};

/// A token is accepted this long before its `iat`, and never after its `exp`.
const CLOCK_SKEW_SECONDS: i64 = 10;
/// Google's live for an hour; a longer lifetime is suspicious.
const MAX_LIFETIME_SECONDS: i64 = 2 * 60 * 60;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OidcError {
    /// As an access token may be.
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error("not an identity token")]
    Type,
    #[error("not valid at this time")]
    Time,
    #[error("the email is missing or not verified")]
    Email,
}

/// A service account with a valid token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceAccount {
    pub email: String,
    /// The issuer's id of the account, never reassigned.
    pub subject: String,
}

/// Returns the key id that a token names. Nothing of the token is trusted yet.
pub fn key_id(token: &str) -> Result<String, OidcError> {
    let jwt = Unverified::split(token)?;
    check_header(&jwt.header()?)
}

/// Rejects access tokens (`at+jwt`) of the same issuer.
fn check_header(header: &Object<'_>) -> Result<String, OidcError> {
    let is_identity = match header.get("typ") {
        None => true,
        Some(typ) => typ.text().is_some_and(|typ| typ.eq_ignore_ascii_case("jwt")),
    };
    if !is_identity {
        return Err(OidcError::Type);
    }
    if header.has("crit") {
        return Err(TokenError::Critical.into());
    }
    Ok(header.text("kid").map(str::to_owned).ok_or(TokenError::UnknownKey)?)
}

/// Verifies a token with the key its `kid` names. A token with several audiences is rejected.
pub fn verify(
    token: &str,
    keys: &KeySet,
    rules: &TokenRules,
    now: Timestamp,
) -> Result<ServiceAccount, OidcError> {
    let jwt = Unverified::split(token)?;
    let (header, claims) = (jwt.header()?, jwt.claims()?);
    let key = keys.get(&check_header(&header)?).ok_or(TokenError::UnknownKey)?;
    token::check_signature(jwt.signing_input, jwt.signature_text, header.text("alg"), key)?;
    let text = |name| claims.text(name).ok_or(TokenError::Claims);
    // Accounts are identified by it.
    let subject = text("sub").ok().filter(|sub| !sub.is_empty()).ok_or(TokenError::Claims)?;
    if text("iss")? != rules.issuer {
        return Err(TokenError::Issuer.into());
    }
    if text("aud")? != rules.audience {
        return Err(TokenError::Audience.into());
    }
    check_time(&claims, now.as_second())?;
    let email = claims.text("email").filter(|_| claims.is_true("email_verified"));
    Ok(ServiceAccount {
        email: email.ok_or(OidcError::Email)?.to_owned(),
        subject: subject.to_owned(),
    })
}

/// `now` in seconds.
fn check_time(claims: &Object<'_>, now: i64) -> Result<(), OidcError> {
    let (issued, ends) =
        claims.integer("iat").zip(claims.integer("exp")).ok_or(TokenError::Claims)?;
    let valid_from = match claims.get("nbf") {
        None => issued,
        Some(_) => claims.integer("nbf").ok_or(TokenError::Claims)?,
    };
    let in_time = issued <= now + CLOCK_SKEW_SECONDS
        && valid_from <= now + CLOCK_SKEW_SECONDS
        && now < ends
        && ends.saturating_sub(issued) <= MAX_LIFETIME_SECONDS;
    if in_time { Ok(()) } else { Err(OidcError::Time) }
}

impl From<JwtError> for OidcError {
    fn from(_: JwtError) -> Self {
        Self::Token(TokenError::Malformed)
    }
}
