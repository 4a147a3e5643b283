//! What is wrong with a configuration. No message repeats a value: it may be a secret.

use std::collections::BTreeMap;
use std::fmt;

use super::variable;

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("The file that MELMASTOON_CONFIG names cannot be read: {0}.")]
    File(String),
    #[error(transparent)]
    Settings(#[from] SettingErrors),
}

/// The first error of each setting, by environment variable.
#[derive(Debug, Default)]
pub struct SettingErrors(BTreeMap<String, String>);

impl SettingErrors {
    /// Adds an error, unless the variable has one: further ones may be consequences.
    pub(super) fn add(&mut self, variable: String, message: String) {
        self.0.entry(variable).or_insert(message);
    }

    pub(super) fn contains(&self, variable: &str) -> bool {
        self.0.contains_key(variable)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds the error, if it is one, to the setting at this path: `["edge", "rules_file"]`.
    pub fn check<T>(&mut self, path: &[&str], result: Result<T, impl fmt::Display>) {
        if let Err(error) = result {
            let path: Vec<String> = path.iter().map(|&name| name.to_owned()).collect();
            self.add(variable(&path), error.to_string());
        }
    }

    /// An error if there is any.
    pub fn result(self) -> Result<(), Self> {
        if self.is_empty() { Ok(()) } else { Err(self) }
    }
}

impl fmt::Display for SettingErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "The configuration is not valid. docs/configuration.md describes each variable.",
        )?;
        self.0.iter().try_for_each(|(variable, message)| write!(f, "\n  {variable}: {message}"))
    }
}

impl std::error::Error for SettingErrors {}
