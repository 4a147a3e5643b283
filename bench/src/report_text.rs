//! Formats a report as text.

use std::fmt::Write;

use crate::options::{Form, Target};
use crate::recorder::Percentiles;
use crate::report::{ComposerShare, Phase, ProcessFigures, Report};
use console::style;

/// Warn if other programs kept more cores busy than this.
const BUSY_CORES_WARNING: f64 = 0.2;
/// Width of the name column.
const NAME_WIDTH: usize = 26;
/// Width of the other columns.
const CELL_WIDTH: usize = 10;

pub(crate) fn render(report: &Report) -> String {
    let mut text =
        format!("\n  {}\n  {}\n", style(title(report)).bold(), style(machine(report)).dim());
    text += &latencies(report);
    text += &errors(report);
    text += &busy_warning(report);
    text += &gateway_table(report);
    for phase in report.phases.iter().filter(|phase| matches!(phase.target, Target::Dashboard(_))) {
        text += &process_table(phase);
    }
    text
}

fn title(report: &Report) -> String {
    let load = &report.arguments.load;
    let pace = match load.closed {
        Some(clients) => format!("{clients} clients in a closed loop"),
        None => format!("{} requests a second in an open loop", load.rate),
    };
    format!(
        "{pace}, {} connections, {} operators, {} widgets",
        load.connections, report.operators, report.widgets
    )
}

fn machine(report: &Report) -> String {
    let machine = report.machine;
    let [before, after] = machine.es256_us;
    let delay = match report.arguments.upstream_ms {
        0 => "No upstream is delayed.".to_owned(),
        ms => format!(
            "Stand-ins respond after {ms} ms ({}); the real services are not delayed.",
            report.delayed.join(", ")
        ),
    };
    format!(
        "{delay}\n  {} cores, shared with the load generator. Load average {:.1} before, {:.1} after.\n  \
         ES256 calibration: {before:.0} µs per verification before, {after:.0} µs after.",
        machine.cores, machine.load_before, machine.load_after
    )
}

fn row(name: &str, cells: &[String]) -> String {
    let mut line = format!("  {name:<NAME_WIDTH$}");
    for cell in cells {
        let _ = write!(line, "{cell:>CELL_WIDTH$}");
    }
    line + "\n"
}

fn head(name: &str, cells: &[&str]) -> String {
    let cells: Vec<String> = cells.iter().map(|&cell| cell.to_owned()).collect();
    format!("\n{}\n", style(row(name, &cells).trim_end_matches('\n')).dim())
}

fn ms(value: f64) -> String {
    format!("{value:.2}")
}

fn latencies(report: &Report) -> String {
    let cells = ["answers", "a second", "failed", "partial", "p50 ms", "p90", "p99", "max", "KB"];
    let mut text = head("Latency", &cells);
    for phase in &report.phases {
        let Percentiles { p50, p90, p99, max, .. } = phase.figures.latency_ms;
        let mut cells = vec![
            (phase.figures.whole + phase.figures.partial).to_string(),
            format!("{:.0}", phase.figures.per_second),
            phase.figures.failed.to_string(),
            phase.figures.partial.to_string(),
        ];
        cells.extend([p50, p90, p99, max].map(ms));
        cells.push(format!("{:.1}", phase.figures.body_bytes as f64 / 1e3));
        text += &row(phase.name, &cells);
        if phase.target == Target::Dashboard(Form::Ndjson) {
            let Percentiles { p50, p90, p99, max, .. } = phase.figures.first_byte_ms;
            let none = std::iter::repeat_n(String::new(), 4);
            let cells: Vec<_> = none.chain([p50, p90, p99, max].map(ms)).collect();
            text += &row("  first byte", &cells);
        }
    }
    if report.arguments.load.closed.is_none() {
        let latest =
            report.phases.iter().map(|phase| phase.figures.sent_late_ms.p99).fold(0.0, f64::max);
        text += &style(format!(
            "  Counted from when a request was due; at p99 it was sent {latest:.2} ms late at most.\n"
        )).dim().to_string();
    }
    text
}

fn errors(report: &Report) -> String {
    let mut text = String::new();
    for phase in &report.phases {
        for (why, count) in &phase.figures.errors {
            let line = format!("  {}: {count} × {why}", phase.name);
            let _ = writeln!(text, "{}", style(&line).red());
        }
    }
    text
}

/// Warning if other programs influenced the figures.
fn busy_warning(report: &Report) -> String {
    let others = report.phases.iter().map(|phase| phase.used.others).fold(0.0, f64::max);
    if others < BUSY_CORES_WARNING {
        return String::new();
    }
    let line = format!(
        "  Other programs kept up to {others:.1} of {} cores busy, which worsens the latencies.",
        report.machine.cores
    );
    style(&line).red().to_string() + "\n"
}

fn gateway_table(report: &Report) -> String {
    let cells = ["CPU µs", "user", "kernel", "p50 ms", "a widget"];
    let mut text = head("The gateway, per request", &cells);
    for phase in &report.phases {
        let Some(used) = phase.gateway() else { continue };
        let mut cells: Vec<String> = vec![us(used.cpu_us), us(used.user_us), us(used.system_us)];
        cells.push(ms(phase.figures.latency_ms.p50));
        text += &row(phase.name, &cells);
    }
    for ComposerShare { form, cpu_us, cpu_us_per_widget, p50_ms } in &report.shares {
        let none = String::new;
        let cells = [us(*cpu_us), none(), none(), ms(*p50_ms), us(*cpu_us_per_widget)];
        let line = row(&format!("composer's share, {}", form.label()), &cells);
        let _ = writeln!(text, "{}", style(line.trim_end_matches('\n')).bold());
    }
    text
}

fn us(value: f64) -> String {
    format!("{value:.0}")
}

fn process_table(phase: &Phase) -> String {
    let cells = ["CPU µs", "user", "kernel", "cores", "MiB now", "MiB peak"];
    let mut text = head(&format!("During {}", phase.name), &cells);
    for process in &phase.used.processes {
        text += &process_row(process);
    }
    let cells = |cores: f64| {
        let none = String::new;
        [none(), none(), none(), format!("{cores:.2}")]
    };
    text += &row("everything else", &cells(phase.used.others));
    text += &row("idle", &cells(phase.used.idle));
    text
}

fn process_row(process: &ProcessFigures) -> String {
    let mib = |kib: u64| format!("{:.1}", kib as f64 / 1024.0);
    let several = process.processes > 1;
    let name = match process.processes {
        0 | 1 => process.name.clone(),
        count => format!("{} ({count} processes)", process.name),
    };
    row(
        &name,
        &[
            us(process.cpu_us),
            us(process.user_us),
            us(process.system_us),
            format!("{:.2}", process.cores),
            mib(process.resident_kib),
            if several { "–".to_owned() } else { mib(process.peak_kib) },
        ],
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::system::{CpuTime, Usage};

    #[test]
    fn columns_stand_under_their_heads() {
        console::set_colors_enabled(false);
        let cpu_time =
            CpuTime { user: Duration::from_millis(300), system: Duration::from_millis(100) };
        let usage = Usage { processes: 1, resident: 2048, peak: 4096, ..Usage::default() };
        let figures =
            ProcessFigures::new("gateway", &usage, cpu_time, 1000, Duration::from_secs(1));
        let head = head("x", &["CPU µs", "user", "kernel", "cores", "MiB"]);
        let (head, row) = (head.trim_matches('\n'), process_row(&figures));
        let end = |line: &str, cell: &str| {
            let at = line.find(cell).unwrap() + cell.len();
            line[..at].chars().count()
        };
        for (name, cell) in [("CPU µs", "400"), ("user", "300"), ("cores", "0.40"), ("MiB", "2.0")]
        {
            assert_eq!(end(head, name), end(&row, cell), "{name}");
        }
    }
}
