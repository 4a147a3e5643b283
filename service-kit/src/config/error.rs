//! What is wrong with a configuration. No message repeats a value: it may be a secret.

use std::collections::BTreeMap;
use std::fmt;

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

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
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
