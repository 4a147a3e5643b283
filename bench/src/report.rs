//! Results of one measurement, as written to the JSON file.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use launcher::servers::ListenerKind;
use serde::Serialize;

use crate::options::{DashboardArguments, Form, Target};
use crate::recorder::Figures;
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
pub(crate) struct Phase {
    pub(crate) name: &'static str,
    #[serde(skip)]
    pub(crate) target: Target,
    #[serde(flatten)]
    pub(crate) figures: Figures,
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
    /// Figures of the measured gateway instance.
    pub(crate) fn gateway(&self) -> Option<&ProcessFigures> {
        let name = match self.target {
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
    let edge = phases.iter().find(|phase| phase.target == Target::Session(ListenerKind::Tls));
    let share = |phase: &Phase| {
        let Target::Dashboard(form) = phase.target else { return None };
        let edge = edge?;
        let cpu_us = phase.gateway()?.cpu_us - edge.gateway()?.cpu_us;
        Some(ComposerShare {
            form,
            cpu_us,
            cpu_us_per_widget: cpu_us / widgets.max(1) as f64,
            p50_ms: phase.figures.latency_ms.p50 - edge.figures.latency_ms.p50,
        })
    };
    phases.iter().filter_map(share).collect()
}

/// Writes `<name>.json` into `folder` and returns its path.
pub(crate) fn write(report: &impl Serialize, folder: &Path, name: &str) -> anyhow::Result<PathBuf> {
    let file = folder.join(format!("{name}.json"));
    std::fs::create_dir_all(folder)?;
    let text = serde_json::to_string_pretty(report)? + "\n";
    std::fs::write(&file, text).with_context(|| format!("writing {}", file.display()))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recorder::Recorder;

    fn phase(target: Target, cpu_us: f64) -> Phase {
        let (now, cpu_time) =
            (Usage::default(), CpuTime { user: Duration::ZERO, system: Duration::ZERO });
        let gateway = ProcessFigures::new(GATEWAY, &now, cpu_time, 1, Duration::from_secs(1));
        let gateway = ProcessFigures { cpu_us, ..gateway };
        let used = CpuUse { processes: vec![gateway], others: 0.0, idle: 0.0 };
        Phase { name: target.name(), target, figures: Recorder::new().figures(), used }
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
