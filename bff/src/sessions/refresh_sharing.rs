//! Equal refreshes (same refresh token, key and device) share one call to iam and, for 30 s, its
//! answer on every instance, so that a lost response or a second window does not end the session.
//!
//! For each refresh the session store holds the lease of the instance that calls iam, then iam's
//! answer, encrypted with a key derived from the refresh token ([`sealing`]). Without the session
//! store every refresh calls iam.
//!
//! Not here: whether the caller may have the answer. Its proof is verified before, and the tokens
//! and revocations are checked after, for each caller.

use std::time::Duration;

use contracts::clock::Entropy;
use contracts::problem::{Problem, code};
use contracts::upstream::iam::{RefreshRequest, TokenResponse};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use metrics::counter;
use redis::Script;
use redis::aio::ConnectionManager;
use serde::{Deserialize, Serialize};
use service_kit::lifecycle::Lifecycle;
use service_kit::problem::ApiError;
use tokio::time::{Instant, sleep};

mod sealing;

use super::session_store::{self, StoreError};
use sealing::Seal;

/// How long an answer is shared.
const ANSWER_TTL: Duration = Duration::from_secs(30);
/// How long a refusal is shared with callers that already wait; a later refresh calls iam again.
const REFUSAL_TTL: Duration = Duration::from_secs(2);
/// Longest delay for others when the instance that calls iam dies.
const LEASE_TTL: Duration = Duration::from_secs(1);
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// Longest wait for an answer of the session store.
const STORE_TIMEOUT: Duration = Duration::from_millis(250);

/// KEYS 1 the refresh; ARGV 1 the id of a new lease, 2 ms it lasts, 3 the lease that the caller has
/// waited for or ''. A value is `L<lease>`, `A<sealed answer>` or `R<lease><sealed refusal>`.
const CLAIM_SCRIPT: &str = r"
local held = redis.call('GET', KEYS[1])
if held then
  local kind = string.sub(held, 1, 1)
  if kind ~= 'R' then return {kind, string.sub(held, 2)} end
  if string.sub(held, 2, 33) == ARGV[3] then return {'R', string.sub(held, 34)} end
end
redis.call('SET', KEYS[1], 'L' .. ARGV[1], 'PX', ARGV[2])
return {'N', ''}
";

/// KEYS 1 the refresh; ARGV 1 the lease, 2 what becomes of it or '' for nothing, 3 ms to keep that.
/// An answer that comes after its lease has ended is still good, unless another instance asks now.
const SETTLE_SCRIPT: &str = r"
local held = redis.call('GET', KEYS[1])
if held and held ~= 'L' .. ARGV[1] then return 0 end
if ARGV[2] == '' then return redis.call('DEL', KEYS[1]) end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
";

/// iam's answer, or why there is none.
pub(crate) type Outcome = Result<TokenResponse, NotRefreshed>;

/// The call to iam.
pub(crate) type IamCall = BoxFuture<'static, Outcome>;

/// Why there are no new tokens.
#[derive(Debug, Clone)]
pub struct NotRefreshed {
    pub problem: Box<Problem>,
    /// Whether iam refused the refresh token. Other failures are temporary: the next refresh calls
    /// iam again.
    pub is_refusal: bool,
}

impl From<NotRefreshed> for ApiError {
    fn from(error: NotRefreshed) -> Self {
        Self(error.problem)
    }
}

/// Encrypted content of the session store.
#[derive(Serialize, Deserialize)]
enum StoredOutcome {
    Answer(TokenResponse),
    Refusal(Box<Problem>),
}

/// State of a refresh in the session store.
enum Claim {
    /// No call is running: this caller makes it, under a new lease.
    Lead,
    /// An instance calls iam under this lease.
    Wait(String),
    Result(Vec<u8>),
}

/// What sharing needs from the gateway's state.
#[derive(Clone, derive_more::Debug)]
#[debug("RefreshSharing")]
pub(crate) struct RefreshSharing {
    pub redis: ConnectionManager,
    pub entropy: Entropy,
    pub lifecycle: Lifecycle,
}

impl RefreshSharing {
    /// The outcome of `call`, or of an equal refresh under way or of the last 30 s. Once begun, `call`
    /// is carried through even when its caller goes away: iam has used the refresh token by then.
    pub(crate) async fn outcome(
        &self,
        request: &RefreshRequest,
        deadline: Instant,
        call: IamCall,
    ) -> Outcome {
        let seal = Seal::of(request);
        let lease = format!("{:032x}", self.entropy.u128());
        let mut awaited = String::new();
        loop {
            match self.claim(&seal, &lease, &awaited).await {
                Ok(Claim::Lead) => return self.lead(seal, lease, call).await,
                Ok(Claim::Wait(other)) => awaited = other,
                Ok(Claim::Result(sealed)) => match opened(&seal, sealed) {
                    Some(outcome) => return outcome,
                    None => return self.unshared(call).await,
                },
                Err(error) => {
                    tracing::warn!(%error, "The session store is unavailable; not sharing equal refreshes.");
                    return self.unshared(call).await;
                }
            }
            if Instant::now() + POLL_INTERVAL >= deadline {
                return Err(timed_out());
            }
            sleep(POLL_INTERVAL).await;
        }
    }

    async fn lead(&self, seal: Seal, lease: String, call: IamCall) -> Outcome {
        count("leader");
        let sharing = self.clone();
        let call_and_store = async move {
            let outcome = call.await;
            if let Err(error) = sharing.settle(&seal, &lease, &outcome).await {
                tracing::warn!(%error, "Failed to store the answer to a refresh.");
            }
            outcome
        };
        self.run_to_completion(call_and_store.boxed()).await
    }

    async fn unshared(&self, call: IamCall) -> Outcome {
        count("unshared");
        self.run_to_completion(call).await
    }

    /// Runs to completion, also if the caller disconnects.
    async fn run_to_completion(&self, work: IamCall) -> Outcome {
        self.lifecycle.spawn(work).await.unwrap_or_else(|_| Err(timed_out()))
    }

    async fn claim(&self, seal: &Seal, lease: &str, awaited: &str) -> Result<Claim, StoreError> {
        let script = Script::new(CLAIM_SCRIPT);
        let mut call = script.key(seal.name());
        call.arg(lease).arg(LEASE_TTL.as_millis() as u64).arg(awaited);
        let (kind, value): (String, Vec<u8>) =
            session_store::run(&call, &self.redis, STORE_TIMEOUT).await?;
        Ok(match kind.as_str() {
            "N" => Claim::Lead,
            "L" => Claim::Wait(String::from_utf8_lossy(&value).into_owned()),
            _ => Claim::Result(value),
        })
    }

    /// A temporary failure releases the lease, so that a waiting caller calls iam next.
    async fn settle(&self, seal: &Seal, lease: &str, outcome: &Outcome) -> Result<(), StoreError> {
        let (value, keep) = match outcome {
            Ok(answer) => {
                let sealed = self.sealed(seal, &StoredOutcome::Answer(answer.clone()));
                ([b"A", sealed.as_slice()].concat(), ANSWER_TTL)
            }
            Err(refused) if refused.is_refusal => {
                let sealed = self.sealed(seal, &StoredOutcome::Refusal(refused.problem.clone()));
                ([b"R", lease.as_bytes(), sealed.as_slice()].concat(), REFUSAL_TTL)
            }
            Err(_) => (Vec::new(), Duration::ZERO),
        };
        let script = Script::new(SETTLE_SCRIPT);
        let mut call = script.key(seal.name());
        call.arg(lease).arg(value).arg(keep.as_millis() as u64);
        session_store::run::<i64>(&call, &self.redis, STORE_TIMEOUT).await.map(drop)
    }

    fn sealed(&self, seal: &Seal, stored: &StoredOutcome) -> Vec<u8> {
        let plain = serde_json::to_vec(stored).expect("an answer is plain JSON");
        seal.close(plain, self.entropy.u128())
    }
}

/// `None` if the content cannot be decrypted or parsed; iam is called then.
fn opened(seal: &Seal, sealed: Vec<u8>) -> Option<Outcome> {
    let plain = seal.open(sealed)?;
    count("follower");
    match serde_json::from_slice(&plain).ok()? {
        StoredOutcome::Answer(answer) => Some(Ok(answer)),
        StoredOutcome::Refusal(problem) => Some(Err(NotRefreshed { problem, is_refusal: true })),
    }
}

fn count(role: &'static str) {
    counter!("bff_backoffice_refresh_shared_total", "role" => role).increment(1);
}

fn timed_out() -> NotRefreshed {
    let detail = "The sign-in service did not answer in time. Try again in a few seconds.";
    let ApiError(problem) = ApiError::new(&code::UPSTREAM_TIMEOUT, detail);
    NotRefreshed { problem, is_refusal: false }
}
