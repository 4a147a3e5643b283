//! Freeze of the lock routes: missing audit rows stop them on every instance. Two platform operators
//! unfreeze them.
//!
//! Not here: finding missing rows ([`super::completeness_check`]) and the approval
//! ([`crate::admin::two_person`]).

use contracts::id::TenantId;
use contracts::problem::code;
use jiff::Timestamp;
use serde::Serialize;
use service_kit::postgres::{Database, StoreError, Values};
use service_kit::problem::ApiError;

use crate::admin::freeze::FreezableRoutes;
use crate::admin::two_person::TwoPersonAction;

/// Lock actions of all tenants, and those with both rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Completeness {
    pub actions: i64,
    pub complete: i64,
}

impl Completeness {
    pub(crate) fn is_complete(self) -> bool {
        self.complete == self.actions
    }

    /// Not a number without actions: nothing was counted, so nothing is known to be complete.
    pub(super) fn share(self) -> f64 {
        self.complete as f64 / self.actions as f64
    }
}

/// The lock routes. Rows missing until an approval no longer freeze them.
pub(crate) struct LockRoutes;

impl FreezableRoutes for LockRoutes {
    const IS_FROZEN_SQL: &'static str = "SELECT bff.lock_proxy_is_frozen()";
    const UNFREEZE: TwoPersonAction = TwoPersonAction {
        name: "unfreeze-locks",
        requests: "bff.lock_unfreeze_requests",
        approvals: "bff.lock_unfreezes",
        content: None,
        repeat: "if the routes are frozen again",
    };
}

pub(crate) fn frozen() -> ApiError {
    ApiError::new(
        &code::LOCK_PROXY_FROZEN,
        "Lock actions are suspended because audit records are missing. Use the property's manual procedure until the platform operators re-enable them.",
    )
}

const FREEZE_SQL: &str = "
    INSERT INTO bff.lock_freezes (tenant_id, actions, complete, frozen_at)
    SELECT bff.current_tenant_id(), $1, $2, $3
    WHERE NOT bff.lock_proxy_is_frozen()";

/// Freezes the routes. Returns false if they are frozen already.
pub(crate) async fn freeze(
    database: &Database,
    found: Completeness,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let values: Values<'_> = &[&found.actions, &found.complete, &now];
    Ok(database.write(TenantId::platform(), FREEZE_SQL, values).await? == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_of_actions_that_were_counted() {
        let share = |actions, complete| Completeness { actions, complete }.share();
        assert_eq!((share(4, 4), share(4, 3)), (1.0, 0.75));
        assert!(share(0, 0).is_nan());
    }
}
