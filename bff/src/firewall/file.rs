//! The rules file (TOML). It is validated as a whole, so that one mistake leaves the old rules
//! active. `ops/edge-rules.toml` shows every field.

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

/// Every rule is checked for every request.
const MAX_RULES: usize = 200;
/// Of what the parser says.
const MAX_MESSAGE_CHARS: usize = 200;
const MAX_FILE_BYTES: u64 = 256 * 1024;
const MAX_NAME_LENGTH: usize = 40;
/// Names of the limits in metrics and headers; no deny rule may have one.
pub(super) const LIMITS: [&str; 2] = ["address", "device"];

/// A burst of `requests`, refilled evenly over `per_seconds` (GCRA).
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
    /// Addresses are not limited, because a hotel or a load balancer may share one. The device
    /// limit only stops a desktop in a loop.
    fn default() -> Self {
        let limit = |requests, per_seconds, mode| Limit {
            requests: NonZeroU32::new(requests).expect("it is not zero"),
            per_seconds: NonZeroU32::new(per_seconds).expect("it is not zero"),
            mode,
        };
        Self { address: limit(6_000, 60, Mode::Off), device: limit(50_000, 10, Mode::Enforce) }
    }
}

/// Content of the file.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// Original text.
    pub text: Arc<str>,
    pub limits: Limits,
    pub minimum_app_version: Option<Version>,
    pub deny: Vec<DenyRule>,
}

#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    #[error("{path} cannot be read: {source}. Check edge.rules_file.")]
    File { path: String, source: std::io::Error },
    #[error("line {line}, column {column}: {message}. Compare it with ops/edge-rules.toml.")]
    Toml { line: usize, column: usize, message: String },
    #[error(
        "the rules exceed 256 KiB or 200 entries. Deny address ranges instead of single clients."
    )]
    TooMany,
    #[error("the deny rule {rule} has an invalid {what}. Correct it.")]
    Rule { rule: String, what: &'static str },
    #[error("{0} is not between 1 and 1000000 requests in 1 to 3600 seconds. Correct it.")]
    Limit(&'static str),
    #[error("minimum_app_version is not a version like 1.4.0. Correct it.")]
    MinimumVersion,
}

impl RulesError {
    /// In one line, without the excerpt of the text that the parser's error has. A long name is cut.
    fn toml(text: &str, error: &toml::de::Error) -> Self {
        let start = error.span().map_or(0, |span| span.start);
        let before = text.get(..start).unwrap_or(text);
        let column = before.chars().rev().take_while(|one| *one != '\n').count() + 1;
        let message: Vec<&str> = error.message().lines().map(str::trim).collect();
        let message = message.join(", ").chars().take(MAX_MESSAGE_CHARS).collect();
        Self::Toml { line: before.matches('\n').count() + 1, column, message }
    }
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
    /// Required, so that it is explicit whether a rule is enforced.
    mode: Mode,
    addresses: Option<Vec<String>>,
    devices: Option<Vec<String>>,
    app_versions: Option<Vec<String>>,
    path_prefix: Option<String>,
}

/// Reads and validates the file.
pub(crate) fn read(path: &Path) -> Result<Rules, RulesError> {
    let unreadable = |source| RulesError::File { path: path.display().to_string(), source };
    if std::fs::metadata(path).map_err(unreadable)?.len() > MAX_FILE_BYTES {
        return Err(RulesError::TooMany);
    }
    parse(&std::fs::read_to_string(path).map_err(unreadable)?)
}

/// Validates the text.
pub(crate) fn parse(text: &str) -> Result<Rules, RulesError> {
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(RulesError::TooMany);
    }
    let document: Document =
        toml::from_str(text).map_err(|error| RulesError::toml(text, &error))?;
    if document.deny.len() > MAX_RULES {
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
        // A rule without a condition would refuse every request.
        if rule.is_unconditional() { Err(self.wrong("condition: it has none")) } else { Ok(rule) }
    }

    /// An empty list is refused as a mistake.
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

/// Names become metric labels and header keys.
fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=MAX_NAME_LENGTH).contains(&name.len())
        && name.chars().all(plain)
        && !LIMITS.contains(&name)
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
