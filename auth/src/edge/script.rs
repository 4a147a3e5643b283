//! A script of the session tier, run with one round trip: by its digest when the server is known
//! to have it, else with its text, which the server keeps.

use std::sync::atomic::{AtomicBool, Ordering};

use redis::aio::ConnectionManager;
use redis::{Cmd, ErrorKind, FromRedisValue, RedisError, RedisResult, Script, ServerErrorKind};

#[derive(Debug)]
pub(super) struct KnownScript {
    text: &'static str,
    digest: String,
    /// False after anything went wrong: another server may answer next.
    is_there: AtomicBool,
}

impl KnownScript {
    pub(super) fn new(text: &'static str) -> Self {
        let digest = Script::new(text).get_hash().to_owned();
        Self { text, digest, is_there: AtomicBool::new(false) }
    }

    /// `fill` adds the number of keys, the keys and the arguments.
    pub(super) async fn run<T: FromRedisValue>(
        &self,
        connection: &mut ConnectionManager,
        fill: impl Fn(&mut Cmd),
    ) -> RedisResult<T> {
        if self.is_there.load(Ordering::Relaxed) {
            match self.called("EVALSHA", &self.digest, connection, &fill).await {
                Err(error) if is_unknown(&error) => {}
                answer => return answer,
            }
        }
        self.called("EVAL", self.text, connection, &fill).await
    }

    async fn called<T: FromRedisValue>(
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
        self.is_there.store(answer.is_ok(), Ordering::Relaxed);
        answer
    }
}

fn is_unknown(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
}
