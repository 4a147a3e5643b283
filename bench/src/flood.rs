//! `bench flood`: measures whether silent connections, slow bodies and constant `/health/ready`
//! requests from one address slow down another address. Phases with and without the flood alternate,
//! so that both run under the same conditions.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use contracts::clock::Clock;
use launcher::progress::Progress;
use launcher::servers::ListenerKind;
use serde::Serialize;

use crate::environment::{self, Environment};
use crate::options::{DashboardArguments, FloodArguments, Target};
use crate::recorder::{Figures, Percentiles, Recorder};
use crate::{phase, report, system};

mod attack;

use attack::{Flood, FloodCounts};

/// Time for a flood to reach its full size, and for its connections to close.
const SETTLE_TIME: Duration = Duration::from_secs(2);

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    at: jiff::Timestamp,
    arguments: FloodArguments,
    load_before: f64,
    load_after: f64,
    baseline: SideFigures,
    flooded: SideFigures,
    /// Increase of the median of the phases' 99th percentiles under the flood, percent.
    p99_higher_by: f64,
    flood: Arc<FloodCounts>,
}

/// Results of one side of the comparison, over all phases.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct SideFigures {
    requests: u64,
    failed: u64,
    latency_ms: Percentiles,
    /// Of each phase, in order.
    p99_ms: Vec<f64>,
    /// Median of the phases. A pause of the machine raises the 99th percentile of one phase, and with
    /// it that of all phases together.
    median_p99_ms: f64,
}

/// Returns a failure code if the flood slowed the other address by more than allowed.
pub(crate) async fn run(arguments: &FloodArguments) -> anyhow::Result<ExitCode> {
    let progress = Progress::for_screen();
    let environment =
        Environment::open(&DashboardArguments::from(arguments.load()), &progress).await?;
    let outcome = measure(&environment, arguments).await;
    environment.close().await?;
    let report = outcome?;
    let file = report::write(&report, &environment::folder(), "flood")?;
    print(&report);
    println(&format!("  All figures: {}", file.display()));
    let is_good = report.p99_higher_by <= arguments.allowed
        && report.baseline.failed + report.flooded.failed == 0;
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn measure(environment: &Environment, arguments: &FloodArguments) -> anyhow::Result<Report> {
    let load_before = system::load();
    let (mut baseline, mut flooded, counts) = (Vec::new(), Vec::new(), Arc::default());
    // Warm-up: the first requests of a gateway that has just started do not count.
    run_phase(environment, arguments).await?;
    for _ in 0..arguments.rounds {
        baseline.push(run_phase(environment, arguments).await?);
        let flood = Flood::start(environment.info(), arguments, &counts)?;
        tokio::time::sleep(SETTLE_TIME).await;
        flooded.push(run_phase(environment, arguments).await?);
        flood.stop()?;
        tokio::time::sleep(SETTLE_TIME).await;
    }
    let (baseline, flooded) = (side_figures(&baseline)?, side_figures(&flooded)?);
    Ok(Report {
        at: Clock::system().now(),
        arguments: arguments.clone(),
        load_before,
        load_after: system::load(),
        p99_higher_by: (flooded.median_p99_ms / baseline.median_p99_ms - 1.0) * 100.0,
        baseline,
        flooded,
        flood: counts,
    })
}

async fn run_phase(
    environment: &Environment,
    arguments: &FloodArguments,
) -> anyhow::Result<Recorder> {
    let length = Duration::from_secs(arguments.seconds.into());
    phase::alone(environment, Target::Session(ListenerKind::Tls), length, &arguments.load()).await
}

fn side_figures(recorders: &[Recorder]) -> anyhow::Result<SideFigures> {
    let mut all = Recorder::new();
    for recorder in recorders {
        all.merge(recorder)?;
    }
    let p99 = |recorder: &Recorder| recorder.figures().latency_ms.p99;
    let Figures { requests, failed, latency_ms, .. } = all.figures();
    let p99_ms: Vec<f64> = recorders.iter().map(p99).collect();
    let median_p99_ms = median(&p99_ms);
    Ok(SideFigures { requests, failed, latency_ms, p99_ms, median_p99_ms })
}

/// The middle value, or the mean of the two in the middle.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (lower, upper) = (sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2]);
    f64::midpoint(lower, upper)
}

fn print(report: &Report) {
    let side = |name: &str, side: &SideFigures| {
        let Percentiles { p50, p90, p99, max, .. } = side.latency_ms;
        let (requests, failed, median) = (side.requests, side.failed, side.median_p99_ms);
        println(&format!(
            "  {name:<14} {requests:>6} requests {failed:>3} failed   p50 {p50:>7.2}   p90 {p90:>7.2}   p99 {p99:>7.2}   max {max:>7.2}   median p99 {median:>7.2} ms"
        ));
    };
    println("\n  GET /session from one address, and a flood from another");
    side("without flood", &report.baseline);
    side("with flood", &report.flooded);
    println(&format!(
        "  the median p99 of a phase is {:+.1} % under the flood",
        report.p99_higher_by
    ));
    println(&format!("  {}", report.flood));
}

/// Prints a line, ignoring a closed pipe.
fn println(line: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}
