use service_kit::config::rules::{require, without_query};
use url::Url;

/// Requires a scheme that the call stack speaks.
pub(super) fn base_url(url: &Url, _: &()) -> garde::Result {
    let is_spoken = ["http", "https", "h2c"].contains(&url.scheme());
    require(is_spoken, "is not an http, https or h2c URL")?;
    without_query(url.as_str())
}
