//! Revoked sessions, devices, operators and tenants. Every instance keeps the live revocations in
//! memory, so that checking a request costs no round trip.
//!
//! Written to Postgres first ([`store`]), then published through the session store and polled every
//! two seconds ([`feed`]). Not here: who may revoke.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use auth::Principal;
use composer::snapshots::FoundBy;
use contracts::id::{DeviceId, Id, IdError, OperatorId, SessionId, TenantId};
use contracts::json::Fault;
use contracts::safeguard;
use jiff::Timestamp;
use parking_lot::RwLock;
use tokio::sync::watch;

pub(crate) mod feed;
pub(crate) mod purge;
pub(crate) mod store;

pub(crate) use feed::Feed;

/// Maximum age of an access token, whatever its `exp` says, so that old revocations can be dropped
/// from memory.
pub(crate) const MAX_TOKEN_AGE: Duration = Duration::from_secs(60 * 60);
/// How long a revocation stays in memory: the maximum token age, plus clock skew.
pub(crate) const REVOCATION_TTL: Duration = Duration::from_secs(65 * 60);

/// Target of a revocation, within its tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, strum::IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum Target {
    Session(SessionId),
    Device(DeviceId),
    Operator(OperatorId),
    Tenant(TenantId),
}

/// Why a kind and an id are not a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    #[error("Send session, device, operator or tenant.")]
    Kind,
    #[error("Send an id of that kind.")]
    Id(#[from] IdError),
    #[error("A tenant is revoked under its own id.")]
    OtherTenant,
}

impl TargetError {
    /// The member that is wrong, and what is wrong with it.
    pub fn member(self) -> (&'static str, Fault) {
        match self {
            Self::Kind => ("kind", Fault::Unknown),
            Self::Id(_) | Self::OtherTenant => ("id", Fault::Invalid),
        }
    }
}

impl Target {
    /// Parses a target; a tenant must be `tenant`.
    pub fn parse(tenant: TenantId, kind: &str, id: &str) -> Result<Self, TargetError> {
        match kind {
            "session" => Ok(Self::Session(id.parse()?)),
            "device" => Ok(Self::Device(id.parse()?)),
            "operator" => Ok(Self::Operator(id.parse()?)),
            "tenant" if id.parse::<TenantId>()? == tenant => Ok(Self::Tenant(tenant)),
            "tenant" => Err(TargetError::OtherTenant),
            _ => Err(TargetError::Kind),
        }
    }

    pub fn kind(&self) -> &'static str {
        self.into()
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

/// A revocation as every instance applies it.
#[derive(Debug, Clone)]
pub(crate) struct Revocation {
    pub tenant: TenantId,
    pub target: Target,
    /// Tokens issued up to this instant are void.
    pub revoked_at: Timestamp,
    pub reason: Arc<str>,
    /// When it was stored.
    pub recorded_at: Timestamp,
}

/// The live revocations known to this instance.
#[derive(Debug, Default)]
pub struct Revocations {
    live: RwLock<HashMap<(TenantId, Target), Revocation>>,
    changes: watch::Sender<u64>,
}

impl Revocations {
    /// Returns why the principal's token is void, if it is. A revoked session stays revoked; for a
    /// device, operator or tenant, tokens issued later are valid again. Issue times are whole
    /// seconds, so the same second counts as earlier.
    pub fn against(&self, principal: &Principal) -> Option<Arc<str>> {
        self.since(principal, principal.issued_at)
    }

    /// As [`Self::against`], for what the principal was granted at `granted`. A new token of an old
    /// session is as old as the session.
    pub fn since(&self, principal: &Principal, granted: Timestamp) -> Option<Arc<str>> {
        let live = self.live.read();
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

    /// Returns why a session has ended for a token that does not name it and was issued before.
    pub fn ended(
        &self,
        tenant: TenantId,
        session: SessionId,
        issued_at: Timestamp,
    ) -> Option<Arc<str>> {
        let live = self.live.read();
        let revocation = live.get(&key(tenant, Target::Session(session)))?;
        let is_earlier = issued_at.as_second() <= revocation.revoked_at.as_second();
        is_earlier.then(|| Arc::clone(&revocation.reason))
    }

    /// Returns whether a device revoked by `one` is found by `one`, and whether by `other`. Does
    /// not touch the live revocations.
    pub(crate) fn probe(one: TenantId, other: TenantId, now: Timestamp) -> FoundBy {
        let target = Target::Device(DeviceId::from_parts(Timestamp::UNIX_EPOCH, 1));
        let reason = Arc::from("probe");
        let written = Revocation { tenant: one, target, revoked_at: now, reason, recorded_at: now };
        let probed = Self::default();
        probed.apply(vec![written], now);
        let live = probed.live.read();
        let finds = |tenant| live.contains_key(&key(tenant, target));
        FoundBy { own: finds(one), other: finds(other) }
    }

    /// Resolves after each change; streams then check again.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Number of revocations in memory.
    pub fn len(&self) -> usize {
        self.live.read().len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Applies new revocations and drops those older than any valid token.
    fn apply(&self, news: Vec<Revocation>, now: Timestamp) {
        if news.is_empty() && self.is_empty() {
            return;
        }
        let is_news = !news.is_empty();
        let mut live = self.live.write();
        live.retain(|_, kept| kept.recorded_at >= now - REVOCATION_TTL);
        for revocation in news {
            let known = live.entry(key(revocation.tenant, revocation.target));
            // Rows may arrive out of order: the later instant counts.
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

/// Key of a revocation.
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

/// Whether a token is older than [`MAX_TOKEN_AGE`].
pub(crate) fn is_too_old(principal: &Principal, now: Timestamp) -> bool {
    principal.issued_at + MAX_TOKEN_AGE <= now
}

#[cfg(test)]
mod tests;
