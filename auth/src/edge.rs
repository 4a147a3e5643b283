//! The part of this crate with I/O: fetches key sets, queries the shared replay store, and runs the
//! checks of a request in the contract's order.

mod redis_health;
mod remote_keys;
mod replay_store;
mod script;
mod session;

use std::sync::Arc;

use contracts::clock::Clock;
use http::HeaderMap;

use crate::jwks::KeySet;
use crate::principal::Principal;
use crate::proof::{Proof, ProofError};
use crate::replay::ProofUse;
use crate::request_token;
use crate::token::{self, AccessToken, TokenRules};
use crate::verifier::{RequestCredentials, RequestVerifier, bearer};

pub use crate::verifier::{AuthError, Verified, proof_header};
pub use remote_keys::RemoteKeys;
pub use replay_store::{AdmitOutcome, ReplayStore};
pub use session::{SESSION_TTL, SessionClaim, SessionKeys, StoredSession};

/// Authenticates requests at the gateway.
#[derive(Debug)]
pub struct Authenticator {
    pub verifier: RequestVerifier,
    pub keys: RemoteKeys,
    pub replays: ReplayStore,
    pub clock: Clock,
}

impl Authenticator {
    /// Runs all checks up to the token's expiry. `path` is the request line's, without its query.
    pub async fn verify(
        &self,
        method: &str,
        path: &str,
        headers: &HeaderMap,
    ) -> Result<Verified, AuthError> {
        let request = RequestCredentials::read(method, path, headers)?;
        let mut keys = self.keys.current().await;
        if let Some(kid) = self.verifier.missing_key(&request, &keys)? {
            keys = self.keys.holding(&kid).await;
        }
        if keys.is_empty() {
            return Err(AuthError::KeysUnavailable);
        }
        self.verifier.verify(&request, &keys, self.clock.now())
    }

    /// Records the use of a proof. Comes last, so that a request refused for another reason uses
    /// up nothing.
    pub async fn consume_proof(&self, replay: ProofUse) -> Result<(), ProofError> {
        let is_first = self.replays.first_use(replay, self.clock.now()).await;
        if is_first { Ok(()) } else { Err(ProofError::Replayed) }
    }

    /// Verifies a proof that comes without a token (RFC 9449 section 5). Does not consume it.
    pub fn verify_proof(
        &self,
        method: &str,
        path: &str,
        headers: &HeaderMap,
    ) -> Result<Proof, ProofError> {
        self.verifier.verify_proof(method, path, headers, self.clock.now())
    }

    /// Verifies a token that the issuer has just returned, by the rules for tokens of callers.
    pub async fn verify_issued(&self, token: &str) -> Result<AccessToken, AuthError> {
        let keys = self.keys.holding(&token::key_id(token)?).await;
        if keys.is_empty() {
            return Err(AuthError::KeysUnavailable);
        }
        Ok(self.verifier.verify_issued(token, &keys, self.clock.now())?)
    }

    /// Finds or opens the caller's session, then consumes the proof, in one round trip.
    pub async fn admit(&self, verified: &Verified, claim: &SessionClaim<'_>) -> AdmitOutcome {
        self.replays.admit(verified.replay, claim, self.clock.now()).await
    }

    /// Checks the session without consuming the proof, for a request that is refused anyway.
    pub async fn peek(&self, verified: &Verified, claim: &SessionClaim<'_>) -> AdmitOutcome {
        self.replays.peek(verified.replay, claim, self.clock.now()).await
    }

    /// The nonce the next proof should carry, when nonces are required (RFC 9449 section 8.2).
    pub fn nonce(&self) -> Option<String> {
        self.verifier.proofs.nonce(self.clock.now())
    }
}

/// Authenticates requests of the gateway, at a service.
#[derive(Debug)]
pub struct RequestTokenAuthenticator {
    pub keys: RemoteKeys,
    pub rules: TokenRules,
    pub clock: Clock,
}

impl RequestTokenAuthenticator {
    pub async fn authenticate(&self, headers: &HeaderMap) -> Result<Principal, AuthError> {
        let token = bearer(headers)?;
        let keys = self.keys(request_token::key_id(token)?).await?;
        Ok(request_token::verify(token, &keys, &self.rules, self.clock.now())?)
    }

    /// Verifies that the gateway itself calls, for no operator.
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
