//! The figures of one measurement, as they are written to a file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use launcher::servers::Front;
use serde::Serialize;

use crate::cli::{DashboardArguments, Form};
use crate::stage::Target;
use crate::system::{Spent, Usage};
use crate::tally::{Spread, Tally};

pub(crate) const GATEWAY: &str = "gateway";
/// The instance without TLS of its own.
pub(crate) const PLAIN_GATEWAY: &str = "gateway, plain";

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    pub(crate) at: jiff::Timestamp,
    pub(crate) arguments: DashboardArguments,
    pub(crate) machine: MachineFigures,
    pub(crate) operators: usize,
    /// Widgets fetched for one dashboard.
    pub(crate) widgets: usize,
    /// The upstreams that were delayed by `upstreamMs`; the others are the real services.
    pub(crate) delayed: Vec<String>,
    pub(crate) phases: Vec<Phase>,
    pub(crate) shares: Vec<Share>,
}

#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MachineFigures {
    pub(crate) cores: usize,
    /// Processes that wanted to run, averaged over a minute.
    pub(crate) load_before: f64,
    pub(crate) load_after: f64,
    /// One raw verification, before and after.
    pub(crate) es256_us: [f64; 2],
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Phase {
    pub(crate) name: String,
    #[serde(skip)]
    pub(crate) target: Option<Target>,
    pub(crate) seconds: f64,
    pub(crate) requests: u64,
    pub(crate) whole: u64,
    pub(crate) partial: u64,
    pub(crate) failed: u64,
    pub(crate) errors: BTreeMap<String, u64>,
    pub(crate) per_second: f64,
    /// Mean size of a body.
    pub(crate) body_bytes: u64,
    pub(crate) latency_ms: Spread,
    pub(crate) first_byte_ms: Spread,
    /// How much later than intended the load generator sent.
    pub(crate) sent_late_ms: Spread,
    pub(crate) used: Used,
}

/// Who used the processors meanwhile.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Used {
    pub(crate) processes: Vec<ProcessFigures>,
    /// Cores that everything else on this machine kept busy, the kernel's own work included.
    pub(crate) others: f64,
    /// Cores with nothing to do.
    pub(crate) idle: f64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ProcessFigures {
    pub(crate) name: String,
    /// With descendants.
    pub(crate) processes: u32,
    /// Per request of the phase.
    pub(crate) cpu_us: f64,
    pub(crate) user_us: f64,
    pub(crate) system_us: f64,
    /// Cores kept busy.
    pub(crate) cores: f64,
    pub(crate) resident_kib: u64,
    /// Since its start; of the largest process where there are several.
    pub(crate) peak_kib: u64,
}

/// What a dashboard costs the gateway beyond the edge: a dashboard less a `/session`.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Share {
    pub(crate) form: Form,
    pub(crate) cpu_us: f64,
    pub(crate) cpu_us_per_widget: f64,
    pub(crate) p50_ms: f64,
}

impl ProcessFigures {
    pub(crate) fn new(
        name: &str,
        now: &Usage,
        spent: Spent,
        requests: u64,
        took: Duration,
    ) -> Self {
        let each = |time: Duration| time.as_secs_f64() * 1e6 / requests.max(1) as f64;
        Self {
            name: name.to_owned(),
            processes: now.processes,
            cpu_us: each(spent.total()),
            user_us: each(spent.user),
            system_us: each(spent.system),
            cores: spent.total().div_duration_f64(took),
            resident_kib: now.resident,
            peak_kib: now.peak,
        }
    }
}

impl Phase {
    pub(crate) fn new(target: Target, tally: &Tally, used: Used) -> Self {
        Self {
            name: target.name().to_owned(),
            target: Some(target),
            seconds: tally.length().as_secs_f64(),
            requests: tally.requests(),
            whole: tally.whole,
            partial: tally.partial,
            failed: tally.failed(),
            errors: tally.errors.clone(),
            per_second: tally.throughput(),
            body_bytes: tally.body_bytes(),
            latency_ms: tally.latency(),
            first_byte_ms: tally.first_byte(),
            sent_late_ms: tally.lateness(),
            used,
        }
    }

    /// Of the instance that was asked.
    pub(crate) fn gateway(&self) -> Option<&ProcessFigures> {
        let name = match self.target? {
            Target::Hello => return None,
            Target::Session(Front::Plain) | Target::Read(Front::Plain) => PLAIN_GATEWAY,
            _ => GATEWAY,
        };
        self.used.processes.iter().find(|process| process.name == name)
    }
}

/// The composer's share of every dashboard phase.
pub(crate) fn shares(phases: &[Phase], widgets: usize) -> Vec<Share> {
    let edge = phases.iter().find(|phase| phase.target == Some(Target::Session(Front::Tls)));
    let share = |phase: &Phase| {
        let Some(Target::Dashboard(form)) = phase.target else { return None };
        let edge = edge?;
        let cpu_us = phase.gateway()?.cpu_us - edge.gateway()?.cpu_us;
        Some(Share {
            form,
            cpu_us,
            cpu_us_per_widget: cpu_us / widgets.max(1) as f64,
            p50_ms: phase.latency_ms.p50 - edge.latency_ms.p50,
        })
    };
    phases.iter().filter_map(share).collect()
}

/// Writes `<name>.json` into `folder` and answers its path.
pub(crate) fn write(report: &Report, folder: &Path, name: &str) -> anyhow::Result<PathBuf> {
    let file = folder.join(format!("{name}.json"));
    std::fs::create_dir_all(folder)?;
    let text = serde_json::to_string_pretty(report)? + "\n";
    std::fs::write(&file, text).with_context(|| format!("writing {}", file.display()))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phase(target: Target, cpu_us: f64) -> Phase {
        let (now, spent) =
            (Usage::default(), Spent { user: Duration::ZERO, system: Duration::ZERO });
        let gateway = ProcessFigures::new(GATEWAY, &now, spent, 1, Duration::from_secs(1));
        let gateway = ProcessFigures { cpu_us, ..gateway };
        let used = Used { processes: vec![gateway], others: 0.0, idle: 0.0 };
        Phase::new(target, &Tally::new(), used)
    }

    #[test]
    fn the_share_is_a_dashboard_less_the_edge() {
        let phases = [
            phase(Target::Hello, 0.0),
            phase(Target::Session(Front::Tls), 200.0),
            phase(Target::Dashboard(Form::Json), 1100.0),
        ];
        let shares = shares(&phases, 9);
        assert_eq!(shares.len(), 1);
        assert!((shares[0].cpu_us - 900.0).abs() < 1e-9);
        assert!((shares[0].cpu_us_per_widget - 100.0).abs() < 1e-9);
    }
}
