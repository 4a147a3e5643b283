//! Freeze of the routes that require a second factor: an attestation that was used twice stops them on
//! every instance. Two platform operators unfreeze them.
//!
//! Not here: finding second uses ([`super::watch`]) and the approval ([`crate::admin::two_person`]).

use contracts::id::TenantId;
use contracts::problem::code;
use jiff::Timestamp;
use service_kit::postgres::{Database, StoreError, Values};
use service_kit::problem::ApiError;

use crate::admin::freeze::FreezableRoutes;
use crate::admin::two_person::TwoPersonAction;

/// The routes that require a second factor. Second uses until an approval no longer freeze them.
pub(crate) struct SecondFactorRoutes;

impl FreezableRoutes for SecondFactorRoutes {
    const IS_FROZEN_SQL: &'static str = "SELECT bff.second_factor_routes_are_frozen()";
    const UNFREEZE: TwoPersonAction = TwoPersonAction {
        name: "unfreeze-second-factor",
        requests: "bff.second_factor_unfreeze_requests",
        approvals: "bff.second_factor_unfreezes",
        content: None,
        repeat: "if the routes are frozen again",
    };
}

pub(crate) fn frozen() -> ApiError {
    ApiError::new(
        &code::MUTATIONS_HALTED,
        "Changes that require a second factor are stopped, because one was used twice. Make the change later; everything else works.",
    )
}

const FREEZE_SQL: &str = "
    INSERT INTO bff.second_factor_freezes (tenant_id, attestations, frozen_at)
    SELECT bff.current_tenant_id(), $1, $2
    WHERE NOT bff.second_factor_routes_are_frozen()";

/// Freezes the routes. Returns false if they are frozen already.
pub(crate) async fn freeze(
    database: &Database,
    attestations: i64,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let values: Values<'_> = &[&attestations, &now];
    Ok(database.write(TenantId::platform(), FREEZE_SQL, values).await? == 1)
}
