//! Progress output: spinners on a terminal, plain lines elsewhere, nothing when quiet.

use std::borrow::Cow;
use std::io::{IsTerminal, Write};
use std::time::Duration;

use console::style;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::Instant;

const REDRAW_INTERVAL: Duration = Duration::from_millis(80);

/// Where progress is shown. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Progress(Kind);

#[derive(Debug, Clone)]
enum Kind {
    Quiet,
    Plain,
    Lines(MultiProgress),
}

impl Progress {
    /// Chooses spinners or plain lines by whether standard error is a terminal.
    pub fn for_screen() -> Self {
        if std::io::stderr().is_terminal() {
            let lines = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
            Self(Kind::Lines(lines))
        } else {
            Self(Kind::Plain)
        }
    }

    pub fn quiet() -> Self {
        Self(Kind::Quiet)
    }

    /// Starts a step that the user waits for.
    pub fn step(&self, what: impl Into<Cow<'static, str>>) -> Step {
        let bar = match &self.0 {
            Kind::Lines(lines) => {
                let bar = lines.add(ProgressBar::new_spinner());
                bar.set_style(spinner_style());
                bar.set_message(what.into());
                bar.enable_steady_tick(REDRAW_INTERVAL);
                Some(bar)
            }
            Kind::Quiet | Kind::Plain => None,
        };
        Step { progress: self.clone(), bar, begun: Instant::now() }
    }

    /// Prints one line.
    pub fn println(&self, line: &str) {
        match &self.0 {
            Kind::Quiet => {}
            Kind::Plain => write_line(line),
            Kind::Lines(lines) => lines.suspend(|| write_line(line)),
        }
    }
}

fn spinner_style() -> ProgressStyle {
    ProgressStyle::with_template("  {spinner:.cyan} {msg} {elapsed:.dim}")
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
}

fn write_line(line: &str) {
    // A closed terminal is no reason to stop the stack.
    let _ = writeln!(std::io::stderr().lock(), "{line}");
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
