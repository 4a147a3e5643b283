//! Freezes of routes: a broken guarantee stops the routes that depend on it, on every instance, until two
//! platform operators unfreeze them.
//!
//! Not here: what freezes them (`crate::locks::freeze`, `crate::mutation::attestation::freeze`).

use service_kit::postgres::{StoreError, Transaction};

use super::two_person::TwoPersonAction;

/// Routes that can be frozen.
pub(crate) trait FreezableRoutes: Send + Sync + 'static {
    /// Selects whether they are frozen.
    const IS_FROZEN_SQL: &'static str;
    /// Unfreezes them on every instance.
    const UNFREEZE: TwoPersonAction;
}

/// Whether the routes are frozen, read in the caller's transaction.
pub(crate) async fn is_frozen<R: FreezableRoutes>(
    transaction: &Transaction<'_>,
) -> Result<bool, StoreError> {
    Ok(transaction.query_one(R::IS_FROZEN_SQL, &[]).await?.get(0))
}
