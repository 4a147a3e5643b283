//! The token that a sync handshake gives a desktop for its bulk transfers with sync-service, which
//! do not pass through the gateway (gateway-api section 4). Short-lived, for one operator at one
//! device, and bound to the device's key: the receiver also requires a DPoP proof (RFC 9449).

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::jwks::KeySet;
use crate::principal::Principal;
use crate::request_token::{self, CallerClaims, RequestTokens};
use crate::token::{TokenError, TokenRules};

/// `typ` that distinguishes these tokens from the gateway's others (RFC 8725 section 3.11).
const TYPE: &str = "sync-session+jwt";
/// As long as an access token. A longer transfer needs another handshake, which a revoked session
/// does not get.
const LIFETIME: SignedDuration = SignedDuration::from_mins(15);

#[derive(Debug, Serialize, Deserialize)]
struct SyncClaims {
    #[serde(flatten)]
    caller: CallerClaims,
    cnf: Confirmation,
}

#[derive(Debug, Serialize, Deserialize)]
struct Confirmation {
    /// RFC 7638 thumbprint.
    jkt: String,
}

/// A token and its expiry.
#[derive(Clone, derive_more::Debug)]
#[debug("SyncToken {{ expires_at: {expires_at:?}, .. }}")]
pub struct SyncToken {
    pub text: String,
    pub expires_at: Timestamp,
}

impl RequestTokens {
    /// Signs a token for the caller's device. `None` if the caller's token is not bound to a key.
    pub fn sync_session(&self, principal: &Principal, audience: &str) -> Option<SyncToken> {
        let jkt = principal.thumbprint.as_deref()?.to_owned();
        let caller = self.claims(principal, audience, LIFETIME);
        let expires_at = Timestamp::from_second(caller.exp).ok()?;
        let text = self.encode(TYPE, &SyncClaims { caller, cnf: Confirmation { jkt } });
        Some(SyncToken { text, expires_at })
    }
}

/// Returns the key id that a token names. Nothing of the token is trusted yet.
pub fn key_id(token: &str) -> Result<String, TokenError> {
    request_token::key_id_of(TYPE, token)
}

/// Verifies a token at the service it was issued for. The principal's `thumbprint` is that of the
/// key that must have signed the request's proof.
pub fn verify(
    token: &str,
    keys: &KeySet,
    rules: &TokenRules,
    now: Timestamp,
) -> Result<Principal, TokenError> {
    let claims: SyncClaims = request_token::signed(TYPE, token, keys, rules, now)?;
    let principal = request_token::principal(&claims.caller, token).ok_or(TokenError::Claims)?;
    Ok(Principal { thumbprint: Some(claims.cnf.jkt.into()), ..principal })
}
