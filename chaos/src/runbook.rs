//! The pages of `ops/runbooks/` that a drill rehearses, and their commands, run on the drill's stack.
//!
//! Not here: what the commands do; `ops/runbooks/run` finds and runs them.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, ensure};
use launcher::builder::workspace_root;
use tokio::process::Command;

use crate::catalog::DrilledRow;

const FOLDER: &str = "ops/runbooks";
/// The program `timeout` ends the commands of a page after this.
const SECONDS: &str = "60";
/// Lines of a failed page in a finding.
const SHOWN_LINES: usize = 5;
const DRILL_LINE: &str = "Drill: ";

/// A page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runbook {
    /// Its file under `ops/runbooks/`, without the ending.
    pub page: String,
}

/// What the commands of a page printed.
#[derive(Debug)]
pub struct CommandOutput {
    pub succeeded: bool,
    pub text: String,
}

impl Runbook {
    pub fn new(page: &str) -> Self {
        Self { page: page.to_owned() }
    }

    /// Pages that the drill of a row rehearses: the row's own, if its drill line names the row, and others
    /// whose drill line names it first.
    pub fn rehearsed_by(it: DrilledRow<'_>) -> anyhow::Result<Vec<Self>> {
        let (id, mut found) = (&it.row.id, Vec::new());
        for runbook in Self::all()? {
            let drills = runbook.drills()?;
            let is_own = runbook.page == it.drill.runbook && drills.contains(id);
            if is_own || drills.first() == Some(id) {
                found.push(runbook);
            }
        }
        Ok(found)
    }

    /// Every page, sorted by name.
    pub fn all() -> anyhow::Result<Vec<Self>> {
        let folder = workspace_root().join(FOLDER);
        let mut pages = Vec::new();
        for service in entries(&folder)?.into_iter().filter(|path| path.is_dir()) {
            for file in entries(&service)? {
                let page = file.strip_prefix(&folder)?.with_extension("");
                pages.push(Self::new(&page.to_string_lossy()));
            }
        }
        ensure!(!pages.is_empty(), "{} has no pages", folder.display());
        Ok(pages)
    }

    /// Rows that the page's drill line names.
    pub fn drills(&self) -> anyhow::Result<Vec<String>> {
        let page = &self.page;
        let file = workspace_root().join(FOLDER).join(format!("{page}.md"));
        let text = std::fs::read_to_string(&file).with_context(|| format!("reading {page}"))?;
        let line = text.lines().find_map(|line| line.strip_prefix(DRILL_LINE));
        let line = line.with_context(|| format!("{page} has no line \"{DRILL_LINE}…\""))?;
        let words = line.split(|letter: char| !letter.is_alphanumeric() && !"-.".contains(letter));
        let words = words.map(|word| word.trim_end_matches('.'));
        Ok(words.filter(|word| is_row(word)).map(str::to_owned).collect())
    }

    /// Name of the finding that the commands succeed.
    pub fn finding(&self) -> String {
        format!("the commands of {} run", self.page)
    }

    /// Runs the commands that change nothing, on the stack with this data folder.
    pub async fn run(&self, stack: &Path) -> anyhow::Result<CommandOutput> {
        self.run_blocks(&[], stack).await
    }

    /// Runs only the commands that change something.
    pub async fn act(&self, stack: &Path) -> anyhow::Result<CommandOutput> {
        self.run_blocks(&["--only-effects"], stack).await
    }

    async fn run_blocks(&self, which: &[&str], stack: &Path) -> anyhow::Result<CommandOutput> {
        let output = Command::new("bash")
            .args(["-c", "exec timeout --kill-after=5 \"$@\" 2>&1", "runbook", SECONDS])
            .arg(workspace_root().join(FOLDER).join("run"))
            .args(which)
            .arg(&self.page)
            .env("MELMASTOON_LOCAL", stack)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .with_context(|| format!("running the commands of {}", self.page))?;
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        Ok(CommandOutput { succeeded: output.status.success(), text })
    }
}

/// Whether a word is the id of a row, such as `HK-3.3`.
fn is_row(word: &str) -> bool {
    word.split_once('-').is_some_and(|(catalogue, number)| {
        !catalogue.is_empty()
            && catalogue.chars().all(|letter| letter.is_ascii_uppercase())
            && number.starts_with(|letter: char| letter.is_ascii_digit())
    })
}

impl CommandOutput {
    /// How many lines were printed, or the last ones if a command failed.
    pub fn summary(&self) -> String {
        let lines: Vec<&str> = self.text.lines().collect();
        let last = &lines[lines.len().saturating_sub(SHOWN_LINES)..];
        if self.succeeded { format!("{} lines", lines.len()) } else { last.join(" / ") }
    }
}

/// Entries of a folder, sorted.
fn entries(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries =
        std::fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Catalog;

    #[test]
    fn a_row_and_its_page_name_each_other() {
        let catalog = Catalog::load().unwrap();
        for it in catalog.drilled() {
            let (id, page) = (&it.row.id, &it.drill.runbook);
            let drills = Runbook::new(page).drills().unwrap();
            let first = catalog.drilled().find(|other| other.row.id == drills[0]);
            let first = first.unwrap_or_else(|| panic!("{id}: {page} names no drill first"));
            assert_eq!(first.drill.runbook, *page, "{page} begins with {}", first.row.id);
        }
    }

    #[test]
    fn a_drill_rehearses_its_own_page_and_those_that_name_it_first() {
        let catalog = Catalog::load().unwrap();
        let pages = |id: &str| {
            let it = catalog.drilled().find(|it| it.row.id == id).unwrap();
            let found = Runbook::rehearsed_by(it).unwrap();
            found.into_iter().map(|runbook| runbook.page).collect::<Vec<_>>()
        };
        let tier = ["bff-backoffice/memorystore-session-down", "bff-backoffice/not-ready"];
        assert_eq!(pages("F-18"), tier);
        assert_eq!(pages("F-6"), ["bff-backoffice/upstream-down"]);
        assert_eq!(pages("HK-3.3"), ["bff-backoffice/internal-auth", "housekeeping/internal-auth"]);
        assert!(pages("DT-11").is_empty(), "its page does not name it");
    }
}
