//! The crate's one file with I/O: fetches key sets, asks the shared replay store, and puts a
//! request's token and proof through all checks in the order the contract gives them.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use contracts::clock::Clock;
use contracts::headers;
use contracts::id::DeviceId;
use http::{HeaderMap, header::AUTHORIZATION};
use redis::aio::ConnectionManager;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::htu::Htu;
use crate::jwks::{KeySet, KeySetError};
use crate::principal::Principal;
use crate::proof::{Expected, ProofError, ProofVerifier};
use crate::replay::{LocalReplays, Use};
use crate::request_token::{self, RequestTokenRules};
use crate::token::{self, AccessToken, TokenError, TokenRules};

/// Why a request is not let in, in the order of gateway-api section 3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    #[error("no Authorization header was sent")]
    NoCredentials,
    #[error("more than one Authorization header was sent")]
    SeveralCredentials,
    #[error("the Authorization scheme is not DPoP")]
    Scheme,
    #[error("DPoP proof: {0}")]
    Proof(#[from] ProofError),
    #[error("access token: {0}")]
    Token(#[from] TokenError),
    #[error("X-Device-Id is missing or is not the token's device")]
    Device,
    #[error("the key set of the issuer cannot be fetched")]
    KeysUnavailable,
}

/// A key set fetched from its issuer: kept, refreshed when a token names a key it does not
/// hold (at most once per cooldown), never dropped because the issuer is away.
#[derive(Debug)]
pub struct RemoteKeys {
    url: String,
    client: reqwest::Client,
    current: ArcSwap<KeySet>,
    last_try: Mutex<Option<Instant>>,
    cooldown: Duration,
}

#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("the key set cannot be fetched")]
    Http(#[from] reqwest::Error),
    #[error(transparent)]
    Document(#[from] KeySetError),
}

impl RemoteKeys {
    /// `client` must carry a time limit.
    pub fn new(url: String, client: reqwest::Client, cooldown: Duration) -> Self {
        Self { url, client, current: ArcSwap::default(), last_try: Mutex::new(None), cooldown }
    }

    /// The keys, after a refresh when `kid` is not among them and the cooldown allows one.
    pub async fn holding(&self, kid: &str) -> Arc<KeySet> {
        let keys = self.current.load_full();
        if keys.get(kid).is_some() {
            return keys;
        }
        self.refresh_for(kid).await;
        self.current.load_full()
    }

    pub fn is_loaded(&self) -> bool {
        !self.current.load().is_empty()
    }

    /// One refresh at a time; those who waited find its result.
    async fn refresh_for(&self, kid: &str) {
        let mut last_try = self.last_try.lock().await;
        if self.current.load().get(kid).is_some() {
            return;
        }
        let cools = last_try.is_some_and(|at| at.elapsed() < self.cooldown);
        if cools && self.is_loaded() {
            return;
        }
        *last_try = Some(Instant::now());
        match self.fetch().await {
            Ok(keys) => self.current.store(Arc::new(keys)),
            Err(error) => {
                tracing::warn!(url = %self.url, %error, "The key set was not refreshed; the last good one stays.");
            }
        }
    }

    async fn fetch(&self) -> Result<KeySet, FetchError> {
        let answer = self.client.get(&self.url).send().await?.error_for_status()?;
        Ok(KeySet::parse(&answer.bytes().await?)?)
    }
}

/// Proofs that were used, shared by all instances of the gateway; while the session tier is
/// away each instance remembers its own.
pub struct ReplayStore {
    shared: Option<ConnectionManager>,
    local: LocalReplays,
    time_limit: Duration,
}

impl std::fmt::Debug for ReplayStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReplayStore").finish_non_exhaustive()
    }
}

impl ReplayStore {
    pub fn new(shared: Option<ConnectionManager>, window: Duration) -> Self {
        Self {
            shared,
            local: LocalReplays::new(200_000, window),
            time_limit: Duration::from_millis(100),
        }
    }

    /// True when the proof was not used before. Every use is noted locally too, so that a proof
    /// burnt here stays burnt when the tier goes away.
    pub async fn first_use(&self, proof: Use, now: jiff::Timestamp) -> bool {
        if !self.local.first_use(proof) {
            return false;
        }
        self.burn_shared(proof, now).await.unwrap_or(true)
    }

    /// `None` when the tier does not answer.
    async fn burn_shared(&self, proof: Use, now: jiff::Timestamp) -> Option<bool> {
        let mut connection = self.shared.clone()?;
        let key = [b"dpop:".as_slice(), &proof.key.0].concat();
        let mut command = redis::cmd("SET");
        command.arg(key).arg(1).arg("NX").arg("PX").arg(proof.remember_for(now).as_millis() as u64);
        let answer =
            tokio::time::timeout(self.time_limit, command.query_async(&mut connection)).await;
        match answer {
            Ok(Ok(set)) => Some(set),
            Ok(Err(error)) => {
                tracing::warn!(%error, "The session tier did not note a proof; this instance's own store did.");
                None
            }
            Err(_) => None,
        }
    }
}

/// A request whose token and proof hold. Its device is not judged and its proof not burnt yet.
#[derive(Debug)]
pub struct Verified {
    pub principal: Principal,
    replay: Use,
}

/// Authenticates requests at the gateway.
#[derive(Debug)]
pub struct Authenticator {
    pub proofs: ProofVerifier,
    pub keys: RemoteKeys,
    pub rules: TokenRules,
    pub replays: ReplayStore,
    /// The public base URLs, never the `Host` header.
    pub base_urls: Vec<Htu>,
    pub clock: Clock,
}

impl Verified {
    /// The device header must name the token's device.
    pub fn check_device(&self, headers: &HeaderMap) -> Result<(), AuthError> {
        let named = single(headers, headers::DEVICE_ID).and_then(|id| id.parse::<DeviceId>().ok());
        if named == Some(self.principal.device) { Ok(()) } else { Err(AuthError::Device) }
    }
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
        let text = credentials(headers)?;
        let token = self.token(text).await?;
        let targets: Vec<Htu> =
            self.base_urls.iter().filter_map(|base| base.join(path).ok()).collect();
        let now = self.clock.now();
        let proof = self.proofs.verify(
            proof_header(headers)?,
            &Expected {
                method,
                targets: &targets,
                access_token: Some(text),
                bound_to: Some(&token.bound_to),
                now,
            },
        )?;
        token.check_expiry(now)?;
        Ok(Verified { principal: token.principal, replay: proof.replay })
    }

    /// Last, so that a request refused for another reason burns nothing.
    pub async fn burn(&self, verified: Verified) -> Result<Principal, AuthError> {
        if self.replays.first_use(verified.replay, self.clock.now()).await {
            Ok(verified.principal)
        } else {
            Err(ProofError::Replayed.into())
        }
    }

    async fn token(&self, text: &str) -> Result<AccessToken, AuthError> {
        let keys = self.keys.holding(&token::key_id(text)?).await;
        if keys.is_empty() {
            return Err(AuthError::KeysUnavailable);
        }
        Ok(token::verify(text, &keys, &self.rules, self.clock.now())?)
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
        let value = single(headers, AUTHORIZATION.as_str()).ok_or(AuthError::NoCredentials)?;
        let token = with_scheme(value, "Bearer").ok_or(AuthError::Scheme)?;
        let keys = self.keys.holding(&token::key_id(token)?).await;
        if keys.is_empty() {
            return Err(AuthError::KeysUnavailable);
        }
        Ok(request_token::verify(token, &keys, &self.rules, self.clock.now())?)
    }
}

/// The token of the one `Authorization: DPoP` header.
fn credentials(headers: &HeaderMap) -> Result<&str, AuthError> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next().ok_or(AuthError::NoCredentials)?;
    if values.next().is_some() {
        return Err(AuthError::SeveralCredentials);
    }
    // A bound token under Bearer is a downgrade and refused (RFC 9449 section 7.2).
    value.to_str().ok().and_then(|value| with_scheme(value, "DPoP")).ok_or(AuthError::Scheme)
}

/// Check 1 of RFC 9449 section 4.3; a folded `a, b` fails check 2.
fn proof_header(headers: &HeaderMap) -> Result<&str, ProofError> {
    let mut values = headers.get_all(headers::DPOP).iter();
    let value = values.next().ok_or(ProofError::Missing)?;
    if values.next().is_some() {
        return Err(ProofError::Several);
    }
    value.to_str().map_err(|_| ProofError::Jwt(crate::jwt::JwtError::Shape))
}

/// The rest of a value that starts with this scheme, in any case (RFC 9110 section 11.1).
fn with_scheme<'a>(value: &'a str, scheme: &str) -> Option<&'a str> {
    let (given, rest) = value.split_once(' ')?;
    given.eq_ignore_ascii_case(scheme).then(|| rest.trim_start_matches(' '))
}

/// A header that stands exactly once.
fn single<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    if values.next().is_some() { None } else { value.to_str().ok() }
}
