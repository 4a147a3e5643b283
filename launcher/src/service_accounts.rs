//! The service accounts of the local stack and their secrets, generated once and stored in a file.

use std::collections::BTreeMap;
use std::fs;

use crate::data_dir::{DataDir, write_private};
use crate::secrets::random_hex;

/// Domain of the accounts' email addresses.
pub(crate) const EMAIL_DOMAIN: &str = "demo.melmastoon.example";

/// Stands for Cloud Scheduler, which calls `/internal/jobs/*`.
pub const SCHEDULER: &str = "scheduler";
/// Pushes events to `/internal/events`.
pub const EVENTS: &str = "events";
/// Two platform operators, for actions that need approval by a second person.
pub const OPERATORS: [&str; 2] = ["operator-a", "operator-b"];

/// Secrets by account name.
#[derive(Debug, Clone)]
pub(crate) struct ServiceAccounts(BTreeMap<String, String>);

impl ServiceAccounts {
    /// Loads the stored secrets and generates missing ones.
    pub(crate) fn load_or_make(folder: &DataDir) -> anyhow::Result<Self> {
        let path = folder.join("service-accounts.json");
        let stored = fs::read(&path).ok().and_then(|text| serde_json::from_slice(&text).ok());
        let mut secrets: BTreeMap<String, String> = stored.unwrap_or_default();
        let before = secrets.len();
        for name in OPERATORS.into_iter().chain([SCHEDULER, EVENTS]) {
            secrets.entry(name.to_owned()).or_insert_with(|| random_hex(24));
        }
        if secrets.len() > before {
            write_private(&path, &serde_json::to_vec_pretty(&secrets)?)?;
        }
        Ok(Self(secrets))
    }

    /// Account names with their secrets.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, secret)| (name.as_str(), secret.as_str()))
    }
}

pub(crate) fn email(name: &str) -> String {
    format!("{name}@{EMAIL_DOMAIN}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_kept_and_a_missing_one_is_made() {
        let path = std::env::temp_dir().join(format!("accounts-{}", random_hex(8)));
        let folder = DataDir::open(&path).unwrap();
        write_private(&folder.join("service-accounts.json"), br#"{"events":"kept"}"#).unwrap();
        let first = ServiceAccounts::load_or_make(&folder).unwrap();
        let again = ServiceAccounts::load_or_make(&folder).unwrap();
        assert_eq!((first.0["events"].as_str(), first.0.len()), ("kept", 4));
        assert_eq!(first.0, again.0);
        fs::remove_dir_all(path).unwrap();
    }
}
