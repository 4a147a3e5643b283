//! The session tier (Redis without eviction): reached lazily, so that the gateway starts and
//! serves reads while it is away.

use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use secrecy::{ExposeSecret, SecretString};

/// A command that takes longer counts as failed: the session tier is on the path of every request.
const ANSWER_WITHIN: Duration = Duration::from_millis(250);

/// A connection that comes back by itself.
pub fn connect(url: &SecretString) -> redis::RedisResult<ConnectionManager> {
    let config = ConnectionManagerConfig::new()
        .set_connection_timeout(Some(ANSWER_WITHIN))
        .set_response_timeout(Some(ANSWER_WITHIN))
        .set_number_of_retries(1)
        .set_max_delay(Duration::from_millis(500));
    ConnectionManager::new_lazy_with_config(redis::Client::open(url.expose_secret())?, config)
}

/// Whether the tier answers.
pub async fn ping(mut tier: ConnectionManager) -> Result<(), String> {
    let answer = redis::cmd("PING").query_async::<String>(&mut tier).await;
    answer.map(drop).map_err(|error| error.category().to_owned())
}
