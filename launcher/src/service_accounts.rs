//! The service accounts of the local stack and their secrets, generated once and stored in a file.

use std::collections::BTreeMap;

use crate::data_dir::{DataDir, read_json, write_json};
use crate::secrets::random_hex;

/// Domain of the accounts' email addresses.
pub(crate) const EMAIL_DOMAIN: &str = "demo.melmastoon.example";

/// Stands for Cloud Scheduler, which calls `/internal/jobs/*`.
pub const SCHEDULER: &str = "scheduler";
/// Pushes events to `/internal/events`.
pub const EVENTS: &str = "events";
/// Two platform operators, for actions that need approval by a second person.
pub const OPERATORS: [&str; 2] = ["operator-a", "operator-b"];

/// Returns the stored secrets by account name, generating missing ones.
pub(crate) fn load_or_make(folder: &DataDir) -> anyhow::Result<BTreeMap<String, String>> {
    let path = folder.join("service-accounts.json");
    let mut secrets: BTreeMap<String, String> = read_json(&path).unwrap_or_default();
    let before = secrets.len();
    for name in OPERATORS.into_iter().chain([SCHEDULER, EVENTS]) {
        secrets.entry(name.to_owned()).or_insert_with(|| random_hex(24));
    }
    if secrets.len() > before {
        write_json(&path, &secrets)?;
    }
    Ok(secrets)
}

pub(crate) fn email(name: &str) -> String {
    format!("{name}@{EMAIL_DOMAIN}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data_dir::write_private;

    #[test]
    fn secrets_are_kept_and_a_missing_one_is_made() {
        let path = std::env::temp_dir().join(format!("accounts-{}", random_hex(8)));
        let folder = DataDir::open(&path).unwrap();
        write_private(&folder.join("service-accounts.json"), br#"{"events":"kept"}"#).unwrap();
        let first = load_or_make(&folder).unwrap();
        assert_eq!((first["events"].as_str(), first.len()), ("kept", 4));
        assert_eq!(first, load_or_make(&folder).unwrap());
        std::fs::remove_dir_all(path).unwrap();
    }
}
