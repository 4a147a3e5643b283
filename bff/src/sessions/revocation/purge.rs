//! Deletes revoked sessions from the session store. Only cleanup: a revoked token is refused by the
//! revocations in memory.

use std::time::Duration;

use auth::edge::SessionKeys;
use contracts::id::{DeviceId, SessionId, TenantId};
use jiff::Timestamp;
use redis::aio::ConnectionManager;
use redis::{RedisResult, Script};

use crate::sessions::revocation::{REVOCATION_TTL, Target};

/// Longest delay of the revoking request.
const PURGE_TIMEOUT: Duration = Duration::from_secs(1);
/// Keys per round trip.
const SCAN_COUNT: u32 = 1000;

/// Deletes a session and its device's entry, if it belongs to the operator or none is given.
const DELETE_SESSION_SCRIPT: &str = r"
local held = redis.call('HMGET', KEYS[1], 'operator', 'device')
if ARGV[1] ~= '' and held[1] ~= ARGV[1] then return 0 end
if held[2] and redis.call('GET', KEYS[2] .. held[2]) == ARGV[2] then
  redis.call('DEL', KEYS[2] .. held[2])
end
return redis.call('DEL', KEYS[1])
";

/// Deletes the target's sessions. A single session leaves a mark for as long as older tokens can be
/// valid, because a token without `sid` finds it through its device.
pub(crate) async fn purge(
    redis: ConnectionManager,
    tenant: TenantId,
    target: Target,
    at: Timestamp,
) {
    let purged = Purge { redis, keys: SessionKeys::of(tenant) }.purge(target, at);
    match tokio::time::timeout(PURGE_TIMEOUT, purged).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::warn!(%error, kind = target.kind(), "Failed to delete revoked sessions from the session store; they expire by themselves.");
        }
        Err(_) => tracing::warn!(
            kind = target.kind(),
            "Timed out deleting revoked sessions from the session store; the rest expire by themselves."
        ),
    }
}

struct Purge {
    redis: ConnectionManager,
    keys: SessionKeys,
}

impl Purge {
    async fn purge(mut self, target: Target, at: Timestamp) -> RedisResult<()> {
        match target {
            Target::Session(id) => self.purge_and_mark(id, at).await,
            Target::Device(device) => self.purge_device(device).await,
            Target::Operator(operator) => self.purge_all_of(operator.as_str()).await,
            Target::Tenant(_) => self.purge_all_of("").await,
        }
    }

    async fn purge_and_mark(&mut self, id: SessionId, at: Timestamp) -> RedisResult<()> {
        let key = self.keys.session(id);
        let mut commands = redis::pipe();
        commands.atomic().del(&key).ignore();
        commands.hset(&key, "endedAt", at.as_second()).ignore();
        commands.pexpire(&key, REVOCATION_TTL.as_millis() as i64).ignore();
        commands.query_async(&mut self.redis).await
    }

    async fn purge_device(&mut self, device: DeviceId) -> RedisResult<()> {
        let mut get = redis::cmd("GET");
        get.arg(self.keys.by_device(device));
        match get.query_async::<Option<String>>(&mut self.redis).await? {
            Some(id) => self.delete(&format!("{}{id}", self.keys.sessions()), "").await,
            None => Ok(()),
        }
    }

    /// Scans every session of the tenant; an empty `operator` means all.
    async fn purge_all_of(&mut self, operator: &str) -> RedisResult<()> {
        let mut cursor = 0_u64;
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg(format!("{}*", self.keys.sessions()));
            scan.arg("COUNT").arg(SCAN_COUNT);
            let (next, found): (u64, Vec<String>) = scan.query_async(&mut self.redis).await?;
            for key in found {
                self.delete(&key, operator).await?;
            }
            if next == 0 {
                return Ok(());
            }
            cursor = next;
        }
    }

    async fn delete(&mut self, key: &str, operator: &str) -> RedisResult<()> {
        let id = key.trim_start_matches(&self.keys.sessions());
        let script = Script::new(DELETE_SESSION_SCRIPT);
        let mut call = script.key(key);
        call.key(self.keys.devices()).arg(operator).arg(id);
        call.invoke_async::<i64>(&mut self.redis).await.map(drop)
    }
}
