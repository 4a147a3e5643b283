//! Connection to the session store (Redis without eviction). It connects lazily, so that the
//! gateway starts and serves reads while the store is unavailable.

use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{FromRedisValue, InfoDict, ScriptInvocation};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::timeout;

pub(crate) mod watch;

/// Connect and ping timeout.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(250);
/// Command timeout. Callers on the path of a request wait less.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(1);

/// Connection to the session store; a type of its own, so that it is not mistaken for the cache's.
#[derive(Clone, derive_more::Debug)]
#[debug("SessionRedis")]
pub struct SessionRedis(pub ConnectionManager);

/// Opens a connection that reconnects by itself.
pub(crate) fn connect(url: &SecretString) -> redis::RedisResult<ConnectionManager> {
    let config = ConnectionManagerConfig::new()
        .set_connection_timeout(Some(CONNECT_TIMEOUT))
        .set_response_timeout(Some(COMMAND_TIMEOUT))
        .set_number_of_retries(1)
        .set_max_delay(Duration::from_millis(500));
    ConnectionManager::new_lazy_with_config(redis::Client::open(url.expose_secret())?, config)
}

/// Why the session store did not run a script.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error(transparent)]
    Redis(#[from] redis::RedisError),
    #[error("no answer within {} ms", .0.as_millis())]
    Timeout(Duration),
}

/// Runs a script. A store that does not answer within `limit` is treated as unavailable.
pub(crate) async fn run<T: FromRedisValue>(
    script: &ScriptInvocation<'_>,
    redis: &ConnectionManager,
    limit: Duration,
) -> Result<T, StoreError> {
    let mut redis = redis.clone();
    let answer = timeout(limit, script.invoke_async(&mut redis)).await;
    Ok(answer.map_err(|_| StoreError::Timeout(limit))??)
}

/// What the server reports about itself.
#[derive(Debug)]
pub(crate) struct ServerInfo {
    /// Changes with each start of the server: after a restart or a failover.
    pub run_id: String,
    /// Used share of `maxmemory`; `None` without a limit.
    pub memory_used: Option<f64>,
}

/// Reads the server's information; `None` if it does not answer.
pub(crate) async fn server_info(mut redis: ConnectionManager) -> Option<ServerInfo> {
    let mut command = redis::cmd("INFO");
    command.arg("server").arg("memory");
    let info = command.query_async::<InfoDict>(&mut redis).await.ok()?;
    let (used, limit) = (info.get::<u64>("used_memory")?, info.get::<u64>("maxmemory")?);
    let memory_used = (limit > 0).then(|| used as f64 / limit as f64);
    Some(ServerInfo { run_id: info.get("run_id")?, memory_used })
}

/// Checks that the store answers.
pub(crate) async fn ping(mut redis: ConnectionManager) -> Result<(), String> {
    let ping = redis::cmd("PING");
    let answer = timeout(CONNECT_TIMEOUT, ping.query_async::<String>(&mut redis)).await;
    let answer =
        answer.map_err(|_| format!("no answer within {} ms", CONNECT_TIMEOUT.as_millis()))?;
    answer.map(drop).map_err(|error| error.category().to_owned())
}
