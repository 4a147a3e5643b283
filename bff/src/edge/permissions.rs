//! What an operator must be to use a route: one unit type per permission.

use contracts::role::RoleSet;

/// Roles of a permission, which a handler's signature names.
pub(crate) trait Permission: Send + Sync {
    const ROLES: RoleSet;
}

macro_rules! permissions {
    ($($(#[$doc:meta])* $name:ident = $roles:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy)]
        pub(crate) struct $name;

        impl Permission for $name {
            const ROLES: RoleSet = RoleSet::$roles;
        }
    )*};
}

permissions! {
    /// Any operator who is signed in.
    SignedIn = ANY;
    /// Front-desk work.
    Reception = RECEPTION;
    /// Refunds of a folio.
    RefundFolio = CASHIER;
    /// Reading the lock audit log.
    ViewLockAudit = CASHIER;
    /// Reading shifts, capacity and who is on duty.
    ViewStaffing = ANY_MANAGER;
    /// Deciding on AI suggestions.
    DecideSuggestions = ANY_MANAGER;
}
