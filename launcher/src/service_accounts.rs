//! The service accounts of this machine's stack: who they are and their secrets, made once and kept
//! in a file of their own.

use std::collections::BTreeMap;
use std::fs;

use crate::folder::{DataFolder, write_private};
use crate::secrets::random_hex;

/// Domain of the accounts' emails.
pub(crate) const DOMAIN: &str = "demo.melmastoon.example";

/// Cloud Scheduler: `/internal/jobs/*`.
pub const SCHEDULER: &str = "scheduler";
/// The push of events: `/internal/events`.
pub const EVENTS: &str = "events";
/// Two people of the platform, for what one alone may not do.
pub const OPERATORS: [&str; 2] = ["operator-a", "operator-b"];

/// Secrets by account name.
#[derive(Debug, Clone)]
pub(crate) struct ServiceAccounts(BTreeMap<String, String>);

impl ServiceAccounts {
    /// Keeps what is there and makes what is missing.
    pub(crate) fn load_or_make(folder: &DataFolder) -> anyhow::Result<Self> {
        let path = folder.join("service-accounts.json");
        let kept = fs::read(&path).ok().and_then(|text| serde_json::from_slice(&text).ok());
        let mut secrets: BTreeMap<String, String> = kept.unwrap_or_default();
        let before = secrets.len();
        for name in OPERATORS.into_iter().chain([SCHEDULER, EVENTS]) {
            secrets.entry(name.to_owned()).or_insert_with(|| random_hex(24));
        }
        if secrets.len() > before {
            write_private(&path, &serde_json::to_vec_pretty(&secrets)?)?;
        }
        Ok(Self(secrets))
    }

    /// Names with their secrets.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, secret)| (name.as_str(), secret.as_str()))
    }
}

pub(crate) fn email(name: &str) -> String {
    format!("{name}@{DOMAIN}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_kept_and_a_missing_one_is_made() {
        let path = std::env::temp_dir().join(format!("accounts-{}", random_hex(8)));
        let folder = DataFolder::open(&path).unwrap();
        write_private(&folder.join("service-accounts.json"), br#"{"events":"kept"}"#).unwrap();
        let first = ServiceAccounts::load_or_make(&folder).unwrap();
        let again = ServiceAccounts::load_or_make(&folder).unwrap();
        assert_eq!((first.0["events"].as_str(), first.0.len()), ("kept", 4));
        assert_eq!(first.0, again.0);
        fs::remove_dir_all(path).unwrap();
    }
}
