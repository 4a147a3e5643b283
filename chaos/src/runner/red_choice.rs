//! Which red drills a run without safeguards repeats: those whose row, drill, safeguards or guarded files
//! changed since the row was last red, and a seventh of the others, chosen by the commit.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

use anyhow::Context;
use contracts::safeguard::Safeguard;

use crate::catalog::DrilledRow;
use crate::drill_env::DrillEnv;
use crate::drill_run::Drill;
use crate::drills;
use crate::report::{DrillResult, RowResult};
use crate::sources::{Revision, Sources, digest};

/// One in so many unchanged rows runs with each commit.
pub(super) const SHARE: usize = 7;
const REGISTRY: &str = "contracts/src/safeguard.rs";
const REGISTRATION: &str = "chaos/src/drills.rs";
const DRILLS: &str = "chaos/src/drills";
/// What switches safeguards off and decides whether a row is red. Every row depends on it.
const COMMON: [&str; 3] = [REGISTRY, "chaos/src/drill_run.rs", "chaos/src/report.rs"];
/// Name of the row's entry among the files that it depends on.
const ENTRY: &str = "its entry in chaos/catalog";

/// What a row's red depends on: digests by path.
type Guarded = BTreeMap<String, String>;

/// Why a red drill runs.
#[derive(Debug, PartialEq, Eq)]
enum Reason {
    /// It was never red here, or not when it last ran.
    NoRecord,
    /// These files changed since it was red.
    Changed(Vec<String>),
    /// It is in the commit's share of the unchanged rows.
    Share,
}

/// Red drills that run, and those that need not.
#[derive(Debug)]
pub(super) struct Choice<'a> {
    chosen: Vec<(DrilledRow<'a>, Reason)>,
    left_out: Vec<&'a str>,
    revision: Revision,
}

impl<'a> Choice<'a> {
    pub(super) fn of(rows: Vec<DrilledRow<'a>>, record: &Record, guards: &Guards<'_>) -> Self {
        let revision = guards.sources.revision();
        let (mut chosen, mut unchanged) = (Vec::new(), Vec::new());
        for it in rows {
            match record.reason(it, guards) {
                Some(reason) => chosen.push((it, reason)),
                None => unchanged.push(it),
            }
        }
        let seed = revision.commit.as_ref().unwrap_or(&revision.files);
        let (share, left_out) = share(unchanged, seed);
        chosen.extend(share.into_iter().map(|it| (it, Reason::Share)));
        Self { chosen, left_out: left_out.iter().map(|it| it.row.id.as_str()).collect(), revision }
    }

    pub(super) fn rows(&self) -> Vec<DrilledRow<'a>> {
        self.chosen.iter().map(|(it, _)| *it).collect()
    }
}

/// Splits the rows into a seventh, which the seed chooses, and the others.
fn share<'a>(rows: Vec<DrilledRow<'a>>, seed: &str) -> (Vec<DrilledRow<'a>>, Vec<DrilledRow<'a>>) {
    let mut ids: Vec<_> = rows.iter().map(|it| it.row.id.as_str()).collect();
    ids.sort_by_cached_key(|id| digest([seed, id]));
    ids.truncate(rows.len().div_ceil(SHARE));
    rows.into_iter().partition(|it| ids.contains(&it.row.id.as_str()))
}

impl fmt::Display for Choice<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (chosen, all) = (self.chosen.len(), self.chosen.len() + self.left_out.len());
        writeln!(f, "{chosen} of {all} red drills run at {}.", self.revision)?;
        for (it, reason) in &self.chosen {
            writeln!(f, "{:8} {reason}", it.row.id)?;
        }
        if !self.left_out.is_empty() {
            writeln!(f, "Unchanged since they were red: {}.", self.left_out.join(" "))?;
        }
        Ok(())
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRecord => f.write_str("no earlier run in this folder in which it was red"),
            Self::Changed(files) => write!(f, "changed since it was red: {}", files.join(", ")),
            Self::Share => write!(f, "unchanged; in this commit's share of one in {SHARE}"),
        }
    }
}

/// What each row depended on when it was last red, in `.local/drills/reds.json`.
#[derive(Debug, Default)]
pub(super) struct Record(BTreeMap<String, Guarded>);

impl Record {
    fn file() -> PathBuf {
        DrillEnv::folder("drills").join("reds.json")
    }

    /// Reads the record; without one, every row runs.
    pub(super) fn read() -> anyhow::Result<Self> {
        let file = Self::file();
        let text = match fs::read(&file) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            other => other.with_context(|| format!("reading {}", file.display()))?,
        };
        let record = serde_json::from_slice(&text);
        Ok(Self(record.with_context(|| format!("{} is damaged: delete it", file.display()))?))
    }

    /// Writes the record to be read by the next run.
    pub(super) fn write(&self) -> anyhow::Result<()> {
        let (file, text) = (Self::file(), serde_json::to_vec_pretty(&self.0)?);
        fs::create_dir_all(DrillEnv::folder("drills"))?;
        fs::write(&file, text).with_context(|| format!("writing {}", file.display()))
    }

    /// Records the rows that were red, and forgets those that were not.
    pub(super) fn note(
        &mut self,
        rows: &[DrilledRow<'_>],
        results: &[RowResult],
        guards: &Guards<'_>,
    ) {
        for result in results {
            self.0.remove(&result.id);
            let row = rows.iter().find(|it| it.row.id == result.id);
            if let Some(it) = row.filter(|_| result.result == DrillResult::Red) {
                self.0.insert(result.id.clone(), guards.of_row(*it));
            }
        }
    }

    /// Why the row must run; `None` if nothing changed since it was red.
    fn reason(&self, it: DrilledRow<'_>, guards: &Guards<'_>) -> Option<Reason> {
        let Some(before) = self.0.get(&it.row.id) else { return Some(Reason::NoRecord) };
        let now = guards.of_row(it);
        let is_changed = |path: &&String| before.get(*path) != now.get(*path);
        let removed = before.keys().filter(|path| !now.contains_key(*path));
        let changed: Vec<_> = now.keys().chain(removed).filter(is_changed).cloned().collect();
        (!changed.is_empty()).then_some(Reason::Changed(changed))
    }
}

/// The files that red drills can depend on.
pub(super) struct Guards<'s> {
    sources: &'s Sources,
    /// Paths and texts of the drills' modules.
    drills: Vec<(&'s str, &'s str)>,
    /// Paths and texts of the programs' sources that ask for safeguards.
    programs: Vec<(&'s str, &'s str)>,
}

impl<'s> Guards<'s> {
    pub(super) fn of(sources: &'s Sources) -> Self {
        let files = |is_wanted: fn(&str, &str) -> bool| {
            sources.iter().filter(|(path, text)| is_wanted(path, text)).collect()
        };
        let drills = files(|path, _| path.starts_with(DRILLS) && path != REGISTRATION);
        Self { sources, drills, programs: files(is_program_with_safeguards) }
    }

    /// The row's entry, the files of its drill, and those in which its safeguards act.
    fn of_row(&self, it: DrilledRow<'_>) -> Guarded {
        let id = it.row.id.as_str();
        let module = drills::find(id).map(Drill::module).unwrap_or_default();
        let modules = self.modules_of_drill(module);
        let drill =
            self.drills.iter().filter(|(path, _)| modules.iter().any(|module| is_in(path, module)));
        let acting = self.programs.iter().filter(|(_, text)| {
            it.drill.sabotage.iter().any(|named| acts_in(named.safeguard, text))
        });
        let mut found: Guarded =
            drill.chain(acting).map(|(path, text)| ((*path).into(), digest([*text]))).collect();
        let registration = self.sources.text(REGISTRATION).unwrap_or_default();
        let values = has_its_values(id, registration).then_some(REGISTRATION);
        for path in COMMON.into_iter().chain(values) {
            found.insert(path.to_owned(), digest(self.sources.text(path)));
        }
        found.insert(ENTRY.to_owned(), digest([format!("{:?}", it.row).as_str()]));
        found
    }

    /// Names, under `chaos/src/drills/`, of the drill's module and of those that it uses.
    fn modules_of_drill(&self, module: &str) -> Vec<String> {
        let own = module.strip_prefix("chaos::drills::").unwrap_or_default();
        let mut found = vec![own.split("::").next().unwrap_or_default().to_owned()];
        let mut at = 0;
        while let Some(name) = found.get(at).cloned() {
            let files = self.drills.iter().filter(|(path, _)| is_in(path, &name));
            for used in files.flat_map(|(_, text)| words_after(text, "super::")) {
                let is_module = self.sources.text(&format!("{DRILLS}/{used}.rs")).is_some();
                if is_module && !found.iter().any(|name| name == used) {
                    found.push(used.to_owned());
                }
            }
            at += 1;
        }
        found
    }
}

/// Whether the file is the module, or in the module's folder.
fn is_in(path: &str, module: &str) -> bool {
    let rest = path.strip_prefix(DRILLS).and_then(|path| path.strip_prefix('/'));
    let rest = rest.and_then(|path| path.strip_prefix(module));
    rest.is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
}

/// Whether the values of the row's drill stand where it is registered, as those of `("F-6", &F_6)` do.
fn has_its_values(id: &str, registration: &str) -> bool {
    let line = registration.lines().find(|line| line.contains(&format!("(\"{id}\", &")));
    line.is_some_and(|line| !line.contains("::"))
}

fn is_program_with_safeguards(path: &str, text: &str) -> bool {
    let left_out = ["tests", "tests.rs", "benches", "chaos"];
    text.contains("afeguard")
        && path != REGISTRY
        && !path.split('/').any(|part| left_out.contains(&part))
}

/// Whether a source asks for the safeguard.
fn acts_in(safeguard: Safeguard, text: &str) -> bool {
    let variant = format!("{safeguard:?}");
    text.contains(&format!("safeguard!({variant})"))
        || words_after(text, "Safeguard::").any(|word| word == variant)
}

/// The identifiers that follow this text.
fn words_after<'t>(text: &'t str, before: &str) -> impl Iterator<Item = &'t str> {
    let is_letter = |letter: char| letter.is_alphanumeric() || letter == '_';
    let rests: Vec<_> = text.split(before).skip(1).collect();
    rests.into_iter().map(move |rest| rest.split(|letter| !is_letter(letter)).next().unwrap_or(""))
}

#[cfg(test)]
mod tests;
