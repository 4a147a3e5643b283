//! What reads of one upstream share: their deadline, and what they ask and check.

use std::time::Duration;

use contracts::id::PropertyId;
use contracts::upstream::Upstream;
use jiff::civil::Date;
use service_kit::problem::{ApiError, ApiResult};
use upstream_clients::CallContext;

use crate::edge::Calls;
use crate::upstream_problem::drifted;

/// Counted from the request's first byte, like the dashboard's own.
const READ_WITHIN: Duration = Duration::from_millis(550);

pub(super) fn within(calls: &Calls) -> CallContext {
    calls.until(calls.received() + READ_WITHIN)
}

/// A day, if one is given. Which days there may be is the upstream's to say.
pub(super) fn date(field: &str, given: Option<&str>) -> ApiResult<Option<Date>> {
    let invalid = |_| ApiError::field(field, "INVALID", "Send the date as YYYY-MM-DD.");
    given.map(|text| text.parse().map_err(invalid)).transpose()
}

/// An answer about another property than the one asked for is never passed on.
pub(super) fn same_property(
    upstream: Upstream,
    answered: PropertyId,
    asked: PropertyId,
) -> ApiResult<()> {
    if answered == asked {
        return Ok(());
    }
    tracing::error!(%upstream, %asked, %answered, "An upstream answered about another property.");
    Err(drifted(upstream))
}
