//! Reads `chaos/catalog/`: every row of the failure catalogues, and the drills that exist.
//!
//! `ids.txt` lists the rows; loading fails if a row is missing from the other files or unknown to it.

use std::collections::BTreeMap;
use std::str::FromStr;

use anyhow::{Context, bail};
use contracts::safeguard::Safeguard;
use launcher::builder::SABOTAGED;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

/// The rows of the catalogues, in their order. Lines: an id and the row's name; `#` starts a comment.
const IDS: &str = include_str!("../catalog/ids.txt");

/// Names and texts of the files with the rows.
macro_rules! files {
    ($($name:literal),+) => { [$(($name, include_str!(concat!("../catalog/", $name)))),+] };
}
const FILES: [(&str, &str); 8] = files![
    "bff/upstreams.toml",
    "bff/gateway.toml",
    "bff/decision-tree.toml",
    "bff/objectives.toml",
    "inventory.toml",
    "housekeeping.toml",
    "staff.toml",
    "readiness.toml"
];

/// One row of a failure catalogue. A text is `none` if the catalogue names nothing.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    #[serde(skip)]
    pub id: String,
    pub title: String,
    pub detection: String,
    /// What users notice.
    pub impact: String,
    /// What limits the impact, automatically or by a person.
    pub mitigation: String,
    /// Times and figures that the catalogue requires.
    pub objective: String,
    /// `None`: the drill does not exist yet.
    pub drill: Option<DrillEntry>,
}

/// What a drill does and what a run requires of it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DrillEntry {
    pub kind: Kind,
    pub schedule: Schedule,
    /// Seconds from the end of the fault to steady state.
    pub recover_within_s: u64,
    /// File under `ops/runbooks/`, without its ending.
    pub runbook: String,
    #[serde(default)]
    pub stands_for: Option<String>,
    /// The safeguards that `--sabotage` switches off, so that the row turns red.
    #[serde(default)]
    pub sabotage: Vec<ServerSafeguard>,
    /// Names of findings, one of which must break without the safeguards.
    #[serde(default)]
    pub red: Vec<String>,
    /// Names of further findings that may break without the safeguards.
    #[serde(default)]
    pub consequences: Vec<String>,
    /// Why no safeguard turns the row red yet: `--sabotage` skips it.
    #[serde(default)]
    pub no_safeguard: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The real failure, on real processes.
    Live,
    /// The closest emulation of the failure that `stands_for` names.
    Emulated,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Emulated => "emulated",
        }
    }
}

/// How often a drill runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// With every change, by `./check`.
    Gate,
    /// Once a night.
    Nightly,
}

impl Schedule {
    pub fn name(self) -> &'static str {
        match self {
            Self::Gate => "gate",
            Self::Nightly => "nightly",
        }
    }
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

/// All rows, in the catalogues' order.
#[derive(Debug)]
pub struct Catalog(Vec<Row>);

impl Catalog {
    pub fn load() -> anyhow::Result<Self> {
        Self::parse(IDS, &FILES)
    }

    fn parse(ids: &str, files: &[(&str, &str)]) -> anyhow::Result<Self> {
        let mut found = BTreeMap::new();
        for (name, text) in files {
            let file: CatalogFile =
                toml::from_str(text).with_context(|| format!("reading chaos/catalog/{name}"))?;
            for (id, mut row) in file.row {
                row.id.clone_from(&id);
                if found.insert(id.clone(), row).is_some() {
                    bail!("{id} is twice in chaos/catalog/. Remove one of the entries.");
                }
            }
        }
        let (mut rows, mut missing) = (Vec::new(), Vec::new());
        for id in listed(ids) {
            match found.remove(id) {
                Some(row) => rows.push(row),
                None => missing.push(id),
            }
        }
        if !missing.is_empty() {
            bail!("chaos/catalog/ has no entry for {missing:?}. Add one to the catalogue's file.");
        }
        if !found.is_empty() {
            bail!("chaos/catalog/ids.txt does not list {:?}. Add them.", found.keys());
        }
        Ok(Self(rows))
    }

    pub fn rows(&self) -> &[Row] {
        &self.0
    }

    /// How many rows have a drill.
    pub fn summary(&self) -> String {
        let (all, drilled) = (self.0.len(), self.drilled().count());
        format!("{drilled} of {all} rows have a drill; {} do not.", all - drilled)
    }

    /// Rows with a drill.
    pub fn drilled(&self) -> impl Iterator<Item = DrilledRow<'_>> {
        self.0.iter().filter_map(|row| Some(DrilledRow { row, drill: row.drill.as_ref()? }))
    }

    /// The rows with these ids, or all that have a drill if `ids` is empty.
    pub fn chosen(&self, ids: &[String]) -> anyhow::Result<Vec<DrilledRow<'_>>> {
        for id in ids {
            let row = self.0.iter().find(|row| row.id == *id);
            let row = row.with_context(|| {
                format!("There is no row {id}. `cargo run -p chaos -- list` shows the rows.")
            })?;
            if row.drill.is_none() {
                bail!("{id} has no drill yet. `cargo run -p chaos -- list` shows which rows have.");
            }
        }
        Ok(self.drilled().filter(|it| ids.is_empty() || ids.contains(&it.row.id)).collect())
    }
}

/// A row with its drill.
#[derive(Debug, Clone, Copy)]
pub struct DrilledRow<'a> {
    pub row: &'a Row,
    pub drill: &'a DrillEntry,
}

#[derive(Debug, Deserialize)]
struct CatalogFile {
    row: BTreeMap<String, Row>,
}

/// The ids of `ids.txt`.
fn listed(ids: &str) -> impl Iterator<Item = &str> {
    let lines = ids.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split_whitespace().next())
}

#[cfg(test)]
mod tests;
