//! For whom a call is made, as the limit and the breaker tell callers apart: a tenant, or the
//! gateway itself.

use std::hash::{DefaultHasher, Hash, Hasher};

use contracts::id::TenantId;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Caller {
    tenant: Option<TenantId>,
    hash: u64,
}

impl Caller {
    pub(crate) fn of(tenant: Option<TenantId>) -> Self {
        let mut hasher = DefaultHasher::new();
        tenant.hash(&mut hasher);
        Self { tenant, hash: hasher.finish() }
    }

    /// One bit of 64. Two callers may share one: sets of bits count callers from below.
    pub(crate) fn bit(self) -> u64 {
        1 << (self.hash % 64)
    }

    /// One of `count` groups.
    pub(crate) fn group(self, count: usize) -> usize {
        (self.hash >> 32) as usize % count
    }
}

impl Hash for Caller {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.hash.hash(state);
    }
}

/// What a call says of its upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It serves, whatever it answered.
    Answers,
    /// It was too slow.
    Late,
    /// It refused, broke off, or said that it cannot.
    Fails,
    /// Nothing: the call was given up, or had too little time to judge by.
    Nothing,
}

#[cfg(test)]
impl Caller {
    /// One of many for tests; those of different numbers below 64 share no bit.
    pub(crate) fn numbered(number: u64) -> Self {
        Self { tenant: None, hash: number | number << 32 }
    }
}
