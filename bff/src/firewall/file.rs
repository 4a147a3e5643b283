//! The file of edge rules (TOML): read and judged whole, so that a mistake in one rule leaves
//! the old ones in force. `ops/edge-rules.toml` shows every field.

use std::collections::HashSet;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;

use contracts::id::DeviceId;
use ipnet::IpNet;
use semver::Version;
use serde::Deserialize;

use super::matching::{DenyRule, Versions};
use super::mode::Mode;

/// Each is asked of each request.
const MOST_RULES: usize = 200;
const MOST_BYTES: u64 = 256 * 1024;
const LONGEST_NAME: usize = 40;
/// Names of the limits in metrics and headers; no deny rule may have one.
pub(super) const LIMITS: [&str; 2] = ["address", "device"];

/// So many requests at once, and as many again spread evenly over the seconds (GCRA).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    pub requests: NonZeroU32,
    pub per_seconds: NonZeroU32,
    #[serde(default)]
    pub mode: Mode,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    pub address: Limit,
    pub device: Limit,
}

impl Default for Limits {
    /// No address is limited, because a whole hotel or a load balancer may stand behind one. A
    /// device may do what no desk ever does, so that only a loop in a desktop is stopped.
    fn default() -> Self {
        let limit = |requests, per_seconds, mode| Limit {
            requests: NonZeroU32::new(requests).expect("it is not zero"),
            per_seconds: NonZeroU32::new(per_seconds).expect("it is not zero"),
            mode,
        };
        Self { address: limit(6_000, 60, Mode::Off), device: limit(50_000, 10, Mode::Enforce) }
    }
}

/// Everything the file says.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// As it was written.
    pub text: Arc<str>,
    pub limits: Limits,
    pub minimum_app_version: Option<Version>,
    pub deny: Vec<DenyRule>,
}

#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    #[error("{path} cannot be read: {source}. Check edge.rules_file.")]
    File { path: String, source: std::io::Error },
    #[error("the rules are not the TOML they should be: {0} Compare with ops/edge-rules.toml.")]
    Toml(#[from] toml::de::Error),
    #[error("the rules are larger than 256 KiB or more than 200. Deny ranges, not single callers.")]
    TooMany,
    #[error("the deny rule {rule} has a wrong {what}. Mend it.")]
    Rule { rule: String, what: &'static str },
    #[error("{0} is not between 1 and 1000000 requests in 1 to 3600 seconds. Mend it.")]
    Limit(&'static str),
    #[error("minimum_app_version is not a version like 1.4.0. Mend it.")]
    MinimumVersion,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Document {
    minimum_app_version: Option<String>,
    limits: Limits,
    deny: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    /// Required: nobody should guess whether a rule bites.
    mode: Mode,
    addresses: Option<Vec<String>>,
    devices: Option<Vec<String>>,
    app_versions: Option<Vec<String>>,
    path_prefix: Option<String>,
}

/// Reads and judges the whole file.
pub fn read(path: &Path) -> Result<Rules, RulesError> {
    let unreadable = |source| RulesError::File { path: path.display().to_string(), source };
    if std::fs::metadata(path).map_err(unreadable)?.len() > MOST_BYTES {
        return Err(RulesError::TooMany);
    }
    parse(&std::fs::read_to_string(path).map_err(unreadable)?)
}

/// Judges the whole text.
pub fn parse(text: &str) -> Result<Rules, RulesError> {
    let document: Document = toml::from_str(text)?;
    if text.len() as u64 > MOST_BYTES || document.deny.len() > MOST_RULES {
        return Err(RulesError::TooMany);
    }
    check("limits.address", document.limits.address)?;
    check("limits.device", document.limits.device)?;
    let minimum = document.minimum_app_version.map(|text| Version::parse(&text)).transpose();
    let mut names = HashSet::new();
    let deny = document.deny.into_iter().map(|entry| {
        if names.insert(entry.name.clone()) { entry.rule() } else { Err(entry.wrong("name")) }
    });
    Ok(Rules {
        text: text.into(),
        limits: document.limits,
        minimum_app_version: minimum.map_err(|_| RulesError::MinimumVersion)?,
        deny: deny.collect::<Result<_, _>>()?,
    })
}

fn check(name: &'static str, limit: Limit) -> Result<(), RulesError> {
    let sane = limit.requests.get() <= 1_000_000 && limit.per_seconds.get() <= 3600;
    if sane { Ok(()) } else { Err(RulesError::Limit(name)) }
}

impl Entry {
    fn wrong(&self, what: &'static str) -> RulesError {
        RulesError::Rule { rule: self.name.clone(), what }
    }

    fn rule(self) -> Result<DenyRule, RulesError> {
        if !is_name(&self.name) {
            return Err(self.wrong("name"));
        }
        let rule = DenyRule {
            name: Arc::from(self.name.as_str()),
            mode: self.mode,
            addresses: self.list(self.addresses.as_deref(), "addresses", range)?,
            devices: self.list(self.devices.as_deref(), "devices", device)?,
            app_versions: self.list(self.app_versions.as_deref(), "app_versions", versions)?,
            path_prefix: self.prefix()?,
        };
        // A rule without a condition would shut everybody out.
        if rule.is_unconditional() { Err(self.wrong("condition: it has none")) } else { Ok(rule) }
    }

    /// An empty list is a mistake: nobody writes a condition that nothing meets.
    fn list<T>(
        &self,
        texts: Option<&[String]>,
        what: &'static str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<Vec<T>>, RulesError> {
        let Some(texts) = texts else { return Ok(None) };
        let values: Option<Vec<T>> = texts.iter().map(|text| read(text)).collect();
        let values = values.filter(|values| !values.is_empty());
        values.map(Some).ok_or_else(|| self.wrong(what))
    }

    fn prefix(&self) -> Result<Option<String>, RulesError> {
        let Some(prefix) = &self.path_prefix else { return Ok(None) };
        let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
        let is_path = prefix.starts_with('/') && !prefix.contains(['?', '#', ' ']);
        if is_path { Ok(Some(prefix.to_owned())) } else { Err(self.wrong("path_prefix")) }
    }
}

/// A label of a metric, and a key in a header.
fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=LONGEST_NAME).contains(&name.len()) && name.chars().all(plain) && !LIMITS.contains(&name)
}

fn range(text: &str) -> Option<IpNet> {
    let address = || text.parse::<IpAddr>().ok().map(IpNet::from);
    text.parse().ok().or_else(address).map(|range: IpNet| range.trunc())
}

fn device(text: &str) -> Option<DeviceId> {
    text.parse().ok()
}

fn versions(text: &str) -> Option<Versions> {
    let version = |text: &str| Version::parse(text.trim()).ok();
    match text.strip_prefix('<') {
        Some(below) => version(below).map(Versions::Below),
        None => version(text).map(Versions::Exactly),
    }
}

#[cfg(test)]
mod tests;
