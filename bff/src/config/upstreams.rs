use contracts::upstream::Upstream;
use upstream_clients::BaseUrls;
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

/// Requires schemes that the call stack speaks.
pub(super) fn base_urls(urls: &BaseUrls, _: &()) -> garde::Result {
    let is_wrong = |url: &Url| !["http", "https", "h2c"].contains(&url.scheme());
    let Some((upstream, _)) = urls.iter().find(|(_, url)| is_wrong(url)) else { return Ok(()) };
    Err(garde::Error::new(format!("the URL of {upstream} is not an http, https or h2c URL")))
}
