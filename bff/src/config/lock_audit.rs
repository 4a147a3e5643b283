use garde::Validate;
use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::Deserialize;
use service_kit::config::rules::require;

/// A younger action may still be running: the lease of its claim lasts 5 s.
const MIN_AGE_S: u32 = 6;

/// When a lock action without its final audit row is reconciled, and when it is a gap. Drills shorten
/// both.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema, Validate)]
#[serde(default, deny_unknown_fields)]
#[garde(allow_unvalidated)]
pub struct LockAuditConfig {
    /// Seconds from the request after which the reconciler asks lock-integration how it ended. Longer
    /// than any claim's lease and than lock-integration takes.
    #[garde(range(min = MIN_AGE_S))]
    pub reconcile_after_s: u32,
    /// Seconds from the request after which a missing row is a gap, which freezes the lock routes. The
    /// reconciler, which runs every minute, must have had time to write the row.
    #[garde(custom(after_reconciliation(self.reconcile_after_s)))]
    pub completion_grace_s: u32,
}

impl Default for LockAuditConfig {
    fn default() -> Self {
        Self { reconcile_after_s: 60, completion_grace_s: 5 * 60 }
    }
}

fn after_reconciliation(reconcile_after_s: u32) -> impl FnOnce(&u32, &()) -> garde::Result {
    move |grace, ()| {
        let name = "MELMASTOON_LOCK_AUDIT__RECONCILE_AFTER_S";
        require(*grace > reconcile_after_s, &format!("must be longer than {name}"))
    }
}

impl LockAuditConfig {
    /// Age at which an action without its final row is reconciled, counted from its request.
    pub fn reconcile_after(self) -> SignedDuration {
        SignedDuration::from_secs(self.reconcile_after_s.into())
    }

    /// Age at which it is a gap.
    pub fn completion_grace(self) -> SignedDuration {
        SignedDuration::from_secs(self.completion_grace_s.into())
    }
}
