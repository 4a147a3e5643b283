//! What the launcher shows while it works: moving lines on a terminal, plain ones
//! elsewhere, none when quiet.

use std::borrow::Cow;
use std::io::{IsTerminal, Write};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::Instant;

use crate::paint::Paint;

const REDRAW: Duration = Duration::from_millis(80);

/// Cheap to clone.
#[derive(Debug, Clone)]
pub struct Progress(Kind);

#[derive(Debug, Clone)]
enum Kind {
    Quiet,
    Plain,
    Lines(MultiProgress),
}

impl Progress {
    /// Fitting for where standard error goes.
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

    /// Begins a piece of work that a person waits for.
    pub fn step(&self, what: impl Into<Cow<'static, str>>) -> Step {
        let bar = match &self.0 {
            Kind::Lines(lines) => {
                let bar = lines.add(ProgressBar::new_spinner());
                bar.set_style(style());
                bar.set_message(what.into());
                bar.enable_steady_tick(REDRAW);
                Some(bar)
            }
            Kind::Quiet | Kind::Plain => None,
        };
        Step { progress: self.clone(), bar, begun: Instant::now() }
    }

    /// One line that stays.
    pub fn say(&self, line: &str) {
        match &self.0 {
            Kind::Quiet => {}
            Kind::Plain => write_line(line),
            Kind::Lines(lines) => lines.suspend(|| write_line(line)),
        }
    }
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("  {spinner:.cyan} {msg} {elapsed:.dim}")
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
}

fn write_line(line: &str) {
    // A closed terminal is no reason to stop the stack.
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// Disappears without a word when dropped unfinished; the error that follows speaks.
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
        let paint = Paint::for_stderr();
        let took = paint.dim(&format!("{seconds:.1} s"));
        self.progress.say(&format!("  {} {what}  {took}", paint.green("✓")));
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
