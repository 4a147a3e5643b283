//! The rows that must have a drill: `chaos/catalog.toml`, one entry per row of the catalogues.

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use serde::Deserialize;

const FILE: &str = include_str!("../catalog.toml");

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The failure itself, on real processes.
    Live,
    /// Its nearest honest stand-in; `stands_for` says for what.
    Emulated,
}

/// One row.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    pub title: String,
    pub kind: Kind,
    /// Seconds from the end of the fault to steady state.
    pub recover_within_s: u64,
    /// File under `ops/runbooks/`, without its ending.
    pub runbook: String,
    #[serde(default)]
    pub stands_for: Option<String>,
    /// What `--sabotage` switches off: a guard of the gateway, or `<server>:<guard>`.
    pub sabotage: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Catalog {
    row: BTreeMap<String, Entry>,
}

/// All entries by id, in the catalogues' order.
pub fn load() -> anyhow::Result<Vec<(String, Entry)>> {
    let catalog: Catalog = toml::from_str(FILE).context("chaos/catalog.toml cannot be read")?;
    let mut rows: Vec<_> = catalog.row.into_iter().collect();
    rows.sort_by_key(|(id, _)| place(id));
    Ok(rows)
}

/// `F-5` before `F-10`, `HK-3.3` before `HK-8.2`.
fn place(id: &str) -> (String, Vec<u32>) {
    let (group, number) = id.rsplit_once('-').unwrap_or((id, "0"));
    let parts = number.split('.').map(|part| part.parse().unwrap_or_default());
    (group.to_owned(), parts.collect())
}

/// The entries asked for, or all.
pub fn chosen(ids: &[String]) -> anyhow::Result<Vec<(String, Entry)>> {
    let rows = load()?;
    if let Some(unknown) = ids.iter().find(|id| !rows.iter().any(|(known, _)| known == *id)) {
        bail!(
            "There is no row {unknown} with a drill. `cargo run -p chaos -- list` shows the rows."
        );
    }
    Ok(rows.into_iter().filter(|(id, _)| ids.is_empty() || ids.contains(id)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_a_drill_a_runbook_and_a_way_to_break_it() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../ops/runbooks");
        for (id, entry) in load().unwrap() {
            assert!(crate::drills::is_known(&id), "{id} has no drill");
            assert!(
                root.join(format!("{}.md", entry.runbook)).is_file(),
                "{id}: {} is missing",
                entry.runbook
            );
            assert!(!entry.sabotage.is_empty(), "{id} cannot be shown red");
            assert_eq!(entry.kind == Kind::Emulated, entry.stands_for.is_some(), "{id}");
        }
    }

    #[test]
    fn rows_are_listed_in_the_catalogue_s_order() {
        assert!(place("F-5") < place("F-33"));
        assert!(place("F-41") < place("GD-3"), "game days after the failures");
        assert!(place("HK-3.3") < place("HK-8.2"));
        assert!(place("INV-2.9") < place("INV-2.10"));
    }
}
