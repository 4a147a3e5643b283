//! The results of repeated runs, kept by revision: those of different revisions are never mixed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::drill_env::DrillEnv;
use crate::sources::Revision;

/// One row in one run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Entry {
    pub(super) revision: String,
    /// When its run began, which identifies the run.
    pub(super) run: Timestamp,
    /// Id of the row, or `tests`.
    pub(super) row: String,
    pub(super) form: Form,
    pub(super) result: String,
    pub(super) as_expected: bool,
    pub(super) took_ms: u64,
    /// Ids of the rows that ran at the same time.
    pub(super) beside: BTreeSet<String>,
    /// Whether a full build ran at the same time.
    pub(super) beside_build: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Form {
    Green,
    Red,
    Tests,
}

/// The folder of one revision's results under `.local/repeat`.
#[derive(Debug)]
pub(super) struct History {
    folder: PathBuf,
}

impl History {
    pub(super) fn of(revision: &Revision) -> Self {
        Self { folder: DrillEnv::folder("repeat").join(revision.to_string()) }
    }

    /// Where the reports and logs of one run are written.
    pub(super) fn folder_of(&self, run: Timestamp) -> anyhow::Result<PathBuf> {
        let folder = self.folder.join(run.strftime("%Y-%m-%dT%H-%M-%S").to_string());
        fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
        Ok(folder)
    }

    /// Adds a line for each entry.
    pub(super) fn append(&self, entries: &[Entry]) -> anyhow::Result<()> {
        let path = self.file();
        let mut lines = Vec::new();
        for entry in entries {
            serde_json::to_writer(&mut lines, entry)?;
            lines.push(b'\n');
        }
        fs::create_dir_all(&self.folder)?;
        let file = OpenOptions::new().create(true).append(true).open(&path);
        let mut file = file.with_context(|| format!("opening {}", path.display()))?;
        file.write_all(&lines).with_context(|| format!("writing {}", path.display()))
    }

    /// The results of all runs of the revision so far.
    pub(super) fn read(&self) -> anyhow::Result<Results> {
        let path = self.file();
        let file = match File::open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Results::default()),
            other => other.with_context(|| format!("opening {}", path.display()))?,
        };
        let mut entries = Vec::new();
        for line in BufReader::new(file).lines() {
            let entry = serde_json::from_str(&line?);
            entries
                .push(entry.with_context(|| format!("a line of {} is damaged", path.display()))?);
        }
        Ok(Results(entries))
    }

    pub(super) fn path(&self) -> &Path {
        &self.folder
    }

    fn file(&self) -> PathBuf {
        self.folder.join("results.jsonl")
    }
}

/// Results of runs of one revision. Displayed as a table of the rows that were not always as expected.
#[derive(Debug, Default)]
pub(super) struct Results(Vec<Entry>);

impl Results {
    /// Number of runs.
    pub(super) fn runs(&self) -> usize {
        runs(&mut self.0.iter())
    }

    /// Ids of the rows that have a result in this form.
    pub(super) fn rows(&self, form: Form) -> BTreeSet<&str> {
        let entries = self.0.iter().filter(|entry| entry.form == form);
        entries.map(|entry| entry.row.as_str()).collect()
    }

    pub(super) fn are_as_expected(&self) -> bool {
        self.0.iter().all(|entry| entry.as_expected)
    }
}

fn runs(entries: &mut dyn Iterator<Item = &Entry>) -> usize {
    entries.map(|entry| entry.run).collect::<BTreeSet<_>>().len()
}

impl fmt::Display for Results {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.runs();
        let beside = runs(&mut self.0.iter().filter(|entry| entry.beside_build));
        let right = self.0.iter().filter(|entry| entry.as_expected).count();
        writeln!(
            f,
            "Runs of this revision: {all}, {beside} of them beside a build. {right} of {} results are as \
             expected.",
            self.0.len()
        )?;
        let mut rows: BTreeMap<_, Vec<&Entry>> = BTreeMap::new();
        for entry in &self.0 {
            rows.entry((entry.form, &entry.row)).or_default().push(entry);
        }
        rows.retain(|_, entries| entries.iter().any(|entry| !entry.as_expected));
        if rows.is_empty() {
            return Ok(());
        }
        writeln!(
            f,
            "{:8} {:6} {:>12} {:>14}  last such result",
            "row", "form", "wrong", "beside a build"
        )?;
        for ((form, row), entries) in rows {
            let wrong: Vec<_> = entries.iter().filter(|entry| !entry.as_expected).collect();
            let beside = wrong.iter().filter(|entry| entry.beside_build).count();
            let count = format!("{} of {}", wrong.len(), entries.len());
            let last = wrong.last().map(|entry| entry.result.as_str()).unwrap_or_default();
            writeln!(f, "{row:8} {form:6} {count:>12} {beside:>14}  {last}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Green => "green",
            Self::Red => "red",
            Self::Tests => "tests",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(run: i64, row: &str, result: &str, beside_build: bool) -> Entry {
        Entry {
            revision: "a".to_owned(),
            run: Timestamp::from_second(run).unwrap(),
            row: row.to_owned(),
            form: if result == "red" { Form::Red } else { Form::Green },
            result: result.to_owned(),
            as_expected: ["green", "red"].contains(&result),
            took_ms: 1,
            beside: ["F-9".to_owned()].into(),
            beside_build,
        }
    }

    fn history(files: &str) -> History {
        History::of(&Revision { commit: None, files: format!("{files}-{}", std::process::id()) })
    }

    #[test]
    fn results_are_kept_and_those_of_another_revision_are_not_read() {
        let (one, other) = (history("one"), history("other"));
        let entries = [entry(1, "F-1", "green", false), entry(1, "F-1", "red", true)];
        one.append(&entries[..1]).unwrap();
        one.append(&entries[1..]).unwrap();
        assert_eq!(one.read().unwrap().0, entries);
        assert!(other.read().unwrap().0.is_empty());
        fs::remove_dir_all(one.path()).unwrap();
    }

    #[test]
    fn rows_that_were_always_as_expected_are_counted_and_not_listed() {
        let results = Results(vec![entry(1, "F-1", "green", false), entry(2, "F-1", "red", true)]);
        assert!(results.are_as_expected());
        let text = results.to_string();
        let counts =
            "Runs of this revision: 2, 1 of them beside a build. 2 of 2 results are as expected.";
        assert_eq!(text.trim(), counts);
    }

    #[test]
    fn a_row_that_was_once_not_as_expected_is_listed_with_its_last_such_result() {
        let results = Results(vec![
            entry(1, "F-1", "broken: a tile is stale", false),
            entry(2, "F-1", "failed: no stack", true),
            entry(3, "F-1", "green", false),
            entry(3, "F-2", "green", false),
        ]);
        assert!(!results.are_as_expected());
        let text = results.to_string();
        let rows: Vec<Vec<_>> =
            text.lines().skip(2).map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows, [["F-1", "green", "2", "of", "3", "1", "failed:", "no", "stack"]]);
    }
}
