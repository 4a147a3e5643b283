use contracts::upstream::Upstream;
use service_kit::config::rules::{require, without_query};
use url::Url;

/// Upstreams that this version calls; a missing address is logged at start.
pub(crate) const REQUIRED_UPSTREAMS: [Upstream; 15] = [
    Upstream::Iam,
    Upstream::Inventory,
    Upstream::Housekeeping,
    Upstream::Staff,
    Upstream::Reservation,
    Upstream::Billing,
    Upstream::Lock,
    Upstream::Pricing,
    Upstream::Notification,
    Upstream::Analytics,
    Upstream::Tenant,
    Upstream::Maintenance,
    Upstream::Ai,
    Upstream::Property,
    Upstream::Sync,
];

/// Requires a scheme that the call stack speaks.
pub(super) fn base_url(url: &Url, _: &()) -> garde::Result {
    let is_spoken = ["http", "https", "h2c"].contains(&url.scheme());
    require(is_spoken, "is not an http, https or h2c URL")?;
    without_query(url.as_str())
}
