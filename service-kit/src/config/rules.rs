//! Rules that settings of several sections have, for `#[garde(custom(…))]`. No message repeats a value,
//! except the name of a file.

use std::path::Path;

use url::Url;

/// Requires an absolute http or https URL.
pub fn http_url(value: &str, _: &()) -> garde::Result {
    let is_http = Url::parse(value).is_ok_and(|url| ["http", "https"].contains(&url.scheme()));
    require(is_http, "is not an http or https URL")
}

/// Requires a file that this process may read.
pub fn readable_file(path: &Path, _: &()) -> garde::Result {
    std::fs::read(path).map(drop).map_err(|error| {
        garde::Error::new(format!("the file {} cannot be read: {error}", path.display()))
    })
}

pub fn not_empty<T>(list: &[T], _: &()) -> garde::Result {
    require(!list.is_empty(), "needs at least one entry")
}

/// Fails with the message unless the condition holds.
pub fn require(condition: bool, message: &str) -> garde::Result {
    condition.then_some(()).ok_or_else(|| garde::Error::new(message))
}
