//! Rules that settings of several sections have, for `#[garde(custom(…))]`. No message repeats a value,
//! except the name of a file.

use std::path::Path;

use url::Url;

/// Requires an absolute http or https URL.
pub fn http_url(value: &str, _: &()) -> garde::Result {
    let is_http = Url::parse(value).is_ok_and(|url| ["http", "https"].contains(&url.scheme()));
    require(is_http, "is not an http or https URL")
}

/// Requires an http or https URL that paths can be appended to.
pub fn base_url(value: &str, context: &()) -> garde::Result {
    http_url(value, context)?;
    without_query(value)
}

/// Requires a URL without a query and a fragment, where a path is appended to it or it is compared.
pub fn without_query(url: &str) -> garde::Result {
    require(!url.contains(['?', '#']), "must have neither a query nor a fragment")
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

/// Applies rules to each entry of a map, so that an error names the entry:
/// `#[garde(adapt(rules::entries), inner(…))]`.
pub mod entries {
    pub use garde::rules::range;

    pub mod inner {
        use std::collections::BTreeMap;

        pub fn apply<K: ToString, V>(map: &BTreeMap<K, V>, mut rule: impl FnMut(&V, &String)) {
            for (name, value) in map {
                rule(value, &name.to_string());
            }
        }
    }
}
