//! Progress output: spinners on a terminal, plain lines elsewhere, nothing when quiet.

use std::borrow::Cow;
use std::io::Write;
use std::time::Duration;

use console::style;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::Instant;

const REDRAW_INTERVAL: Duration = Duration::from_millis(80);

/// Where progress is shown, if at all. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Progress(Option<MultiProgress>);

impl Progress {
    /// Shows spinners on standard error if it is a terminal, and lines in any case.
    pub fn for_screen() -> Self {
        Self(Some(MultiProgress::with_draw_target(ProgressDrawTarget::stderr())))
    }

    pub fn quiet() -> Self {
        Self(None)
    }

    /// Starts a step that the user waits for.
    pub fn step(&self, what: impl Into<Cow<'static, str>>) -> Step {
        let bar = self.0.as_ref().filter(|lines| !lines.is_hidden()).map(|lines| {
            let bar = lines.add(ProgressBar::new_spinner());
            let style = ProgressStyle::with_template("  {spinner:.cyan} {msg} {elapsed:.dim}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
            bar.set_message(what.into());
            bar.enable_steady_tick(REDRAW_INTERVAL);
            bar
        });
        Step { progress: self.clone(), bar, begun: Instant::now() }
    }

    /// Runs `print`, which writes to standard output, without spinners in between.
    pub fn suspend(&self, print: impl FnOnce()) {
        match &self.0 {
            Some(lines) => lines.suspend(print),
            None => print(),
        }
    }

    /// Prints one line.
    pub fn println(&self, line: &str) {
        if let Some(lines) = &self.0 {
            // A closed terminal is no reason to stop the stack.
            lines.suspend(|| drop(writeln!(std::io::stderr().lock(), "{line}")));
        }
    }
}

/// A running step. Dropping it unfinished removes its spinner silently.
#[derive(Debug)]
pub struct Step {
    progress: Progress,
    bar: Option<ProgressBar>,
    begun: Instant,
}

impl Step {
    pub fn done(self, what: impl AsRef<str>) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        let seconds = self.begun.elapsed().as_secs_f32();
        let what = what.as_ref();
        let took = style(format!("{seconds:.1} s")).dim().for_stderr();
        let check = style("✓").green().for_stderr();
        self.progress.println(&format!("  {check} {what}  {took}"));
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
