//! The end of sessions in the session tier, after a revocation is durable. Only tidiness: a
//! revoked token is refused by what every instance knows of revocations, tier or no tier.

use std::time::Duration;

use auth::edge::SessionKeys;
use contracts::id::{DeviceId, SessionId, TenantId};
use jiff::Timestamp;
use redis::aio::ConnectionManager;
use redis::{RedisResult, Script};

use crate::sessions::revocation::{KEPT_FOR, Target};

/// Whoever revoked does not wait longer for this.
const WITHIN: Duration = Duration::from_secs(1);
/// Keys looked at with one round trip.
const AT_ONCE: u32 = 1000;

/// Takes a session and its device's entry away, if it is the operator's or none is named.
const END: &str = r"
local held = redis.call('HMGET', KEYS[1], 'operator', 'device')
if ARGV[1] ~= '' and held[1] ~= ARGV[1] then return 0 end
if held[2] and redis.call('GET', KEYS[2] .. held[2]) == ARGV[2] then
  redis.call('DEL', KEYS[2] .. held[2])
end
return redis.call('DEL', KEYS[1])
";

/// Ends the target's sessions. Of a session alone a mark stays for as long as a token can be older
/// than it: a token that names no session finds it through its device.
pub async fn end(tier: ConnectionManager, tenant: TenantId, target: Target, at: Timestamp) {
    let ended = Ending { tier, keys: SessionKeys::of(tenant) }.end(target, at);
    match tokio::time::timeout(WITHIN, ended).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::warn!(%error, kind = target.kind(), "Revoked sessions stay in the session tier until they end.");
        }
        Err(_) => tracing::warn!(
            kind = target.kind(),
            "Some revoked sessions stay in the session tier until they end."
        ),
    }
}

struct Ending {
    tier: ConnectionManager,
    keys: SessionKeys,
}

impl Ending {
    async fn end(mut self, target: Target, at: Timestamp) -> RedisResult<()> {
        match target {
            Target::Session(id) => self.mark(id, at).await,
            Target::Device(device) => self.of_device(device).await,
            Target::Operator(operator) => self.all_of(operator.as_str()).await,
            Target::Tenant(_) => self.all_of("").await,
        }
    }

    async fn mark(&mut self, id: SessionId, at: Timestamp) -> RedisResult<()> {
        let key = self.keys.session(id);
        let mut commands = redis::pipe();
        commands.atomic().del(&key).ignore();
        commands.hset(&key, "endedAt", at.as_second()).ignore();
        commands.pexpire(&key, KEPT_FOR.as_millis() as i64).ignore();
        commands.query_async(&mut self.tier).await
    }

    async fn of_device(&mut self, device: DeviceId) -> RedisResult<()> {
        let mut get = redis::cmd("GET");
        get.arg(self.keys.by_device(device));
        match get.query_async::<Option<String>>(&mut self.tier).await? {
            Some(id) => self.take_away(&format!("{}{id}", self.keys.sessions()), "").await,
            None => Ok(()),
        }
    }

    /// Looks at every session of the tenant; `operator` empty means all.
    async fn all_of(&mut self, operator: &str) -> RedisResult<()> {
        let mut cursor = 0_u64;
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg(format!("{}*", self.keys.sessions()));
            scan.arg("COUNT").arg(AT_ONCE);
            let (next, found): (u64, Vec<String>) = scan.query_async(&mut self.tier).await?;
            for key in found {
                self.take_away(&key, operator).await?;
            }
            if next == 0 {
                return Ok(());
            }
            cursor = next;
        }
    }

    async fn take_away(&mut self, key: &str, operator: &str) -> RedisResult<()> {
        let id = key.trim_start_matches(&self.keys.sessions());
        let script = Script::new(END);
        let mut call = script.key(key);
        call.key(self.keys.devices()).arg(operator).arg(id);
        call.invoke_async::<i64>(&mut self.tier).await.map(drop)
    }
}
