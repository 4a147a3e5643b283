//! Reloads the rules file when it changes; invalid rules are not applied.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use metrics::gauge;
use service_kit::background::{BackgroundTask, Schedule};

use super::Firewall;
use super::file::{self, RulesError};

/// How often the file is checked.
pub(crate) const RULES_POLL: Schedule = Schedule::every(Duration::from_secs(1));

/// Applies the file to the firewall. Compares the text, not the modification time, which can miss two
/// quick changes.
#[derive(Debug)]
pub(crate) struct RulesReload {
    firewall: Arc<Firewall>,
    path: PathBuf,
    /// The text that was applied.
    applied: Option<Vec<u8>>,
}

impl RulesReload {
    pub(crate) fn new(firewall: Arc<Firewall>, path: PathBuf) -> Self {
        Self { firewall, path, applied: None }
    }

    async fn reload(&mut self) -> Result<(), RulesError> {
        let read = tokio::fs::read(&self.path).await;
        let text = read.map_err(|source| self.unreadable(source))?;
        if self.applied.as_ref() == Some(&text) {
            return Ok(());
        }
        let not_text = |_| self.unreadable(std::io::ErrorKind::InvalidData.into());
        let rules = file::parse(std::str::from_utf8(&text).map_err(not_text)?)?;
        tracing::info!(deny = rules.deny.len(), "Reloaded the rules file.");
        self.firewall.set_file_rules(rules);
        self.applied = Some(text);
        Ok(())
    }

    fn unreadable(&self, source: std::io::Error) -> RulesError {
        RulesError::File { path: self.path.display().to_string(), source }
    }
}

impl BackgroundTask for RulesReload {
    type Status = ();
    type Error = RulesError;

    /// Fails as long as the file is invalid; the active rules stay.
    async fn activate(&mut self) -> Result<(), RulesError> {
        let reloaded = self.reload().await;
        let is_refused = f64::from(u8::from(reloaded.is_err()));
        gauge!("bff_backoffice_edge_rules_refused").set(is_refused);
        reloaded
    }
}
