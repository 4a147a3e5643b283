//! The report as one page without external resources: a line per drill with its timeline, the findings
//! folded.

use std::fmt::{self, Display, Write};

use super::{DrillResult, EnvOutcome, Report, RowResult};
use crate::observations::Finding;
use crate::timeline::{Event, EventKind};

const STYLE: &str = include_str!("page.css");
/// The page lies in `.local/drills/`.
const RUNBOOKS: &str = "../../ops/runbooks";

/// A text with the characters replaced that have a meaning in HTML.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for letter in self.0.chars() {
            match letter {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

/// A time as people read it; `None` was not measured.
struct Millis(Option<u128>);

impl Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str("–"),
            Some(millis @ ..1_000) => write!(f, "{millis} ms"),
            Some(millis @ ..60_000) => write!(f, "{:.1} s", millis as f64 / 1_000.0),
            Some(millis) => write!(f, "{} min {} s", millis / 60_000, millis / 1_000 % 60),
        }
    }
}

pub(super) fn of(report: &Report) -> Result<String, fmt::Error> {
    let mut page = String::new();
    let title = if report.skipped.is_some() { "Drills with safeguards off" } else { "Drills" };
    writeln!(
        page,
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n<main>\n<h1>{title}</h1>"
    )?;
    write_counts(report, &mut page)?;
    write_wrong(report, &mut page)?;
    write_undrilled(report, &mut page)?;
    write_legend(&mut page)?;
    page.push_str(
        "<div class=\"head\"><span>Row</span><span>Timeline</span><span>Detected</span>\
         <span>Recovered</span><span>Result</span></div>\n",
    );
    for row in &report.rows {
        write_row(row, report.skipped.is_some(), &mut page)?;
    }
    if let Some(skipped) = report.skipped.as_deref().filter(|_| !report.rows.is_empty()) {
        let text = Escaped(skipped);
        writeln!(
            page,
            "<details class=\"list\"><summary>Rows left out</summary><pre>{text}</pre></details>"
        )?;
    }
    page.push_str("</main>\n</html>\n");
    Ok(page)
}

/// Undrilled rows first: what was not drilled is not known.
fn write_counts(report: &Report, page: &mut String) -> fmt::Result {
    let sabotaged = report.skipped.is_some();
    let right = report.rows.iter().filter(|row| is_right(row, sabotaged)).count();
    let wrong = report.rows.len() - right;
    let replaced = report.rows.iter().filter(|row| is_replaced(row)).count();
    let took = Millis(Some(report.took_ms)).to_string();
    let undrilled = report.undrilled.len();
    page.push_str("<div class=\"counts\">");
    for (class, count, what) in [
        (
            if undrilled > 0 { "warn" } else { "good" },
            undrilled.to_string(),
            "rows without a drill",
        ),
        (if wrong > 0 { "bad" } else { "good" }, wrong.to_string(), "not as expected"),
        ("good", right.to_string(), if sabotaged { "red, as expected" } else { "green" }),
        (if replaced > 0 { "warn" } else { "" }, replaced.to_string(), "environments replaced"),
        ("", took, "in all"),
    ] {
        write!(page, "<p class=\"{class}\"><b>{count}</b> {what}</p>")?;
    }
    page.push_str("</div>\n");
    Ok(())
}

/// Links to the rows that need attention.
fn write_wrong(report: &Report, page: &mut String) -> fmt::Result {
    let sabotaged = report.skipped.is_some();
    let mut wrong = report.rows.iter().filter(|row| !is_right(row, sabotaged)).peekable();
    if wrong.peek().is_none() {
        return Ok(());
    }
    page.push_str("<p class=\"wrong\">Not as expected:");
    for row in wrong {
        let (id, title) = (Escaped(&row.id), Escaped(&row.title));
        write!(page, " <a href=\"#{id}\" title=\"{title}\">{id}</a>")?;
    }
    page.push_str("</p>\n");
    Ok(())
}

fn write_undrilled(report: &Report, page: &mut String) -> fmt::Result {
    if report.undrilled.is_empty() {
        return Ok(());
    }
    let summary = Escaped(&report.summary);
    write!(page, "<details class=\"list\"><summary>{summary}</summary><ul>")?;
    for (id, title) in &report.undrilled {
        write!(page, "<li><b>{}</b> {}</li>", Escaped(id), Escaped(title))?;
    }
    page.push_str("</ul></details>\n");
    Ok(())
}

fn write_legend(page: &mut String) -> fmt::Result {
    page.push_str("<p class=\"legend\">");
    for kind in EventKind::ALL {
        write!(page, "<span><i class=\"mark {}\"></i>{}</span>", class(kind), kind.name())?;
    }
    page.push_str("</p>\n");
    Ok(())
}

fn write_row(row: &RowResult, sabotaged: bool, page: &mut String) -> fmt::Result {
    let right = is_right(row, sabotaged);
    let (class, open) = if right { ("good", "") } else { ("bad", " open") };
    let result = match &row.result {
        DrillResult::Green => "green",
        DrillResult::Red => "red",
        DrillResult::Broken(_) => "broken",
        DrillResult::Failed(_) => "failed",
    };
    write!(
        page,
        "<details class=\"row {class}\"{open} id=\"{0}\"><summary>\
         <span class=\"name\"><b>{0}</b> {1}</span>",
        Escaped(&row.id),
        Escaped(&row.title)
    )?;
    write_timeline(row, page)?;
    write!(
        page,
        "<span class=\"figure\"><small class=\"label\">detected</small> {}</span>\
         <span class=\"figure\"><small class=\"label\">recovered</small> {} <small>of {}</small></span>\
         <span class=\"result\">{result}</span></summary>\n<div class=\"body\">",
        Millis(row.time_to_detect_ms),
        Millis(row.time_to_recover_ms),
        Millis(Some(row.objective_ms)),
    )?;
    if !right {
        write!(page, "<p class=\"why\">{}</p>", Escaped(&row.result.to_string()))?;
    }
    write_facts(row, page)?;
    write_events(row, page)?;
    write_findings(&row.findings, page)?;
    write_command_outputs(row, page)?;
    page.push_str("</div></details>\n");
    Ok(())
}

/// The bands between a fault and its removal, and from there to the steady state, and a mark per event.
fn write_timeline(row: &RowResult, page: &mut String) -> fmt::Result {
    let length = row.drill_ms.max(1) as f64;
    let percent = |at: u64| (at as f64 / length * 100.0).min(100.0);
    page.push_str("<span class=\"timeline\"><span class=\"line\">");
    for (class, from, to) in bands(&row.events, row.drill_ms as u64) {
        let (left, width) = (percent(from), percent(to) - percent(from));
        write!(page, "<i class=\"band {class}\" style=\"left:{left:.2}%;width:{width:.2}%\"></i>")?;
    }
    for event in &row.events {
        let (class, left) = (class(event.kind), percent(event.at_ms));
        let title = format!("{} {}: {}", at(event.at_ms), event.kind.name(), event.what);
        let title = Escaped(&title);
        write!(page, "<i class=\"mark {class}\" style=\"left:{left:.2}%\" title=\"{title}\"></i>")?;
    }
    write!(page, "</span><small>{}</small></span>", Millis(Some(row.drill_ms)))
}

/// Class, start and end of each band. A fault that is not removed lasts until the end.
fn bands(events: &[Event], end: u64) -> Vec<(&'static str, u64, u64)> {
    let (mut bands, mut fault, mut removed) = (Vec::new(), None, None);
    for event in events {
        match event.kind {
            EventKind::Fault if fault.is_none() => fault = Some(event.at_ms),
            EventKind::Removed => {
                bands.extend(fault.take().map(|from| ("fault", from, event.at_ms)));
                removed = Some(event.at_ms);
            }
            EventKind::Steady => {
                bands.extend(removed.take().map(|from| ("recovery", from, event.at_ms)));
            }
            _ => {}
        }
    }
    bands.extend(fault.map(|from| ("fault", from, end)));
    bands
}

fn write_facts(row: &RowResult, page: &mut String) -> fmt::Result {
    page.push_str("<dl>");
    let beside: Vec<&str> = row.beside.iter().map(String::as_str).collect();
    let kind = row.stands_for.as_ref().map_or_else(
        || row.kind.to_owned(),
        |stands_for| format!("{}, stands for {stands_for}", row.kind),
    );
    let kind = format!("{kind} · {}", row.schedule);
    let environment = String::from(row.environment.clone());
    let took = format!("{} with its environment", Millis(Some(row.took_ms)));
    for (name, text) in [
        ("Detection", row.detection.as_str()),
        ("Users notice", &row.impact),
        ("Mitigation", &row.mitigation),
        ("Objective", &row.objective),
        ("Kind", &kind),
        ("Took", &took),
        ("Environment", &environment),
        ("Ran beside it", &beside.join(", ")),
    ] {
        if !text.is_empty() {
            write!(page, "<dt>{name}</dt><dd>{}</dd>", Escaped(text))?;
        }
    }
    let runbook = Escaped(&row.runbook);
    writeln!(
        page,
        "<dt>Runbook</dt><dd><a href=\"{RUNBOOKS}/{runbook}.md\">{runbook}</a></dd></dl>"
    )
}

fn write_events(row: &RowResult, page: &mut String) -> fmt::Result {
    if row.events.is_empty() {
        return Ok(());
    }
    page.push_str("<ol class=\"events\">");
    for event in &row.events {
        write!(
            page,
            "<li><time>{}</time><i class=\"mark {}\"></i><span>{}: {}</span></li>",
            at(event.at_ms),
            class(event.kind),
            event.kind.name(),
            Escaped(&event.what)
        )?;
    }
    page.push_str("</ol>\n");
    Ok(())
}

fn write_findings(findings: &[Finding], page: &mut String) -> fmt::Result {
    if findings.is_empty() {
        return Ok(());
    }
    page.push_str(
        "<table><tr><th></th><th>At</th><th>Step</th><th>Fault</th><th>Expected</th><th>Found</th></tr>",
    );
    for finding in findings {
        let (class, mark) = if finding.held { ("good", "✓") } else { ("bad", "✗") };
        write!(
            page,
            "<tr class=\"{class}\"><td>{mark}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td>\
             <td>{}</td></tr>",
            at(finding.at_ms),
            finding.step.name(),
            Escaped(finding.fault.as_deref().unwrap_or_default()),
            Escaped(&finding.name),
            Escaped(&finding.found)
        )?;
    }
    page.push_str("</table>");
    Ok(())
}

fn write_command_outputs(row: &RowResult, page: &mut String) -> fmt::Result {
    for (runbook, text) in &row.command_outputs {
        write!(
            page,
            "<details class=\"commands\"><summary>Commands of {} during the fault</summary>\
             <pre>{}</pre></details>",
            Escaped(runbook),
            Escaped(text)
        )?;
    }
    Ok(())
}

/// A moment since the drill began.
fn at(millis: u64) -> String {
    format!("{:.2} s", millis as f64 / 1_000.0)
}

fn class(kind: EventKind) -> &'static str {
    match kind {
        EventKind::Fault => "fault",
        EventKind::Symptom => "symptom",
        EventKind::Pending => "pending",
        EventKind::Firing => "firing",
        EventKind::Command => "command",
        EventKind::Removed => "removed",
        EventKind::Steady => "steady",
        EventKind::Resolved => "resolved",
    }
}

fn is_right(row: &RowResult, sabotaged: bool) -> bool {
    row.result == if sabotaged { DrillResult::Red } else { DrillResult::Green }
}

fn is_replaced(row: &RowResult) -> bool {
    matches!(row.environment, EnvOutcome::Replaced(_))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::catalog::Catalog;
    use crate::observations::{Observations, Step};

    fn page() -> String {
        let catalog = Catalog::load().unwrap();
        let mut seen = Observations::default();
        seen.check(Step::Fault, "a <b> & \"c\"", true, "done");
        seen.recovered_after(Duration::ZERO);
        let it = catalog.drilled().next().unwrap();
        let row = RowResult::new(it, seen, Ok(()), false);
        of(&Report::new(&catalog, vec![row], Duration::ZERO)).unwrap()
    }

    #[test]
    fn undrilled_rows_are_counted_first() {
        let page = page();
        let (undrilled, result) = (page.find("rows without a drill"), page.find("class=\"row "));
        assert!(undrilled.is_some() && undrilled < result);
    }

    #[test]
    fn a_page_needs_nothing_from_elsewhere_and_shows_texts_as_they_are() {
        let page = page();
        for outside in ["http:", "https:", "<script", "@import", "url("] {
            assert!(!page.contains(outside), "{outside}");
        }
        assert!(page.contains("a &lt;b&gt; &amp; &quot;c&quot;"), "{page}");
    }

    #[test]
    fn a_fault_lasts_until_it_is_removed() {
        let event = |at_ms, kind| Event { at_ms, kind, what: String::new() };
        let events = [
            event(1, EventKind::Fault),
            event(2, EventKind::Symptom),
            event(5, EventKind::Removed),
            event(7, EventKind::Steady),
            event(8, EventKind::Fault),
        ];
        let expected = vec![("fault", 1, 5), ("recovery", 5, 7), ("fault", 8, 9)];
        assert_eq!(bands(&events, 9), expected);
    }
}
