//! The key by which the concurrency limit and the breaker tell tenants apart. The gateway's own
//! calls have one key, too.

use std::hash::{DefaultHasher, Hash, Hasher};

use contracts::id::TenantId;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TenantKey {
    tenant: Option<TenantId>,
    hash: u64,
}

impl TenantKey {
    pub(crate) fn of(tenant: Option<TenantId>) -> Self {
        let mut hasher = DefaultHasher::new();
        tenant.hash(&mut hasher);
        Self { tenant, hash: hasher.finish() }
    }

    /// One of 64 bits. Two tenants may share a bit, so a bit set is a lower bound on tenants.
    pub(crate) fn bit(self) -> u64 {
        1 << (self.hash % 64)
    }

    /// One of `count` groups.
    pub(crate) fn group(self, count: usize) -> usize {
        (self.hash >> 32) as usize % count
    }
}

impl Hash for TenantKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.hash.hash(state);
    }
}

#[cfg(test)]
impl TenantKey {
    /// Keys of different numbers below 64 share no bit.
    pub(crate) fn for_test(number: u64) -> Self {
        Self { tenant: None, hash: number | number << 32 }
    }
}
