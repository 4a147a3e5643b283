//! The token a handshake gives a desktop for its bulk transfers with sync-service, which do not
//! pass through the gateway (gateway-api section 4). Short-lived, for one operator at one device,
//! and bound to the device's key: whoever takes it asks for a proof by that key (RFC 9449).

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::jwks::KeySet;
use crate::principal::Principal;
use crate::request_token::{self, Claims, RequestTokenRules, RequestTokens};
use crate::token::TokenError;

/// Tells these tokens from all others of the gateway (RFC 8725 section 3.11).
const TYPE: &str = "sync-session+jwt";
/// As long as an access token: a desktop that still transfers shakes hands again, and one whose
/// session was revoked is not given another.
const LIFETIME: SignedDuration = SignedDuration::from_mins(15);

#[derive(Debug, Serialize, Deserialize)]
struct SyncClaims {
    #[serde(flatten)]
    caller: Claims,
    cnf: Confirmation,
}

#[derive(Debug, Serialize, Deserialize)]
struct Confirmation {
    /// RFC 7638 thumbprint.
    jkt: String,
}

/// A token and its end.
#[derive(Clone)]
pub struct SyncToken {
    pub text: String,
    pub expires_at: Timestamp,
}

impl std::fmt::Debug for SyncToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SyncToken").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

impl RequestTokens {
    /// For the caller's own device alone; `None` for a caller whose token is bound to no key.
    pub fn sync_session(&self, principal: &Principal, audience: &str) -> Option<SyncToken> {
        let jkt = principal.thumbprint.as_deref()?.to_owned();
        let caller = self.claims(principal, audience, LIFETIME);
        let expires_at = Timestamp::from_second(caller.exp).ok()?;
        let text = self.encode(TYPE, &SyncClaims { caller, cnf: Confirmation { jkt } });
        Some(SyncToken { text, expires_at })
    }
}

/// The key id a token names, to find its key. Nothing of the token is trusted yet.
pub fn key_id(token: &str) -> Result<String, TokenError> {
    request_token::key_id_of(TYPE, token)
}

/// Verifies a token for the service it is meant for. The principal names the key that must have
/// made the request's proof.
pub fn verify(
    token: &str,
    keys: &KeySet,
    rules: &RequestTokenRules,
    now: Timestamp,
) -> Result<Principal, TokenError> {
    let claims: SyncClaims = request_token::signed((TYPE, token), keys, rules, now)?;
    let principal = request_token::principal(&claims.caller, token).ok_or(TokenError::Claims)?;
    Ok(Principal { thumbprint: Some(claims.cnf.jkt.into()), ..principal })
}
