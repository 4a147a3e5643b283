//! Report of a run, in JSON and Markdown and as a page.

use std::collections::BTreeSet;
use std::fmt::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use crate::catalog::{Catalog, DrillEntry, DrilledRow};
use crate::observations::{Finding, Observations, Step};
use crate::timeline::Event;

mod page;

/// Results of a run.
#[derive(Debug, Serialize)]
pub struct Report {
    /// How many rows have a drill: the first line.
    pub summary: String,
    /// The rows without a drill: id and title.
    pub undrilled: Vec<(String, String)>,
    /// Rows that a run with safeguards switched off left out; `None` for other runs.
    pub skipped: Option<String>,
    pub took_ms: u128,
    pub rows: Vec<RowResult>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RowResult {
    pub id: String,
    pub title: String,
    pub kind: &'static str,
    pub schedule: &'static str,
    pub stands_for: Option<String>,
    /// What the catalogue says about detection, what users notice, mitigation and objective.
    pub detection: String,
    pub impact: String,
    pub mitigation: String,
    pub objective: String,
    pub runbook: String,
    pub result: DrillResult,
    pub time_to_detect_ms: Option<u128>,
    pub time_to_recover_ms: Option<u128>,
    pub objective_ms: u128,
    /// Including the start of an environment and its check.
    pub took_ms: u128,
    /// Without the environment.
    pub drill_ms: u128,
    pub events: Vec<Event>,
    /// Ids of the rows that ran at the same time.
    pub beside: BTreeSet<String>,
    pub environment: EnvOutcome,
    pub findings: Vec<Finding>,
    /// Page and output of each runbook whose commands the drill ran.
    pub command_outputs: Vec<(String, String)>,
}

/// What became of a row's environment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(into = "String")]
pub enum EnvOutcome {
    /// The next row could use it.
    Kept,
    /// No other row could use it, as the drill declares.
    #[default]
    Spent,
    /// No other row could use it, although the drill declares otherwise: why.
    Replaced(String),
}

impl From<EnvOutcome> for String {
    fn from(outcome: EnvOutcome) -> Self {
        match outcome {
            EnvOutcome::Kept => "kept".to_owned(),
            EnvOutcome::Spent => "spent".to_owned(),
            EnvOutcome::Replaced(reason) => format!("replaced: {reason}"),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(into = "String")]
pub enum DrillResult {
    /// Every finding held.
    Green,
    /// Without its safeguards, the row broke as its entry requires.
    Red,
    /// Findings broke that had to hold, or held that had to break: why.
    Broken(String),
    /// The drill itself failed: its error.
    Failed(String),
}

impl DrillResult {
    /// Result of a run with all safeguards.
    fn of(findings: &[Finding]) -> Self {
        let broken = broken(findings);
        match (findings.is_empty(), broken.is_empty()) {
            (true, _) => Self::Broken("nothing was found".to_owned()),
            (_, true) => Self::Green,
            (_, false) => Self::Broken(listed(broken)),
        }
    }

    /// Result of a run without the drill's safeguards; `chaos/catalog/README.md` states the rule.
    fn of_sabotaged(findings: &[Finding], drill: &DrillEntry) -> Self {
        let broken = broken(findings);
        let steady = findings.iter().find(|finding| !finding.held && finding.step == Step::Steady);
        let is_named = |name: &&str| drill.red.iter().any(|red| red == name);
        let follows = |name: &&str| drill.consequences.iter().any(|other| other == name);
        let others: Vec<_> =
            broken.iter().filter(|name| !is_named(name) && !follows(name)).collect();
        if let Some(steady) = steady {
            Self::Broken(format!("already before the fault: {}", steady.name))
        } else if !others.is_empty() {
            let others = listed(others.into_iter().copied());
            Self::Broken(format!("not named by `red` or `consequences`: {others}"))
        } else if !broken.iter().any(is_named) {
            let red = listed(drill.red.iter().map(String::as_str));
            Self::Broken(format!("held without its safeguards: {red}"))
        } else {
            Self::Red
        }
    }
}

/// Names of the findings that did not hold.
fn broken(findings: &[Finding]) -> BTreeSet<&str> {
    findings.iter().filter(|finding| !finding.held).map(|finding| finding.name.as_str()).collect()
}

/// Names of findings, as one text.
fn listed<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().collect::<Vec<_>>().join("; ")
}

impl fmt::Display for DrillResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Green => f.write_str("green"),
            Self::Red => f.write_str("red"),
            Self::Broken(why) => write!(f, "broken: {why}"),
            Self::Failed(error) => write!(f, "failed: {error}"),
        }
    }
}

impl From<DrillResult> for String {
    fn from(result: DrillResult) -> Self {
        result.to_string()
    }
}

impl RowResult {
    pub fn new(
        it: DrilledRow<'_>,
        seen: Observations,
        outcome: anyhow::Result<()>,
        is_sabotaged: bool,
    ) -> Self {
        let DrilledRow { row, drill } = it;
        let result = match outcome {
            Err(error) => DrillResult::Failed(format!("{error:#}")),
            Ok(()) if is_sabotaged => DrillResult::of_sabotaged(&seen.findings, drill),
            Ok(()) => DrillResult::of(&seen.findings),
        };
        let millis = |time: Option<Duration>| time.map(|time| time.as_millis());
        Self {
            id: row.id.clone(),
            title: row.title.clone(),
            kind: drill.kind.name(),
            schedule: drill.schedule.name(),
            stands_for: drill.stands_for.clone(),
            detection: row.detection.clone(),
            impact: row.impact.clone(),
            mitigation: row.mitigation.clone(),
            objective: row.objective.clone(),
            runbook: drill.runbook.clone(),
            result,
            time_to_detect_ms: millis(seen.detected),
            time_to_recover_ms: millis(seen.recovered),
            objective_ms: Duration::from_secs(drill.recover_within_s).as_millis(),
            took_ms: 0,
            drill_ms: seen.begun.elapsed().as_millis(),
            events: in_order(seen.events),
            beside: BTreeSet::new(),
            environment: EnvOutcome::default(),
            findings: seen.findings,
            command_outputs: seen.command_outputs,
        }
    }
}

fn in_order(mut events: Vec<Event>) -> Vec<Event> {
    events.sort_by_key(|event| event.at_ms);
    events
}

/// Counts and lists the drills that no safeguard turns red yet.
pub fn without_safeguard<'a>(
    rows: impl IntoIterator<Item = DrilledRow<'a>>,
) -> anyhow::Result<String> {
    let (mut count, mut lines) = (0, String::new());
    for DrilledRow { row, drill } in rows {
        let Some(reason) = &drill.no_safeguard else { continue };
        count += 1;
        writeln!(lines, "{:8} {} · {reason}", row.id, row.title)?;
    }
    Ok(format!("{count} drills have no safeguard yet.\n{lines}"))
}

impl Report {
    pub fn new(catalog: &Catalog, rows: Vec<RowResult>, took: Duration) -> Self {
        let undrilled = catalog.rows().iter().filter(|row| row.drill.is_none());
        let undrilled = undrilled.map(|row| (row.id.clone(), row.title.clone())).collect();
        let (summary, took_ms) = (catalog.summary(), took.as_millis());
        Self { summary, undrilled, skipped: None, took_ms, rows }
    }

    /// Writes `report.md`, `report.json` and `report.html`, or `sabotage.*`, and returns the path of the
    /// page.
    pub fn write(&self, folder: &Path) -> anyhow::Result<PathBuf> {
        std::fs::create_dir_all(folder)?;
        let name = if self.skipped.is_some() { "sabotage" } else { "report" };
        std::fs::write(folder.join(format!("{name}.md")), self.markdown()?)?;
        let file = folder.join(format!("{name}.html"));
        std::fs::write(&file, page::of(self)?)?;
        std::fs::write(folder.join(format!("{name}.json")), serde_json::to_vec_pretty(self)?)?;
        Ok(file)
    }

    fn markdown(&self) -> anyhow::Result<String> {
        let mut text = format!("{}\n\n# Drills\n\n", self.summary);
        if let Some(skipped) = &self.skipped {
            text.push_str("Run with the safeguards switched off: every row must be red.\n\n");
            writeln!(text, "```text\n{skipped}```\n")?;
        }
        text.push_str(
            "| row | failure | kind | schedule | detected | recovered | objective | result | stands for |\n\
             |---|---|---|---|---|---|---|---|---|\n",
        );
        for row in &self.rows {
            row.write_summary(&mut text)?;
        }
        for row in &self.rows {
            row.write_findings(&mut text)?;
        }
        Ok(text)
    }
}

impl RowResult {
    fn write_summary(&self, text: &mut String) -> fmt::Result {
        let millis =
            |time: Option<u128>| time.map_or("–".to_owned(), |time| format!("{time} ms"));
        let result = cell(&self.result.to_string());
        let result = match self.result {
            DrillResult::Green | DrillResult::Red => result,
            DrillResult::Broken(_) | DrillResult::Failed(_) => format!("**{result}**"),
        };
        writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} ms | {result} | {} |",
            self.id,
            self.title,
            self.kind,
            self.schedule,
            millis(self.time_to_detect_ms),
            millis(self.time_to_recover_ms),
            self.objective_ms,
            self.stands_for.as_deref().unwrap_or("–"),
        )
    }

    fn write_findings(&self, text: &mut String) -> fmt::Result {
        let Self { id, title, .. } = self;
        write!(
            text,
            "\n## {id} {title}\n\n| step | fault | expected | found | |\n|---|---|---|---|---|\n"
        )?;
        for finding in &self.findings {
            let mark = if finding.held { "held" } else { "**broken**" };
            writeln!(
                text,
                "| {} | {} | {} | {} | {mark} |",
                finding.step.name(),
                cell(finding.fault.as_deref().unwrap_or("–")),
                cell(&finding.name),
                cell(&finding.found)
            )?;
        }
        if let EnvOutcome::Replaced(reason) = &self.environment {
            writeln!(text, "\nIts environment was replaced: {reason}.")?;
        }
        if !self.beside.is_empty() {
            writeln!(text, "\nBeside it: {:?}.", self.beside)?;
        }
        Ok(())
    }
}

/// Text of a table's cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(rows: Vec<RowResult>, skipped: Option<String>) -> Report {
        let catalog = Catalog::load().unwrap();
        Report { skipped, ..Report::new(&catalog, rows, Duration::ZERO) }
    }

    #[test]
    fn a_report_begins_with_the_number_of_rows_without_a_drill() {
        let catalog = Catalog::load().unwrap();
        let rows =
            catalog.drilled().map(|it| RowResult::new(it, Observations::default(), Ok(()), false));
        let report = report(rows.collect(), None);
        let text = report.markdown().unwrap();
        assert_eq!(text.lines().next(), Some(catalog.summary().as_str()));
        assert!(
            text.contains("| F-24 | an edge rule blocks legitimate desktops | emulated | gate |")
        );
        assert!(text.contains("| the cloud firewall with rules in Terraform"), "{text}");
    }

    /// The first row that has safeguards, with these findings named.
    fn with_red(red: &str, consequence: &str) -> DrillEntry {
        let catalog = Catalog::load().unwrap();
        let drill = catalog.drilled().find(|it| !it.drill.sabotage.is_empty()).unwrap().drill;
        let (red, consequences) = (vec![red.to_owned()], vec![consequence.to_owned()]);
        DrillEntry { red, consequences, ..drill.clone() }
    }

    #[test]
    fn a_sabotaged_run_is_red_only_if_a_named_finding_breaks_and_no_other() {
        let drill = with_red("a tile is stale", "a log line is written");
        let result = |broken: &[(Step, &str)]| {
            let mut seen = Observations::default();
            seen.check(Step::Steady, "every widget is ok", true, "");
            for (step, name) in broken {
                seen.check(*step, name, false, "");
            }
            DrillResult::of_sabotaged(&seen.findings, &drill).to_string()
        };
        let (red, consequence) =
            ((Step::User, "a tile is stale"), (Step::Detection, "a log line is written"));
        assert_eq!(result(&[red]), "red");
        assert_eq!(result(&[consequence, red]), "red");
        assert!(result(&[]).starts_with("broken: held without its safeguards"));
        assert!(result(&[consequence]).starts_with("broken: held without its safeguards"));
        assert!(result(&[red, (Step::User, "x")]).starts_with("broken: not named by"));
        let steady = result(&[(Step::Steady, "every widget is ok"), red]);
        assert!(steady.starts_with("broken: already before the fault"), "{steady}");
    }

    #[test]
    fn an_error_is_the_row_s_result() {
        let catalog = Catalog::load().unwrap();
        let it = catalog.drilled().next().unwrap();
        let error = Err(anyhow::anyhow!("no stack"));
        let row = RowResult::new(it, Observations::default(), error, false);
        assert_eq!(row.result.to_string(), "failed: no stack");
        let report = report(vec![row], None);
        assert!(report.markdown().unwrap().contains("**failed: no stack**"));
    }

    #[test]
    fn a_sabotaged_run_says_which_rows_it_leaves_out() {
        let catalog = Catalog::load().unwrap();
        let skipped = without_safeguard(catalog.drilled()).unwrap();
        let count = catalog.drilled().filter(|it| it.drill.sabotage.is_empty()).count();
        assert!(
            skipped.starts_with(&format!("{count} drills have no safeguard yet.\n")),
            "{skipped}"
        );
        let text = report(Vec::new(), Some(skipped.clone())).markdown().unwrap();
        assert!(text.contains(&skipped), "{text}");
        assert!(!report(Vec::new(), None).markdown().unwrap().contains("no safeguard"));
    }
}
