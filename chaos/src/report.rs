//! Report of a run, in JSON and Markdown.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use crate::catalog::DrilledRow;
use crate::observations::{Finding, Observations};

/// Results of a run.
#[derive(Debug, Serialize)]
pub struct Report {
    /// How many rows have a drill: the first line.
    pub summary: String,
    /// Rows that a run with safeguards switched off left out; `None` for other runs.
    pub skipped: Option<String>,
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
    pub result: DrillResult,
    pub time_to_detect_ms: Option<u128>,
    pub time_to_recover_ms: Option<u128>,
    pub objective_ms: u128,
    pub findings: Vec<Finding>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DrillResult {
    Green,
    Broken,
}

impl RowResult {
    pub fn new(it: DrilledRow<'_>, seen: Observations) -> Self {
        let DrilledRow { row, drill } = it;
        let millis = |time: Option<Duration>| time.map(|time| time.as_millis());
        Self {
            id: row.id.clone(),
            title: row.title.clone(),
            kind: drill.kind.name(),
            schedule: drill.schedule.name(),
            stands_for: drill.stands_for.clone(),
            result: if seen.all_held() { DrillResult::Green } else { DrillResult::Broken },
            time_to_detect_ms: millis(seen.detected),
            time_to_recover_ms: millis(seen.recovered),
            objective_ms: Duration::from_secs(drill.recover_within_s).as_millis(),
            findings: seen.findings,
        }
    }
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
    /// Writes `report.md` and `report.json`, or `sabotage.*`, and returns the path of the first.
    pub fn write(&self, folder: &Path) -> anyhow::Result<PathBuf> {
        std::fs::create_dir_all(folder)?;
        let name = if self.skipped.is_some() { "sabotage" } else { "report" };
        let file = folder.join(format!("{name}.md"));
        std::fs::write(&file, self.markdown()?)?;
        std::fs::write(folder.join(format!("{name}.json")), serde_json::to_vec_pretty(self)?)?;
        Ok(file)
    }

    fn markdown(&self) -> anyhow::Result<String> {
        let mut text = format!("{}\n\n# Drills\n\n", self.summary);
        if let Some(skipped) = &self.skipped {
            text.push_str("Run with the safeguards switched off: every row must be broken.\n\n");
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
    fn write_summary(&self, text: &mut String) -> std::fmt::Result {
        let millis =
            |time: Option<u128>| time.map_or("–".to_owned(), |time| format!("{time} ms"));
        let result = if self.result == DrillResult::Green { "green" } else { "**broken**" };
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

    fn write_findings(&self, text: &mut String) -> std::fmt::Result {
        let Self { id, title, .. } = self;
        write!(text, "\n## {id} {title}\n\n| step | expected | found | |\n|---|---|---|---|\n")?;
        for finding in &self.findings {
            let mark = if finding.held { "held" } else { "**broken**" };
            writeln!(
                text,
                "| {} | {} | {} | {mark} |",
                finding.step.name(),
                finding.expected,
                finding.found
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Catalog;

    #[test]
    fn a_report_begins_with_the_number_of_rows_without_a_drill() {
        let catalog = Catalog::load().unwrap();
        let rows = catalog.drilled().map(|it| RowResult::new(it, Observations::default()));
        let report = Report { summary: catalog.summary(), skipped: None, rows: rows.collect() };
        let text = report.markdown().unwrap();
        assert_eq!(text.lines().next(), Some(catalog.summary().as_str()));
        assert!(
            text.contains("| F-24 | an edge rule blocks legitimate desktops | emulated | gate |")
        );
        assert!(text.contains("| the cloud firewall with rules in Terraform"), "{text}");
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
        let report = |skipped| Report { summary: String::new(), skipped, rows: Vec::new() };
        let text = report(Some(skipped.clone())).markdown().unwrap();
        assert!(text.contains(&skipped), "{text}");
        assert!(!report(None).markdown().unwrap().contains("no safeguard"));
    }
}
