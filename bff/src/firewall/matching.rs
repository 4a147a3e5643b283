//! Matching of deny rules. All conditions of a rule must hold; in a list, one is enough.

use std::net::IpAddr;
use std::sync::Arc;

use contracts::id::DeviceId;
use ipnet::IpNet;
use semver::Version;

use super::mode::Mode;

/// Desktop versions: one, or all older ones. A pre-release is older than its release (Semantic
/// Versioning 2.0 section 11).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Versions {
    Exactly(Version),
    Below(Version),
}

impl Versions {
    fn contain(&self, version: &Version) -> bool {
        match self {
            Self::Exactly(exactly) => version.cmp_precedence(exactly).is_eq(),
            Self::Below(below) => version.cmp_precedence(below).is_lt(),
        }
    }
}

/// Facts that a rule can match. Device and version are unverified claims.
#[derive(Debug)]
pub struct Facts<'a> {
    pub address: IpAddr,
    pub device: Option<DeviceId>,
    pub app_version: Option<Version>,
    /// As in the request line, which routing uses too.
    pub path: &'a str,
}

#[derive(Debug, Clone)]
pub struct DenyRule {
    pub name: Arc<str>,
    pub mode: Mode,
    pub addresses: Option<Vec<IpNet>>,
    pub devices: Option<Vec<DeviceId>>,
    pub app_versions: Option<Vec<Versions>>,
    pub path_prefix: Option<String>,
}

impl DenyRule {
    /// Whether it has no condition, or only one that always holds.
    pub fn is_unconditional(&self) -> bool {
        self.addresses.is_none()
            && self.devices.is_none()
            && self.app_versions.is_none()
            && self.path_prefix.as_deref().is_none_or(str::is_empty)
    }

    pub fn means(&self, facts: &Facts<'_>) -> bool {
        self.mode != Mode::Off
            && one_of(self.addresses.as_deref(), |range| range.contains(&facts.address))
            && one_of(self.devices.as_deref(), |device| facts.device == Some(*device))
            && one_of(self.app_versions.as_deref(), |versions| {
                facts.app_version.as_ref().is_some_and(|version| versions.contain(version))
            })
            && self.path_prefix.as_deref().is_none_or(|prefix| below(facts.path, prefix))
    }
}

/// A missing condition holds.
fn one_of<T>(values: Option<&[T]>, holds: impl Fn(&T) -> bool) -> bool {
    values.is_none_or(|values| values.iter().any(holds))
}

/// `/a/b` and `/a` are below `/a`; `/ab` is not.
fn below(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::firewall::file::parse;

    const DEVICE: &str = "dev_01K0000000000000000000000A";

    fn denies(conditions: &str, facts: &Facts<'_>) -> bool {
        let rules = parse(&format!("[[deny]]\nname = 'r'\nmode = 'enforce'\n{conditions}"));
        rules.unwrap().deny[0].means(facts)
    }

    fn facts() -> Facts<'static> {
        Facts {
            address: "203.0.113.7".parse().unwrap(),
            device: Some(DEVICE.parse().unwrap()),
            app_version: Some(Version::parse("1.4.0-beta.2").unwrap()),
            path: "/api/bff/backoffice/v1/session",
        }
    }

    #[test]
    fn all_conditions_must_hold_and_one_of_each_list() {
        let range = "addresses = ['198.51.100.0/24', '203.0.113.0/24']";
        assert!(denies(range, &facts()));
        assert!(denies(&format!("{range}\ndevices = ['{DEVICE}']"), &facts()));
        let other = Facts { device: None, ..facts() };
        assert!(!denies(&format!("{range}\ndevices = ['{DEVICE}']"), &other));
        assert!(!denies("addresses = ['2001:db8::/32']", &facts()));
    }

    #[test]
    fn versions_are_compared_as_semantic_versions() {
        for (versions, expected) in [
            ("<1.4.0", true),
            ("<1.4.0-beta.2", false),
            ("<1.4.0-beta.10", true),
            ("1.4.0-beta.2+build.7", true),
            ("1.4.0", false),
        ] {
            assert_eq!(denies(&format!("app_versions = ['{versions}']"), &facts()), expected);
        }
        let unknown = Facts { app_version: None, ..facts() };
        assert!(!denies("app_versions = ['<9.0.0']", &unknown));
    }

    #[test]
    fn a_path_prefix_ends_at_a_segment() {
        for (prefix, expected) in [
            ("/api/bff/backoffice/v1/session", true),
            ("/api/bff/backoffice/v1/", true),
            ("/api/bff/backoffice/v1/sess", false),
        ] {
            assert_eq!(
                denies(&format!("path_prefix = '{prefix}'"), &facts()),
                expected,
                "{prefix}"
            );
        }
    }
}
