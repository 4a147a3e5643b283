//! What was taken back: sessions, devices, operators, tenants. Every instance keeps the live
//! revocations in memory, so that a request costs no round trip to be judged.
//!
//! Durable in Postgres before anyone is told ([`store`]); told through the session tier, and
//! found by asking every two seconds when that is away ([`feed`]). Not here: who may revoke.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use auth::Principal;
use contracts::id::{DeviceId, Id, IdError, OperatorId, SessionId, TenantId};
use contracts::safeguard;
use jiff::Timestamp;
use tokio::sync::watch;

pub mod feed;
pub mod purge;
pub mod store;

pub use feed::Feed;

/// No access token is honoured longer than this after it was issued, whatever its `exp` says:
/// what makes forgetting a revocation sound.
pub const LONGEST_TOKEN: Duration = Duration::from_secs(60 * 60);
/// How long a revocation stays in memory: the longest token, and clocks that disagree.
pub(crate) const KEPT_FOR: Duration = Duration::from_secs(65 * 60);

/// What a revocation is about, within its tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Target {
    Session(SessionId),
    Device(DeviceId),
    Operator(OperatorId),
    Tenant(TenantId),
}

/// Why a kind and an id name no target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    #[error("kind is session, device, operator or tenant")]
    Kind,
    #[error(transparent)]
    Id(#[from] IdError),
}

impl Target {
    pub fn parse(kind: &str, id: &str) -> Result<Self, TargetError> {
        Ok(match kind {
            "session" => Self::Session(id.parse()?),
            "device" => Self::Device(id.parse()?),
            "operator" => Self::Operator(id.parse()?),
            "tenant" => Self::Tenant(id.parse()?),
            _ => return Err(TargetError::Kind),
        })
    }

    pub fn kind(&self) -> &'static str {
        match self {
            Self::Session(_) => "session",
            Self::Device(_) => "device",
            Self::Operator(_) => "operator",
            Self::Tenant(_) => "tenant",
        }
    }

    pub fn id(&self) -> &str {
        match self {
            Self::Session(id) => id.as_str(),
            Self::Device(id) => id.as_str(),
            Self::Operator(id) => id.as_str(),
            Self::Tenant(id) => id.as_str(),
        }
    }
}

/// A revocation as every instance follows it.
#[derive(Debug, Clone)]
pub struct Revocation {
    pub tenant: TenantId,
    pub target: Target,
    /// Tokens issued up to here are void.
    pub revoked_at: Timestamp,
    pub reason: Arc<str>,
    /// When it was written down.
    pub recorded_at: Timestamp,
}

/// The live revocations, as this instance knows them.
#[derive(Debug, Default)]
pub struct Revocations {
    live: RwLock<HashMap<(TenantId, Target), Revocation>>,
    changes: watch::Sender<u64>,
}

impl Revocations {
    /// Why the principal's token is void, if it is. A session that was revoked never comes back;
    /// of a device, an operator or a tenant, tokens issued later are good again. Issue times are
    /// whole seconds: one of the same second counts as earlier.
    pub fn against(&self, principal: &Principal) -> Option<Arc<str>> {
        self.since(principal, principal.issued_at)
    }

    /// As [`Self::against`], for what the principal was granted at `granted`. A new token of an old
    /// session is as old as the session.
    pub fn since(&self, principal: &Principal, granted: Timestamp) -> Option<Arc<str>> {
        let live = self.live.read().unwrap_or_else(PoisonError::into_inner);
        if live.is_empty() {
            return None;
        }
        targets(principal).find_map(|target| {
            let revocation = live.get(&key(principal.tenant, target))?;
            let final_for_all = matches!(target, Target::Session(_));
            let is_earlier = granted.as_second() <= revocation.revoked_at.as_second();
            (final_for_all || is_earlier).then(|| Arc::clone(&revocation.reason))
        })
    }

    /// Why a session is over for a token that does not name it and was issued before.
    pub fn ended(
        &self,
        tenant: TenantId,
        session: SessionId,
        issued_at: Timestamp,
    ) -> Option<Arc<str>> {
        let live = self.live.read().unwrap_or_else(PoisonError::into_inner);
        let revocation = live.get(&key(tenant, Target::Session(session)))?;
        let is_earlier = issued_at.as_second() <= revocation.revoked_at.as_second();
        is_earlier.then(|| Arc::clone(&revocation.reason))
    }

    /// Whether a device revoked by `one` is found by `one`, and whether it is by `other`. The
    /// revocations in force are not touched.
    pub(crate) fn probe(one: TenantId, other: TenantId, now: Timestamp) -> (bool, bool) {
        let target = Target::Device(DeviceId::from_parts(Timestamp::UNIX_EPOCH, 1));
        let reason = Arc::from("probe");
        let written = Revocation { tenant: one, target, revoked_at: now, reason, recorded_at: now };
        let probed = Self::default();
        probed.learn(vec![written], now);
        let live = probed.live.read().unwrap_or_else(PoisonError::into_inner);
        let finds = |tenant| live.contains_key(&key(tenant, target));
        (finds(one), finds(other))
    }

    /// Resolves after each change; streams look again then.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// How many are kept in memory.
    pub fn len(&self) -> usize {
        self.live.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes news in and forgets what no token can be older than.
    fn learn(&self, news: Vec<Revocation>, now: Timestamp) {
        if news.is_empty() && self.is_empty() {
            return;
        }
        let is_news = !news.is_empty();
        let mut live = self.live.write().unwrap_or_else(PoisonError::into_inner);
        live.retain(|_, kept| kept.recorded_at >= now - KEPT_FOR);
        for revocation in news {
            let known = live.entry(key(revocation.tenant, revocation.target));
            // News may come late: the later cut holds, and is kept as long as the later record.
            let kept = known.or_insert_with(|| revocation.clone());
            if revocation.revoked_at >= kept.revoked_at {
                *kept = revocation;
            }
        }
        drop(live);
        if is_news {
            self.changes.send_modify(|version| *version += 1);
        }
    }
}

/// The key of a revocation.
fn key(tenant: TenantId, target: Target) -> (TenantId, Target) {
    let tenant = if safeguard!(TenantKeys) { tenant } else { TenantId::platform() };
    (tenant, target)
}

pub(crate) fn targets(principal: &Principal) -> impl Iterator<Item = Target> {
    let rest = [
        Target::Device(principal.device),
        Target::Operator(principal.operator),
        Target::Tenant(principal.tenant),
    ];
    principal.session.map(Target::Session).into_iter().chain(rest)
}

/// Whether a token is older than any may be.
pub fn is_too_old(principal: &Principal, now: Timestamp) -> bool {
    principal.issued_at + LONGEST_TOKEN <= now
}

#[cfg(test)]
mod tests;
