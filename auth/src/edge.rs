//! The crate's one part with I/O: fetches key sets, asks the shared replay store, and puts a
//! request through all checks in the order the contract gives them.

mod pulse;
mod remote_keys;
mod replay_store;
mod script;
mod session;

use std::sync::Arc;

use contracts::clock::Clock;
use http::{HeaderMap, header::AUTHORIZATION};

use crate::judge::{Credentials, Judge, single, with_scheme};
use crate::jwks::KeySet;
use crate::principal::Principal;
use crate::proof::{Proof, ProofError};
use crate::replay::Use;
use crate::request_token::{self, RequestTokenRules};
use crate::token::{self, AccessToken};

pub use crate::judge::{AuthError, Verified, proof_header};
pub use remote_keys::RemoteKeys;
pub use replay_store::{Admission, ReplayStore};
pub use session::{HeldSession, SESSION_LASTS, SessionClaim, SessionKeys};

/// Authenticates requests at the gateway.
#[derive(Debug)]
pub struct Authenticator {
    pub judge: Judge,
    pub keys: RemoteKeys,
    pub replays: ReplayStore,
    pub clock: Clock,
}

impl Authenticator {
    /// All checks in the contract's order. `path` is the request line's, without its query.
    pub async fn authenticate(
        &self,
        method: &str,
        path: &str,
        headers: &HeaderMap,
    ) -> Result<Principal, AuthError> {
        let verified = self.verify(method, path, headers).await?;
        verified.check_device(headers)?;
        self.burn(verified).await
    }

    /// The checks up to the token's expiry; what the caller knows of sessions comes next.
    pub async fn verify(
        &self,
        method: &str,
        path: &str,
        headers: &HeaderMap,
    ) -> Result<Verified, AuthError> {
        let request = Credentials::read(method, path, headers)?;
        let mut keys = self.keys.current().await;
        if let Some(kid) = self.judge.missing_key(&request, &keys)? {
            keys = self.keys.holding(&kid).await;
        }
        if keys.is_empty() {
            return Err(AuthError::KeysUnavailable);
        }
        self.judge.judge(&request, &keys, self.clock.now())
    }

    /// Last, so that a request refused for another reason burns nothing.
    pub async fn burn(&self, verified: Verified) -> Result<Principal, AuthError> {
        self.burn_use(verified.replay).await?;
        Ok(verified.principal)
    }

    /// As [`Self::burn`], for a proof that came without a token.
    pub async fn burn_use(&self, replay: Use) -> Result<(), ProofError> {
        let is_first = self.replays.first_use(replay, self.clock.now()).await;
        if is_first { Ok(()) } else { Err(ProofError::Replayed) }
    }

    /// The checks of a proof that comes without a token (RFC 9449 section 5), but its use.
    pub fn verify_proof(
        &self,
        method: &str,
        path: &str,
        headers: &HeaderMap,
    ) -> Result<Proof, ProofError> {
        self.judge.judge_proof((method, path), headers, self.clock.now())
    }

    /// A token that the issuer answered just now, by the rules for those that callers send.
    pub async fn verify_issued(&self, token: &str) -> Result<AccessToken, AuthError> {
        let keys = self.keys.holding(&token::key_id(token)?).await;
        if keys.is_empty() {
            return Err(AuthError::KeysUnavailable);
        }
        Ok(self.judge.judge_issued(token, &keys, self.clock.now())?)
    }

    /// Finds the caller's session or opens it, then burns the proof: one round trip.
    pub async fn admit(&self, verified: &Verified, claim: &SessionClaim<'_>) -> Admission {
        self.replays.admit(verified.replay, claim, self.clock.now()).await
    }

    /// Whether the session is the caller's, for a request that is refused anyway: burns nothing.
    pub async fn look(&self, verified: &Verified, claim: &SessionClaim<'_>) -> Admission {
        self.replays.look(verified.replay, claim, self.clock.now()).await
    }

    /// The nonce the next proof should carry, when nonces are required (RFC 9449 section 8.2).
    pub fn nonce(&self) -> Option<String> {
        self.judge.proofs.nonce(self.clock.now())
    }
}

/// Authenticates the gateway's requests at a service.
#[derive(Debug)]
pub struct RequestTokenAuthenticator {
    pub keys: RemoteKeys,
    pub rules: RequestTokenRules,
    pub clock: Clock,
}

impl RequestTokenAuthenticator {
    pub async fn authenticate(&self, headers: &HeaderMap) -> Result<Principal, AuthError> {
        let token = bearer(headers)?;
        let keys = self.keys(request_token::key_id(token)?).await?;
        Ok(request_token::verify(token, &keys, &self.rules, self.clock.now())?)
    }

    /// The gateway itself, calling for no operator.
    pub async fn authenticate_service(&self, headers: &HeaderMap) -> Result<(), AuthError> {
        let token = bearer(headers)?;
        let keys = self.keys(request_token::service_key_id(token)?).await?;
        Ok(request_token::verify_service(token, &keys, &self.rules, self.clock.now())?)
    }

    async fn keys(&self, holding: String) -> Result<Arc<KeySet>, AuthError> {
        let keys = self.keys.holding(&holding).await;
        if keys.is_empty() { Err(AuthError::KeysUnavailable) } else { Ok(keys) }
    }
}

fn bearer(headers: &HeaderMap) -> Result<&str, AuthError> {
    let value = single(headers, AUTHORIZATION.as_str()).ok_or(AuthError::NoCredentials)?;
    with_scheme(value, "Bearer").ok_or(AuthError::Scheme)
}
