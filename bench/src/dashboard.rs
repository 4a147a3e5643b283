//! `bench dashboard`: measures the baselines, then the dashboard in each format, on one stack.
//! `bench read`: the baselines only.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use contracts::clock::Clock;
use launcher::progress::Progress;
use launcher::servers::ListenerKind;

use crate::environment::{self, Composition, Environment};
use crate::options::{DashboardArguments, Target};
use crate::report::{self, MachineFigures, Report};
use crate::{calibration, phase, report_text, system};

/// Returns a failure code if any request failed.
pub(crate) async fn run(arguments: &DashboardArguments) -> anyhow::Result<ExitCode> {
    let progress = Progress::for_screen();
    let load = &arguments.load;
    let environment = Environment::open(arguments, &progress).await?;
    let outcome = measure(&environment, arguments, &progress).await;
    environment.close().await?;
    let report = outcome?;
    let file = report::write(&report, &environment::folder(), &load.name)?;
    let mut out = std::io::stdout().lock();
    // Standard output may be a closed pipe.
    let _ = write!(out, "{}", report_text::render(&report));
    let _ = writeln!(out, "\n  All figures: {}\n", file.display());
    let failed = report.phases.iter().any(|phase| phase.figures.failed > 0);
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

async fn measure(
    environment: &Environment,
    arguments: &DashboardArguments,
    progress: &Progress,
) -> anyhow::Result<Report> {
    let (load_before, es256_before) = (system::load(), calibration::es256_us()?);
    let (composition, delayed) = prepare(environment, arguments).await?;
    let mut phases = Vec::new();
    for (target, length) in plan(arguments) {
        let step = progress.step(format!("{}, {} s", target.name(), length.as_secs_f64()));
        let phase = phase::run(environment, target, length, &arguments.load).await?;
        step.done(format!(
            "{}: {} responses",
            target.name(),
            phase.figures.whole + phase.figures.partial
        ));
        phases.push(phase);
    }
    let (load_after, es256_after) = (system::load(), calibration::es256_us()?);
    Ok(Report {
        at: Clock::system().now(),
        arguments: arguments.clone(),
        machine: MachineFigures {
            cores: system::cores(),
            load_before,
            load_after,
            es256_us: [es256_before, es256_after],
        },
        operators: environment.clients.operators,
        widgets: composition.widgets,
        delayed,
        shares: report::shares(&phases, composition.widgets),
        phases,
    })
}

async fn prepare(
    environment: &Environment,
    arguments: &DashboardArguments,
) -> anyhow::Result<(Composition, Vec<String>)> {
    environment.clients.sign_in().await?;
    if arguments.form.is_empty() {
        return Ok((Composition::default(), vec![]));
    }
    let composition = environment.composition().await?;
    let (ms, hang) = (arguments.upstream_ms, arguments.hang);
    let delayed = environment.set_delays(&composition.upstreams, ms, hang).await?;
    Ok((composition, delayed))
}

/// The phases in order. The baselines vary less and take half as long.
fn plan(arguments: &DashboardArguments) -> Vec<(Target, Duration)> {
    let whole = Duration::from_secs(arguments.load.seconds.into());
    let half = (whole / 2).max(Duration::from_secs(1));
    let dashboards = arguments.form.iter().map(|form| (Target::Dashboard(*form), whole));
    let guarded = [ListenerKind::Plain, ListenerKind::Tls]
        .map(|kind| [Target::Session(kind), Target::Read(kind)]);
    let first = std::iter::once(Target::Hello).chain(guarded.into_iter().flatten());
    first.map(|target| (target, half)).chain(dashboards).collect()
}
