//! Reads `chaos/catalog.toml`, which has one entry per failure that must have a drill.

use std::collections::BTreeMap;
use std::str::FromStr;

use anyhow::{Context, bail};
use contracts::safeguard::Safeguard;
use launcher::builder::SABOTAGED;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

const FILE: &str = include_str!("../catalog.toml");

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The real failure, on real processes.
    Live,
    /// The closest emulation of the failure that `stands_for` names.
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
    /// The safeguards that `--sabotage` switches off, so that the row turns red.
    #[serde(default)]
    pub sabotage: Vec<ServerSafeguard>,
    /// Why no safeguard turns the row red yet: `--sabotage` skips it.
    #[serde(default)]
    pub no_safeguard: Option<String>,
}

/// A safeguard of one server: `<server>:<safeguard>`, or `<safeguard>` for the gateway's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerSafeguard {
    pub server: &'static str,
    pub safeguard: Safeguard,
}

impl<'de> Deserialize<'de> for ServerSafeguard {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl FromStr for ServerSafeguard {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (server, safeguard) = text.split_once(':').unwrap_or(("bff", text));
        let known = SABOTAGED.into_iter().find(|known| *known == server);
        let server = known.with_context(|| {
            format!(
                "`{text}`: no safeguard of {server} can be switched off. Use one of {SABOTAGED:?}."
            )
        })?;
        Ok(Self { server, safeguard: safeguard.parse()? })
    }
}

#[derive(Debug, Deserialize)]
struct Catalog {
    row: BTreeMap<String, Entry>,
}

/// All entries by id, in the catalogues' order.
pub fn load() -> anyhow::Result<Vec<(String, Entry)>> {
    parse(FILE).context("chaos/catalog.toml cannot be read")
}

fn parse(text: &str) -> anyhow::Result<Vec<(String, Entry)>> {
    let catalog: Catalog = toml::from_str(text)?;
    let mut rows: Vec<_> = catalog.row.into_iter().collect();
    rows.sort_by_key(|(id, _)| sort_key(id));
    Ok(rows)
}

/// Sort key: `F-5` before `F-10`, `HK-3.3` before `HK-8.2`.
fn sort_key(id: &str) -> (String, Vec<u32>) {
    let (group, number) = id.rsplit_once('-').unwrap_or((id, "0"));
    let parts = number.split('.').map(|part| part.parse().unwrap_or_default());
    (group.to_owned(), parts.collect())
}

/// The entries with these ids, or all if `ids` is empty.
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
            assert_eq!(
                entry.sabotage.is_empty(),
                entry.no_safeguard.is_some(),
                "{id} names a safeguard, or says why there is none"
            );
            assert_eq!(entry.kind == Kind::Emulated, entry.stands_for.is_some(), "{id}");
        }
    }

    fn with_sabotage(names: &str) -> anyhow::Result<Vec<(String, Entry)>> {
        parse(&format!(
            "[row.F-5]\ntitle = \"a\"\nkind = \"live\"\nrecover_within_s = 1\nrunbook = \"b\"\nsabotage = {names}"
        ))
    }

    #[test]
    fn a_safeguard_is_of_the_gateway_unless_it_names_its_server() {
        let rows = with_sabotage(r#"["replay", "housekeeping:roles"]"#).unwrap();
        let found: Vec<_> = rows[0].1.sabotage.iter().map(|it| (it.server, it.safeguard)).collect();
        let expected = [("bff", Safeguard::Replay), ("housekeeping", Safeguard::SupervisorRole)];
        assert_eq!(found, expected);
    }

    #[test]
    fn an_unknown_safeguard_or_server_is_refused() {
        let refused = format!("{:#}", with_sabotage(r#"["reply"]"#).unwrap_err());
        assert!(refused.contains("There is no safeguard named `reply`."), "{refused}");
        let refused = format!("{:#}", with_sabotage(r#"["staff:roles"]"#).unwrap_err());
        assert!(refused.contains("no safeguard of staff can be switched off"), "{refused}");
    }

    #[test]
    fn every_safeguard_turns_a_row_red() {
        let rows = load().unwrap();
        let used = |safeguard: &&Safeguard| {
            let mut named = rows.iter().flat_map(|(_, entry)| &entry.sabotage);
            named.any(|named| named.safeguard == **safeguard)
        };
        let unused: Vec<_> = Safeguard::ALL.iter().filter(|safeguard| !used(safeguard)).collect();
        assert!(unused.is_empty(), "no row names {unused:?}");
    }

    #[test]
    fn rows_are_listed_in_the_catalogue_s_order() {
        assert!(sort_key("F-5") < sort_key("F-33"));
        assert!(sort_key("F-41") < sort_key("GD-3"), "game days after the failures");
        assert!(sort_key("HK-3.3") < sort_key("HK-8.2"));
        assert!(sort_key("INV-2.9") < sort_key("INV-2.10"));
    }
}
