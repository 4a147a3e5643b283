//! `bench flood`: whether one address that holds silent connections and slow bodies, and asks for
//! `/health/ready` without pause, slows another address down. Phases with and without the flood
//! alternate, so that both meet the same hours of the machine.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use contracts::clock::Clock;
use launcher::progress::Progress;
use launcher::servers::Front;
use serde::Serialize;

use crate::cli::{DashboardArguments, LoadArguments};
use crate::stage::{self, Stage, Target};
use crate::tally::{Spread, Tally};
use crate::{phase, system};

mod attack;

use attack::{Attack, Attacked};

/// Time in which a flood reaches its full size, and in which its connections end.
const SETTLING: Duration = Duration::from_secs(2);

#[derive(Debug, Clone, Args, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FloodArguments {
    /// How often a phase without the flood and one with it follow each other.
    #[arg(long, default_value = "5", value_parser = clap::value_parser!(u32).range(1..=60))]
    rounds: u32,
    /// `GET /session` a second from the address that is measured.
    #[arg(long, default_value = "50")]
    rate: std::num::NonZeroU32,
    /// How long each phase is measured.
    #[arg(long, default_value = "8", value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
    /// Connections of the flood that say nothing.
    #[arg(long, default_value = "500")]
    pub(crate) silent: u32,
    /// Connections of the flood whose request bodies trickle.
    #[arg(long, default_value = "500")]
    pub(crate) slow_bodies: u32,
    /// `GET /health/ready` a second of the flood.
    #[arg(long, default_value = "200")]
    pub(crate) health_rate: std::num::NonZeroU32,
    /// By how much the 99th percentile may be higher under the flood, percent.
    #[arg(long, default_value = "10")]
    allowed: f64,
    /// Worker threads of a gateway. The default is that of an instance with one core.
    #[arg(long, default_value = "1", value_parser = clap::value_parser!(u16).range(1..=64))]
    workers: u16,
    /// Measure the servers that were built before and stand in this folder.
    #[arg(long, value_name = "FOLDER")]
    programs: Option<PathBuf>,
}

impl FloodArguments {
    fn load(&self) -> LoadArguments {
        LoadArguments {
            rate: self.rate,
            closed: None,
            seconds: self.seconds,
            warmup: 1,
            connections: 10,
            flood: None,
            workers: self.workers,
            nights: 1,
            seed: 1,
            programs: self.programs.clone(),
            name: "flood".to_owned(),
        }
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    at: jiff::Timestamp,
    arguments: FloodArguments,
    load_before: f64,
    load_after: f64,
    baseline: Measured,
    flooded: Measured,
    /// How much higher the 99th percentile is under the flood, percent.
    p99_higher_by: f64,
    /// What the flood got, over all its phases.
    flood: Attacked,
}

/// One side of the comparison, over all its phases.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Measured {
    requests: u64,
    failed: u64,
    latency_ms: Spread,
    /// Of each phase, in their order.
    p99_ms: Vec<f64>,
}

/// Both sides of the comparison while it goes on.
#[derive(Default)]
struct Sides {
    baseline: Vec<Tally>,
    flooded: Vec<Tally>,
    flood: Attacked,
}

/// Fails when the flood slowed the other address by more than is allowed.
pub(crate) async fn run(arguments: &FloodArguments) -> anyhow::Result<ExitCode> {
    let progress = Progress::for_screen();
    let stage = Stage::open(&DashboardArguments::from(arguments.load()), &progress).await?;
    let outcome = measure(&stage, arguments).await;
    stage.close().await?;
    let report = outcome?;
    let file = stage::folder().join("flood.json");
    std::fs::create_dir_all(stage::folder())?;
    std::fs::write(&file, serde_json::to_string_pretty(&report)? + "\n")
        .with_context(|| format!("writing {}", file.display()))?;
    print(&report);
    println_to_user(&format!("  All figures: {}", file.display()));
    let is_good = report.p99_higher_by <= arguments.allowed
        && report.baseline.failed + report.flooded.failed == 0;
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn measure(stage: &Stage, arguments: &FloodArguments) -> anyhow::Result<Report> {
    let load_before = system::load();
    let mut sides = Sides::default();
    // Not counted: the first requests of a gateway that has just started.
    one_phase(stage, arguments).await?;
    for _ in 0..arguments.rounds {
        sides.baseline.push(one_phase(stage, arguments).await?);
        let attack = Attack::start(stage.info(), arguments)?;
        tokio::time::sleep(SETTLING).await;
        sides.flooded.push(one_phase(stage, arguments).await?);
        sides.flood += attack.stop()?;
        tokio::time::sleep(SETTLING).await;
    }
    let (baseline, flooded) = (measured(&sides.baseline)?, measured(&sides.flooded)?);
    Ok(Report {
        at: Clock::system().now(),
        arguments: arguments.clone(),
        load_before,
        load_after: system::load(),
        p99_higher_by: (flooded.latency_ms.p99 / baseline.latency_ms.p99 - 1.0) * 100.0,
        baseline,
        flooded,
        flood: sides.flood,
    })
}

async fn one_phase(stage: &Stage, arguments: &FloodArguments) -> anyhow::Result<Tally> {
    let length = Duration::from_secs(arguments.seconds.into());
    phase::alone(stage, Target::Session(Front::Tls), length, &arguments.load()).await
}

fn measured(tallies: &[Tally]) -> anyhow::Result<Measured> {
    let mut all = Tally::new();
    for tally in tallies {
        all.merge(tally)?;
    }
    Ok(Measured {
        requests: all.requests(),
        failed: all.failed(),
        latency_ms: all.latency(),
        p99_ms: tallies.iter().map(|tally| tally.latency().p99).collect(),
    })
}

fn print(report: &Report) {
    let side = |name: &str, side: &Measured| {
        let Spread { p50, p90, p99, max, .. } = side.latency_ms;
        let (requests, failed) = (side.requests, side.failed);
        println_to_user(&format!(
            "  {name:<14} {requests:>6} requests {failed:>3} failed   p50 {p50:>7.2}   p90 {p90:>7.2}   p99 {p99:>7.2}   max {max:>7.2} ms"
        ));
    };
    println_to_user("\n  GET /session from one address, and a flood from another");
    side("without flood", &report.baseline);
    side("with flood", &report.flooded);
    println_to_user(&format!("  p99 is {:+.1} % under the flood", report.p99_higher_by));
    println_to_user(&format!("  {}", report.flood));
}

/// A reader that has gone has seen enough.
fn println_to_user(line: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}
