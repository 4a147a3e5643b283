//! Equal refreshes (same refresh token, same key, same device) share one call to iam, and for 30 s
//! one answer, on every instance: a lost answer, or two windows of one
//! desktop, end no session.
//!
//! The session tier holds, for each such refresh, a lease of the instance that asks iam, then iam's
//! answer, sealed with a key that only the refresh token yields ([`sealing`]). Without the session
//! tier every refresh asks iam itself.
//!
//! Not here: whether the caller may have the answer. Each caller's proof is verified before, and
//! tokens and revocations are checked afterwards, for each caller.

use std::future::Future;
use std::time::Duration;

use contracts::clock::Entropy;
use contracts::problem::{Problem, code};
use contracts::upstream::iam::{RefreshRequest, TokenResponse};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use metrics::counter;
use redis::aio::ConnectionManager;
use redis::{RedisResult, Script};
use serde::{Deserialize, Serialize};
use service_kit::lifecycle::Lifecycle;
use service_kit::problem::ApiError;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};

mod sealing;

use sealing::Seal;

/// An answer can be had again for so long.
const ANSWER_KEPT: Duration = Duration::from_secs(30);
/// A refusal is kept for those who were waiting for it already; a later refresh asks iam again.
const REFUSAL_KEPT: Duration = Duration::from_secs(2);
/// An instance that died while it asked iam holds up others no longer than this.
const LEASE: Duration = Duration::from_secs(1);
const POLL_EVERY: Duration = Duration::from_millis(20);
/// A tier that does not answer sooner is treated as absent.
const TIER_WITHIN: Duration = Duration::from_millis(250);

/// KEYS 1 the refresh; ARGV 1 the id of a new lease, 2 ms it lasts, 3 the lease that the caller has
/// waited for or ''. A value is `L<lease>`, `A<sealed answer>` or `R<lease><sealed refusal>`.
const CLAIM: &str = r"
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
const SETTLE: &str = r"
local held = redis.call('GET', KEYS[1])
if held and held ~= 'L' .. ARGV[1] then return 0 end
if ARGV[2] == '' then return redis.call('DEL', KEYS[1]) end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
";

/// What iam said, or what kept its word away.
pub type Outcome = Result<TokenResponse, NotRefreshed>;

/// Asks iam.
pub type Ask = BoxFuture<'static, Outcome>;

/// Why there is no new pair.
#[derive(Debug, Clone)]
pub struct NotRefreshed {
    pub problem: Box<Problem>,
    /// Whether iam refused the refresh token. Anything else may pass: the next one asks again.
    pub is_refusal: bool,
}

impl From<NotRefreshed> for ApiError {
    fn from(error: NotRefreshed) -> Self {
        Self(error.problem)
    }
}

/// What is sealed and kept.
#[derive(Serialize, Deserialize)]
enum Kept {
    Answer(TokenResponse),
    Refusal(Box<Problem>),
}

/// What the session tier says of a refresh.
enum Claim {
    /// Nobody asks iam: this caller does, under a new lease.
    Lead,
    /// An instance asks iam under this lease.
    Wait(String),
    Settled(Vec<u8>),
}

/// The parts of the gateway that sharing needs.
#[derive(Clone)]
pub struct RefreshSharing {
    pub tier: ConnectionManager,
    pub entropy: Entropy,
    pub lifecycle: Lifecycle,
}

impl std::fmt::Debug for RefreshSharing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RefreshSharing").finish_non_exhaustive()
    }
}

impl RefreshSharing {
    /// The outcome of `ask`, or of an equal refresh under way or of the last 30 s. Once begun, `ask`
    /// is carried through even when its caller goes away: iam has used the refresh token by then.
    pub async fn outcome(&self, request: &RefreshRequest, deadline: Instant, ask: Ask) -> Outcome {
        let seal = Seal::of(request);
        let lease = format!("{:032x}", self.entropy.u128());
        let mut awaited = String::new();
        loop {
            match self.claim(&seal, &lease, &awaited).await {
                Ok(Claim::Lead) => return self.lead(seal, lease, ask).await,
                Ok(Claim::Wait(other)) => awaited = other,
                Ok(Claim::Settled(sealed)) => match opened(&seal, sealed) {
                    Some(outcome) => return outcome,
                    None => return self.alone(ask).await,
                },
                Err(error) => {
                    tracing::warn!(%error, "The session tier is away: equal refreshes are not shared.");
                    return self.alone(ask).await;
                }
            }
            if Instant::now() + POLL_EVERY >= deadline {
                return Err(too_late());
            }
            sleep(POLL_EVERY).await;
        }
    }

    async fn lead(&self, seal: Seal, lease: String, ask: Ask) -> Outcome {
        count("leader");
        let sharing = self.clone();
        let asked_and_kept = async move {
            let outcome = ask.await;
            if let Err(error) = sharing.settle(&seal, &lease, &outcome).await {
                tracing::warn!(%error, "The answer to a refresh was not kept for equal ones.");
            }
            outcome
        };
        self.carried_through(asked_and_kept.boxed()).await
    }

    async fn alone(&self, ask: Ask) -> Outcome {
        count("unshared");
        self.carried_through(ask).await
    }

    /// Runs to its end whether anybody waits for it or not.
    async fn carried_through(&self, work: Ask) -> Outcome {
        let (tell, told) = oneshot::channel();
        self.lifecycle.spawn(async move {
            let _ = tell.send(work.await);
        });
        told.await.unwrap_or_else(|_| Err(too_late()))
    }

    async fn claim(&self, seal: &Seal, lease: &str, awaited: &str) -> Result<Claim, TierError> {
        let script = Script::new(CLAIM);
        let mut call = script.key(seal.name());
        call.arg(lease).arg(LEASE.as_millis() as u64).arg(awaited);
        let mut tier = self.tier.clone();
        let (kind, value): (String, Vec<u8>) = within(call.invoke_async(&mut tier)).await?;
        Ok(match kind.as_str() {
            "N" => Claim::Lead,
            "L" => Claim::Wait(String::from_utf8_lossy(&value).into_owned()),
            _ => Claim::Settled(value),
        })
    }

    /// A failure that may pass ends the lease, so that somebody who waits asks iam next.
    async fn settle(&self, seal: &Seal, lease: &str, outcome: &Outcome) -> Result<(), TierError> {
        let (value, keep) = match outcome {
            Ok(answer) => {
                let sealed = self.sealed(seal, &Kept::Answer(answer.clone()));
                ([b"A", sealed.as_slice()].concat(), ANSWER_KEPT)
            }
            Err(refused) if refused.is_refusal => {
                let sealed = self.sealed(seal, &Kept::Refusal(refused.problem.clone()));
                ([b"R", lease.as_bytes(), sealed.as_slice()].concat(), REFUSAL_KEPT)
            }
            Err(_) => (Vec::new(), Duration::ZERO),
        };
        let script = Script::new(SETTLE);
        let mut call = script.key(seal.name());
        call.arg(lease).arg(value).arg(keep.as_millis() as u64);
        let mut tier = self.tier.clone();
        within::<i64>(call.invoke_async(&mut tier)).await.map(drop)
    }

    fn sealed(&self, seal: &Seal, kept: &Kept) -> Vec<u8> {
        let plain = serde_json::to_vec(kept).expect("an answer is plain JSON");
        seal.close(plain, self.entropy.u128())
    }
}

/// Nothing when what was kept cannot be opened or read: then iam is asked.
fn opened(seal: &Seal, sealed: Vec<u8>) -> Option<Outcome> {
    let plain = seal.open(sealed)?;
    count("follower");
    match serde_json::from_slice(&plain).ok()? {
        Kept::Answer(answer) => Some(Ok(answer)),
        Kept::Refusal(problem) => Some(Err(NotRefreshed { problem, is_refusal: true })),
    }
}

fn count(role: &'static str) {
    counter!("bff_backoffice_refresh_shared_total", "role" => role).increment(1);
}

fn too_late() -> NotRefreshed {
    let detail = "The sign-in service did not answer in time. Try again in a few seconds.";
    let ApiError(problem) = ApiError::new(&code::UPSTREAM_TIMEOUT, detail);
    NotRefreshed { problem, is_refusal: false }
}

#[derive(Debug, thiserror::Error)]
enum TierError {
    #[error(transparent)]
    Tier(#[from] redis::RedisError),
    #[error("no answer within {} ms", TIER_WITHIN.as_millis())]
    Timeout,
}

async fn within<T>(answer: impl Future<Output = RedisResult<T>>) -> Result<T, TierError> {
    Ok(timeout(TIER_WITHIN, answer).await.map_err(|_| TierError::Timeout)??)
}
