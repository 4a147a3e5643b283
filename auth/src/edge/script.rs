//! Runs a Lua script in one round trip: `EVALSHA` when the server is known to have the script, else
//! `EVAL`, which also loads it.
//!
//! Not `redis::Script`: in redis 1.8.1 it takes three round trips when the server lacks the script
//! (`EVALSHA`, `SCRIPT LOAD`, `EVALSHA`), and it allocates each argument, about twenty per request.

use std::sync::atomic::{AtomicBool, Ordering};

use redis::aio::ConnectionManager;
use redis::{Cmd, ErrorKind, FromRedisValue, RedisError, RedisResult, Script, ServerErrorKind};

#[derive(Debug)]
pub(super) struct CachedScript {
    text: &'static str,
    digest: String,
    /// Cleared by any error: the next reply may come from another server.
    is_loaded: AtomicBool,
}

impl CachedScript {
    pub(super) fn new(text: &'static str) -> Self {
        let digest = Script::new(text).get_hash().to_owned();
        Self { text, digest, is_loaded: AtomicBool::new(false) }
    }

    /// `fill` adds the number of keys, the keys and the arguments.
    pub(super) async fn run<T: FromRedisValue>(
        &self,
        connection: &mut ConnectionManager,
        fill: impl Fn(&mut Cmd),
    ) -> RedisResult<T> {
        if self.is_loaded.load(Ordering::Relaxed) {
            match self.call("EVALSHA", &self.digest, connection, &fill).await {
                Err(error) if is_no_script(&error) => {}
                answer => return answer,
            }
        }
        self.call("EVAL", self.text, connection, &fill).await
    }

    async fn call<T: FromRedisValue>(
        &self,
        how: &str,
        what: &str,
        connection: &mut ConnectionManager,
        fill: &impl Fn(&mut Cmd),
    ) -> RedisResult<T> {
        let mut command = redis::cmd(how);
        command.arg(what);
        fill(&mut command);
        let answer = command.query_async(connection).await;
        self.is_loaded.store(answer.is_ok(), Ordering::Relaxed);
        answer
    }
}

fn is_no_script(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
}
