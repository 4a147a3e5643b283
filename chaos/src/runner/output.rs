//! What a run prints for people: the findings of each row as one block when the row ends.

use std::fmt::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use launcher::progress::{Progress, Step};
use tokio::time::Instant;

use crate::catalog::Row;
use crate::report::{EnvOutcome, RowResult};

#[expect(clippy::print_stdout, reason = "for people")]
pub(super) fn print(text: &str) {
    println!("{text}");
}

/// Minutes and seconds, as a person says them.
pub(super) fn minutes(time: Duration) -> String {
    let seconds = time.as_secs();
    format!("{} min {} s", seconds / 60, seconds % 60)
}

/// Prints blocks of several lanes, one after the other.
pub(super) struct Output {
    progress: Progress,
    begun: Instant,
    rows: usize,
    ended: AtomicUsize,
}

impl Output {
    pub(super) fn new(rows: usize) -> Self {
        let (progress, ended) = (Progress::for_screen(), AtomicUsize::new(0));
        Self { progress, begun: Instant::now(), rows, ended }
    }

    /// Shows on a terminal that a row runs, until the step is dropped.
    pub(super) fn begin(&self, row: &Row) -> Step {
        self.progress.step(format!("{} {}", row.id, row.title))
    }

    pub(super) fn end(&self, row: &RowResult) {
        let number = self.ended.fetch_add(1, Ordering::Relaxed) + 1;
        let (rows, after) = (self.rows, minutes(self.begun.elapsed()));
        let block = format!("[{number}/{rows}, {after}] {}", block(row));
        self.progress.suspend(|| print(&block));
    }

    pub(super) fn note(&self, text: &str) {
        self.progress.println(text);
    }
}

/// The row, its findings, and its result.
fn block(row: &RowResult) -> String {
    let seconds = Duration::from_millis(row.took_ms as u64).as_secs_f64();
    let mut text = format!("{} {} ({seconds:.1} s)\n", row.id, row.title);
    for finding in &row.findings {
        let mark = if finding.held { "✓" } else { "✗" };
        let fault = finding.fault.as_deref().map(|fault| format!("{fault}: ")).unwrap_or_default();
        let (step, name, found) = (finding.step.name(), &finding.name, &finding.found);
        let _ = writeln!(text, "  {mark} {step}: {fault}{name} ({found})");
    }
    if let EnvOutcome::Replaced(reason) = &row.environment {
        let _ = writeln!(text, "  its environment was replaced: {reason}");
    }
    let _ = writeln!(text, "  {}", row.result);
    text
}
