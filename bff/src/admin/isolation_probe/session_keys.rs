//! Probes the isolation of the session store's keys.

use auth::edge::SessionKeys;
use composer::snapshots::FoundBy;
use contracts::id::{DeviceId, Id, SessionId, TenantId};
use jiff::Timestamp;

use super::{Finding, SyntheticTenants, found};
use crate::sessions::session_store::SessionRedis;

/// Seconds after which a probe's value expires if the probe crashes.
const PROBE_VALUE_TTL: u64 = 60;

/// One finding for each kind of key.
pub(super) async fn probe(session_redis: &SessionRedis, tenants: SyntheticTenants) -> [Finding; 2] {
    let session = SessionId::from_parts(Timestamp::UNIX_EPOCH, 1);
    let device = DeviceId::from_parts(Timestamp::UNIX_EPOCH, 1);
    let by_session = |tenant| SessionKeys::of(tenant).session(session);
    let by_device = |tenant| SessionKeys::of(tenant).by_device(device);
    [
        probe_key(session_redis, tenants, "session tier: sessions", by_session).await,
        probe_key(session_redis, tenants, "session tier: sessions by device", by_device).await,
    ]
}

async fn probe_key(
    session_redis: &SessionRedis,
    tenants: SyntheticTenants,
    store: &str,
    key: impl Fn(TenantId) -> String,
) -> Finding {
    match write_and_read(session_redis, &key(tenants.one), &key(tenants.other)).await {
        Ok((own, other)) => found(store, FoundBy { own, other }),
        Err(error) => {
            tracing::warn!(%error, "Failed to probe the session store.");
            Finding::failed(store, "the session tier could not be asked")
        }
    }
}

/// Writes a value, and returns whether it is found under its own key and under the other.
async fn write_and_read(
    session_redis: &SessionRedis,
    own: &str,
    other: &str,
) -> redis::RedisResult<(bool, bool)> {
    let mut session_redis = session_redis.0.clone();
    let mut pipe = redis::pipe();
    pipe.cmd("SET").arg(own).arg("probe").arg("EX").arg(PROBE_VALUE_TTL).ignore();
    pipe.cmd("EXISTS").arg(own).cmd("EXISTS").arg(other);
    pipe.cmd("DEL").arg(own).ignore();
    pipe.query_async(&mut session_redis).await
}
