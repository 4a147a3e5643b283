//! Report of a run, in JSON and Markdown.

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

impl Row {
    pub fn new(id: &str, entry: &Entry, seen: Observations) -> Self {
        let millis = |time: Option<Duration>| time.map(|time| time.as_millis());
        Self {
            id: id.to_owned(),
            title: entry.title.clone(),
            result: if seen.all_held() { DrillResult::Green } else { DrillResult::Broken },
            time_to_detect_ms: millis(seen.detected),
            time_to_recover_ms: millis(seen.recovered),
            objective_ms: Duration::from_secs(entry.recover_within_s).as_millis(),
            findings: seen.findings,
        }
    }
}

/// Counts and lists the rows that no safeguard turns red yet.
pub fn without_safeguard<'a>(
    rows: impl IntoIterator<Item = &'a (String, Entry)>,
) -> anyhow::Result<String> {
    let (mut count, mut lines) = (0, String::new());
    for (id, entry) in rows {
        let Some(reason) = &entry.no_safeguard else { continue };
        count += 1;
        writeln!(lines, "{id:6} {} · {reason}", entry.title)?;
    }
    Ok(format!("{count} rows have no safeguard yet.\n{lines}"))
}

/// Writes `report.md` and `report.json` and returns the path of the first. `skipped` says which
/// rows a run with safeguards switched off left out; `None` for other runs.
pub fn write(rows: &[Row], skipped: Option<&str>, folder: &Path) -> anyhow::Result<PathBuf> {
    std::fs::create_dir_all(folder)?;
    let name = if skipped.is_some() { "sabotage" } else { "report" };
    let file = folder.join(format!("{name}.md"));
    std::fs::write(&file, markdown(rows, skipped)?)?;
    std::fs::write(folder.join(format!("{name}.json")), serde_json::to_vec_pretty(rows)?)?;
    Ok(file)
}

fn markdown(rows: &[Row], skipped: Option<&str>) -> anyhow::Result<String> {
    let mut text = String::from("# Drills\n\n");
    if let Some(skipped) = skipped {
        text.push_str("Run with the safeguards switched off: every row must be broken.\n\n");
        writeln!(text, "```text\n{skipped}```\n")?;
    }
    text.push_str("| row | failure | detected | recovered | objective | result |\n|---|---|---|---|---|---|\n");
    for row in rows {
        let millis =
            |time: Option<u128>| time.map_or("–".to_owned(), |time| format!("{time} ms"));
        let result = if row.result == DrillResult::Green { "green" } else { "**broken**" };
        let (detected, recovered) = (millis(row.time_to_detect_ms), millis(row.time_to_recover_ms));
        writeln!(
            text,
            "| {} | {} | {detected} | {recovered} | {} ms | {result} |",
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sabotaged_run_says_which_rows_it_leaves_out() {
        let rows = crate::catalog::load().unwrap();
        let skipped = without_safeguard(&rows).unwrap();
        let count = rows.iter().filter(|(_, entry)| entry.sabotage.is_empty()).count();
        assert!(
            skipped.starts_with(&format!("{count} rows have no safeguard yet.\n")),
            "{skipped}"
        );
        let report = markdown(&[], Some(&skipped)).unwrap();
        assert!(report.contains(&skipped), "{report}");
        assert!(!markdown(&[], None).unwrap().contains("no safeguard"));
    }
}
