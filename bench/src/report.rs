//! Results of one measurement, as written to the JSON file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use launcher::servers::ListenerKind;
use serde::Serialize;

use crate::options::{DashboardArguments, Form, Target};
use crate::recorder::{Percentiles, Recorder};
use crate::system::{CpuTime, Usage};

pub(crate) const GATEWAY: &str = "gateway";
/// The instance without TLS.
pub(crate) const PLAIN_GATEWAY: &str = "gateway, plain";

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    pub(crate) at: jiff::Timestamp,
    pub(crate) arguments: DashboardArguments,
    pub(crate) machine: MachineFigures,
    pub(crate) operators: usize,
    /// Widgets of one dashboard.
    pub(crate) widgets: usize,
    /// Upstreams that were delayed by `upstreamMs`; the others are the real services.
    pub(crate) delayed: Vec<String>,
    pub(crate) phases: Vec<Phase>,
    pub(crate) shares: Vec<ComposerShare>,
}

#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MachineFigures {
    pub(crate) cores: usize,
    /// One-minute load average.
    pub(crate) load_before: f64,
    pub(crate) load_after: f64,
    /// Time of one ES256 verification, before and after, µs.
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
    pub(crate) latency_ms: Percentiles,
    pub(crate) first_byte_ms: Percentiles,
    /// Delay between the scheduled and the actual sending.
    pub(crate) sent_late_ms: Percentiles,
    pub(crate) used: CpuUse,
}

/// CPU use during a phase.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CpuUse {
    pub(crate) processes: Vec<ProcessFigures>,
    /// Cores kept busy by everything else on this machine, kernel included.
    pub(crate) others: f64,
    /// Idle cores.
    pub(crate) idle: f64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ProcessFigures {
    pub(crate) name: String,
    /// Number of processes, descendants included.
    pub(crate) processes: u32,
    /// Per request.
    pub(crate) cpu_us: f64,
    pub(crate) user_us: f64,
    pub(crate) system_us: f64,
    /// Cores kept busy.
    pub(crate) cores: f64,
    pub(crate) resident_kib: u64,
    /// Since the process started; of the largest process if there are several.
    pub(crate) peak_kib: u64,
}

/// Cost of a dashboard beyond the edge: that of the dashboard minus that of `/session`.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ComposerShare {
    pub(crate) form: Form,
    pub(crate) cpu_us: f64,
    pub(crate) cpu_us_per_widget: f64,
    pub(crate) p50_ms: f64,
}

impl ProcessFigures {
    pub(crate) fn new(
        name: &str,
        now: &Usage,
        cpu_time: CpuTime,
        requests: u64,
        took: Duration,
    ) -> Self {
        let each = |time: Duration| time.as_secs_f64() * 1e6 / requests.max(1) as f64;
        Self {
            name: name.to_owned(),
            processes: now.processes,
            cpu_us: each(cpu_time.total()),
            user_us: each(cpu_time.user),
            system_us: each(cpu_time.system),
            cores: cpu_time.total().div_duration_f64(took),
            resident_kib: now.resident,
            peak_kib: now.peak,
        }
    }
}

impl Phase {
    pub(crate) fn new(target: Target, recorder: &Recorder, used: CpuUse) -> Self {
        Self {
            name: target.name().to_owned(),
            target: Some(target),
            seconds: recorder.length().as_secs_f64(),
            requests: recorder.requests(),
            whole: recorder.whole,
            partial: recorder.partial,
            failed: recorder.failed(),
            errors: recorder.errors.clone(),
            per_second: recorder.throughput(),
            body_bytes: recorder.body_bytes(),
            latency_ms: recorder.latency(),
            first_byte_ms: recorder.first_byte(),
            sent_late_ms: recorder.lateness(),
            used,
        }
    }

    /// Figures of the measured gateway instance.
    pub(crate) fn gateway(&self) -> Option<&ProcessFigures> {
        let name = match self.target? {
            Target::Hello => return None,
            Target::Session(ListenerKind::Plain) | Target::Read(ListenerKind::Plain) => {
                PLAIN_GATEWAY
            }
            _ => GATEWAY,
        };
        self.used.processes.iter().find(|process| process.name == name)
    }
}

/// Computes the composer's share of every dashboard phase.
pub(crate) fn shares(phases: &[Phase], widgets: usize) -> Vec<ComposerShare> {
    let edge = phases.iter().find(|phase| phase.target == Some(Target::Session(ListenerKind::Tls)));
    let share = |phase: &Phase| {
        let Some(Target::Dashboard(form)) = phase.target else { return None };
        let edge = edge?;
        let cpu_us = phase.gateway()?.cpu_us - edge.gateway()?.cpu_us;
        Some(ComposerShare {
            form,
            cpu_us,
            cpu_us_per_widget: cpu_us / widgets.max(1) as f64,
            p50_ms: phase.latency_ms.p50 - edge.latency_ms.p50,
        })
    };
    phases.iter().filter_map(share).collect()
}

/// Writes `<name>.json` into `folder` and returns its path.
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
        let (now, cpu_time) =
            (Usage::default(), CpuTime { user: Duration::ZERO, system: Duration::ZERO });
        let gateway = ProcessFigures::new(GATEWAY, &now, cpu_time, 1, Duration::from_secs(1));
        let gateway = ProcessFigures { cpu_us, ..gateway };
        let used = CpuUse { processes: vec![gateway], others: 0.0, idle: 0.0 };
        Phase::new(target, &Recorder::new(), used)
    }

    #[test]
    fn the_share_is_a_dashboard_less_the_edge() {
        let phases = [
            phase(Target::Hello, 0.0),
            phase(Target::Session(ListenerKind::Tls), 200.0),
            phase(Target::Dashboard(Form::Json), 1100.0),
        ];
        let shares = shares(&phases, 9);
        assert_eq!(shares.len(), 1);
        assert!((shares[0].cpu_us - 900.0).abs() < 1e-9);
        assert!((shares[0].cpu_us_per_widget - 100.0).abs() < 1e-9);
    }
}
