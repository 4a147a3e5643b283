//! Takes changed rules into force without a restart, and bad ones never.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use metrics::gauge;
use tokio::time::interval;

use super::EdgeRules;
use super::file::{self, RulesError};

/// How often the file is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// 1 while the file says something that was not taken.
const REFUSED: &str = "bff_backoffice_edge_rules_refused";

/// Looks at the file until the task is dropped. The text is compared, not its time: two changes
/// within one tick of a file system's clock are two changes.
pub async fn watch(edge: Arc<EdgeRules>, path: PathBuf) {
    let (mut look, mut seen) = (interval(LOOK_EVERY), None);
    gauge!(REFUSED).set(0.0);
    loop {
        look.tick().await;
        let now = tokio::fs::read(&path).await.ok();
        if now != seen {
            take(&edge, &path, now.as_deref());
            seen = now;
        }
    }
}

fn take(edge: &EdgeRules, path: &std::path::Path, text: Option<&[u8]>) {
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
            tracing::info!(deny = rules.deny.len(), "The file's edge rules were taken.");
            edge.take_file(rules);
        }
        Err(error) => {
            tracing::warn!(%error, "Changed edge rules were not taken; the old ones stay in force.");
        }
    }
}
