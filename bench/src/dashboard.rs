//! `bench dashboard`: two baselines, then the dashboard in each form, on one stack.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use contracts::clock::Clock;
use launcher::progress::Progress;

use crate::cli::DashboardArguments;
use crate::paint::Paint;
use crate::report::{self, MachineFigures, Phase, Report};
use crate::stage::{self, Composition, Stage, Target};
use crate::{phase, system, table};

/// Fails when any request failed, so that a script notices.
pub(crate) async fn run(arguments: &DashboardArguments) -> anyhow::Result<ExitCode> {
    let progress = Progress::for_screen();
    let stage =
        Stage::open(arguments.connections, arguments.programs.as_deref(), &progress).await?;
    let outcome = measure(&stage, arguments, &progress).await;
    stage.close().await?;
    let report = outcome?;
    let file = report::write(&report, &stage::folder(), &arguments.name)?;
    let mut out = std::io::stdout().lock();
    // A reader that has gone has seen enough.
    let _ = write!(out, "{}", table::render(&report, Paint::for_stdout()));
    let _ = writeln!(out, "\n  All figures: {}\n", file.display());
    let failed = report.phases.iter().any(|phase| phase.failed > 0);
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

async fn measure(
    stage: &Stage,
    arguments: &DashboardArguments,
    progress: &Progress,
) -> anyhow::Result<Report> {
    let load_before = system::load();
    let (composition, delayed) = prepare(stage, arguments).await?;
    let mut phases = Vec::new();
    for (target, length) in plan(arguments) {
        phases.push(measured(stage, target, length, arguments, progress).await?);
    }
    let load_after = system::load();
    Ok(Report {
        at: Clock::system().now(),
        arguments: arguments.clone(),
        machine: MachineFigures { cores: system::cores(), load_before, load_after },
        operators: stage.seats.operators,
        widgets: composition.widgets,
        delayed,
        shares: report::shares(&phases, composition.widgets),
        phases,
    })
}

async fn prepare(
    stage: &Stage,
    arguments: &DashboardArguments,
) -> anyhow::Result<(Composition, Vec<String>)> {
    stage.seats.sign_in().await?;
    let composition = stage.composition().await?;
    let delayed = stage.delay(&composition.upstreams, arguments.upstream_ms).await?;
    Ok((composition, delayed))
}

/// The baselines need less time: nothing behind them varies.
fn plan(arguments: &DashboardArguments) -> Vec<(Target, Duration)> {
    let whole = Duration::from_secs(arguments.seconds.into());
    let half = (whole / 2).max(Duration::from_secs(1));
    let dashboards = arguments.form.iter().map(|form| (Target::Dashboard(*form), whole));
    let first = [Target::Hello, Target::Session, Target::Read].map(|target| (target, half));
    first.into_iter().chain(dashboards).collect()
}

async fn measured(
    stage: &Stage,
    target: Target,
    length: Duration,
    arguments: &DashboardArguments,
    progress: &Progress,
) -> anyhow::Result<Phase> {
    let step = progress.step(format!("{}, {} s", target.name(), length.as_secs_f64()));
    let phase = phase::run(stage, target, length, arguments).await?;
    step.done(format!("{}: {} answers", target.name(), phase.whole + phase.partial));
    Ok(phase)
}
