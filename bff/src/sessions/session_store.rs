//! The session tier (Redis without eviction): reached lazily, so that the gateway starts and
//! serves reads while it is away.

use std::time::Duration;

use redis::InfoDict;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::timeout;

pub mod watch;

/// A server that is there takes a connection, and answers a ping, sooner.
const ANSWER_WITHIN: Duration = Duration::from_millis(250);
/// A command that takes longer counts as failed. Callers on the path of a request wait less.
const LATEST: Duration = Duration::from_secs(1);

/// Connection to the session store; a type of its own, so that it is not mistaken for the cache's.
#[derive(Clone)]
pub struct SessionRedis(pub ConnectionManager);

impl std::fmt::Debug for SessionRedis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SessionRedis")
    }
}

/// A connection that reconnects by itself.
pub fn connect(url: &SecretString) -> redis::RedisResult<ConnectionManager> {
    let config = ConnectionManagerConfig::new()
        .set_connection_timeout(Some(ANSWER_WITHIN))
        .set_response_timeout(Some(LATEST))
        .set_number_of_retries(1)
        .set_max_delay(Duration::from_millis(500));
    ConnectionManager::new_lazy_with_config(redis::Client::open(url.expose_secret())?, config)
}

/// What the tier says of itself.
#[derive(Debug)]
pub struct Condition {
    /// Another one after each start of the server: a restart, or a standby that took its place.
    pub run_id: String,
    /// Which share of the memory it may use it does use; `None` without a limit.
    pub memory_used: Option<f64>,
}

/// `None` when it does not answer.
pub async fn condition(mut tier: ConnectionManager) -> Option<Condition> {
    let mut asking = redis::cmd("INFO");
    asking.arg("server").arg("memory");
    let info = asking.query_async::<InfoDict>(&mut tier).await.ok()?;
    let (used, limit) = (info.get::<u64>("used_memory")?, info.get::<u64>("maxmemory")?);
    let memory_used = (limit > 0).then(|| used as f64 / limit as f64);
    Some(Condition { run_id: info.get("run_id")?, memory_used })
}

/// Whether the tier answers.
pub async fn ping(mut tier: ConnectionManager) -> Result<(), String> {
    let ping = redis::cmd("PING");
    let answer = timeout(ANSWER_WITHIN, ping.query_async::<String>(&mut tier)).await;
    let answer =
        answer.map_err(|_| format!("no answer within {} ms", ANSWER_WITHIN.as_millis()))?;
    answer.map(drop).map_err(|error| error.category().to_owned())
}
