//! Reloads the rules file when it changes; invalid rules are not applied.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use metrics::gauge;
use tokio::time::interval;

use super::Firewall;
use super::file::{self, RulesError};

/// How often the file is checked.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// Gauge: 1 while the file is invalid.
const REFUSED: &str = "bff_backoffice_edge_rules_refused";

/// Checks the file until dropped. Compares the text, not the modification time, which can miss two
/// quick changes.
pub async fn watch(firewall: Arc<Firewall>, path: PathBuf) {
    let (mut tick, mut seen) = (interval(POLL_INTERVAL), None);
    gauge!(REFUSED).set(0.0);
    loop {
        tick.tick().await;
        let now = tokio::fs::read(&path).await.ok();
        if now != seen {
            apply(&firewall, &path, now.as_deref());
            seen = now;
        }
    }
}

fn apply(firewall: &Firewall, path: &std::path::Path, text: Option<&[u8]>) {
    let unreadable = || RulesError::File {
        path: path.display().to_string(),
        source: std::io::ErrorKind::NotFound.into(),
    };
    let rules = text
        .and_then(|text| std::str::from_utf8(text).ok())
        .ok_or_else(unreadable)
        .and_then(file::parse);
    gauge!(REFUSED).set(f64::from(u8::from(rules.is_err())));
    match rules {
        Ok(rules) => {
            tracing::info!(deny = rules.deny.len(), "Reloaded the rules file.");
            firewall.set_file_rules(rules);
        }
        Err(error) => {
            tracing::warn!(%error, "The changed rules file is invalid; keeping the active rules.");
        }
    }
}
