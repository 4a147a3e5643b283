//! `bench dashboard`: the baselines, then the dashboard in each form, on one stack; and
//! `bench read`, the baselines alone.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use contracts::clock::Clock;
use launcher::progress::Progress;
use launcher::servers::Front;

use crate::cli::{DashboardArguments, LoadArguments};
use crate::paint::Paint;
use crate::report::{self, MachineFigures, Phase, Report};
use crate::stage::{self, Composition, Stage, Target};
use crate::{phase, system, table, yardstick};

/// Fails when any request failed, so that a script notices.
pub(crate) async fn run(arguments: &DashboardArguments) -> anyhow::Result<ExitCode> {
    let progress = Progress::for_screen();
    let load = &arguments.load;
    let stage = Stage::open(arguments, &progress).await?;
    let outcome = measure(&stage, arguments, &progress).await;
    stage.close().await?;
    let report = outcome?;
    let file = report::write(&report, &stage::folder(), &load.name)?;
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
    let (load_before, es256_before) = (system::load(), yardstick::es256_us()?);
    let (composition, delayed) = prepare(stage, arguments).await?;
    let mut phases = Vec::new();
    for (target, length) in plan(arguments) {
        phases.push(measured(stage, target, length, &arguments.load, progress).await?);
    }
    let (load_after, es256_after) = (system::load(), yardstick::es256_us()?);
    Ok(Report {
        at: Clock::system().now(),
        arguments: arguments.clone(),
        machine: MachineFigures {
            cores: system::cores(),
            load_before,
            load_after,
            es256_us: [es256_before, es256_after],
        },
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
    if arguments.form.is_empty() {
        return Ok((Composition::default(), vec![]));
    }
    let composition = stage.composition().await?;
    let (ms, hang) = (arguments.upstream_ms, arguments.hang);
    let delayed = stage.delay(&composition.upstreams, ms, hang).await?;
    Ok((composition, delayed))
}

/// The baselines need less time: nothing behind them varies.
fn plan(arguments: &DashboardArguments) -> Vec<(Target, Duration)> {
    let whole = Duration::from_secs(arguments.load.seconds.into());
    let half = (whole / 2).max(Duration::from_secs(1));
    let dashboards = arguments.form.iter().map(|form| (Target::Dashboard(*form), whole));
    let guarded = [Front::Plain, Front::Tls].map(|it| [Target::Session(it), Target::Read(it)]);
    let first = std::iter::once(Target::Hello).chain(guarded.into_iter().flatten());
    first.map(|target| (target, half)).chain(dashboards).collect()
}

async fn measured(
    stage: &Stage,
    target: Target,
    length: Duration,
    load: &LoadArguments,
    progress: &Progress,
) -> anyhow::Result<Phase> {
    let step = progress.step(format!("{}, {} s", target.name(), length.as_secs_f64()));
    let phase = phase::run(stage, target, length, load).await?;
    step.done(format!("{}: {} answers", target.name(), phase.whole + phase.partial));
    Ok(phase)
}
