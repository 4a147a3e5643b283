//! The report of a run: JSON for machines, Markdown for people.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use crate::catalog::Entry;
use crate::observations::{Finding, Observations};

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    pub id: String,
    pub title: String,
    pub verdict: Verdict,
    pub time_to_detect_ms: Option<u128>,
    pub time_to_recover_ms: Option<u128>,
    pub objective_ms: u128,
    pub findings: Vec<Finding>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Green,
    Broken,
}

impl Row {
    pub fn new(id: &str, entry: &Entry, seen: Observations) -> Self {
        let millis = |time: Option<Duration>| time.map(|time| time.as_millis());
        Self {
            id: id.to_owned(),
            title: entry.title.clone(),
            verdict: if seen.all_held() { Verdict::Green } else { Verdict::Broken },
            time_to_detect_ms: millis(seen.detected),
            time_to_recover_ms: millis(seen.recovered),
            objective_ms: Duration::from_secs(entry.recover_within_s).as_millis(),
            findings: seen.findings,
        }
    }
}

/// Writes `report.md` and `report.json` and answers where the first is.
pub fn write(rows: &[Row], sabotaged: bool, folder: &Path) -> anyhow::Result<PathBuf> {
    std::fs::create_dir_all(folder)?;
    let name = if sabotaged { "sabotage" } else { "report" };
    let file = folder.join(format!("{name}.md"));
    std::fs::write(&file, markdown(rows, sabotaged)?)?;
    std::fs::write(folder.join(format!("{name}.json")), serde_json::to_vec_pretty(rows)?)?;
    Ok(file)
}

fn markdown(rows: &[Row], sabotaged: bool) -> anyhow::Result<String> {
    let mut text = String::from("# Drills\n\n");
    if sabotaged {
        text.push_str("Run with the protections switched off: every row must be broken.\n\n");
    }
    text.push_str("| row | failure | detected | recovered | objective | verdict |\n|---|---|---|---|---|---|\n");
    for row in rows {
        let millis =
            |time: Option<u128>| time.map_or("–".to_owned(), |time| format!("{time} ms"));
        let verdict = if row.verdict == Verdict::Green { "green" } else { "**broken**" };
        let (detected, recovered) = (millis(row.time_to_detect_ms), millis(row.time_to_recover_ms));
        writeln!(
            text,
            "| {} | {} | {detected} | {recovered} | {} ms | {verdict} |",
            row.id, row.title, row.objective_ms
        )?;
    }
    for row in rows {
        write!(
            text,
            "\n## {} {}\n\n| step | expected | found | |\n|---|---|---|---|\n",
            row.id, row.title
        )?;
        for finding in &row.findings {
            let mark = if finding.held { "held" } else { "**broken**" };
            writeln!(
                text,
                "| {} | {} | {} | {mark} |",
                finding.step.name(),
                finding.expected,
                finding.found
            )?;
        }
    }
    Ok(text)
}
