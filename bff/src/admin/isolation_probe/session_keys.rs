//! The session tier: the keys under which sessions stand there.

use auth::edge::SessionKeys;
use contracts::id::{DeviceId, Id, SessionId, TenantId};
use jiff::Timestamp;

use super::{Finding, SyntheticTenants, found};
use crate::sessions::session_store::SessionRedis;

/// Should the probe die half-way, what it wrote does too, seconds.
const LASTS: u64 = 60;

/// One finding for each kind of key.
pub(super) async fn probe(tier: &SessionRedis, tenants: SyntheticTenants) -> [Finding; 2] {
    let session = SessionId::from_parts(Timestamp::UNIX_EPOCH, 1);
    let device = DeviceId::from_parts(Timestamp::UNIX_EPOCH, 1);
    let by_session = |tenant| SessionKeys::of(tenant).session(session);
    let by_device = |tenant| SessionKeys::of(tenant).by_device(device);
    [
        ask(tier, tenants, "session tier: sessions", by_session).await,
        ask(tier, tenants, "session tier: sessions by device", by_device).await,
    ]
}

async fn ask(
    tier: &SessionRedis,
    tenants: SyntheticTenants,
    store: &str,
    key: impl Fn(TenantId) -> String,
) -> Finding {
    match write_and_look(tier, &key(tenants.one), &key(tenants.other)).await {
        Ok(seen) => found(store, seen),
        Err(error) => {
            tracing::warn!(%error, "The session tier was not probed.");
            Finding::failed(store, "the session tier could not be asked")
        }
    }
}

/// Whether it is found under its own key, and under the other.
async fn write_and_look(
    tier: &SessionRedis,
    own: &str,
    other: &str,
) -> redis::RedisResult<(bool, bool)> {
    let mut tier = tier.0.clone();
    let mut pipe = redis::pipe();
    pipe.cmd("SET").arg(own).arg("probe").arg("EX").arg(LASTS).ignore();
    pipe.cmd("EXISTS").arg(own).cmd("EXISTS").arg(other);
    pipe.cmd("DEL").arg(own).ignore();
    pipe.query_async(&mut tier).await
}
