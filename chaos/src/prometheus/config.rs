//! The configuration and the rule files of a drill's Prometheus, from `ops/prometheus.yml` and what it
//! names: other targets, and every duration divided by the run's scale.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use launcher::StackInfo;
use launcher::builder::workspace_root;
use launcher::data_dir::write_private;

use super::promql;
use super::rules::Rules;
use super::scale::Scale;

const FILE: &str = "ops/prometheus.yml";
/// Ending of the jobs that probe readiness. What they get is not metrics.
pub(super) const READINESS: &str = "-readiness";
/// Stand-ins exist only on this machine, so the file has no job for them.
const STAND_INS: &str = "stand-ins";
/// Probes the gateway by its name.
const UPTIME: &str = "bff-backoffice-uptime";

/// What the jobs scrape.
#[derive(Debug, Clone, Copy)]
pub(super) struct Programs<'a> {
    pub(super) info: &'a StackInfo,
    /// The exporter of the uptime probe.
    pub(super) uptime: SocketAddr,
}

/// Generated files.
#[derive(Debug)]
pub(super) struct Generated {
    text: String,
    pub(super) rules: Rules,
    pub(super) evaluation_interval: Duration,
    /// Number of targets that have metrics.
    pub(super) targets: usize,
}

impl Generated {
    pub(super) fn new(programs: Programs<'_>, scale: Scale) -> anyhow::Result<Self> {
        let template = read(FILE)?;
        let mut generated = Self {
            text: String::new(),
            rules: Rules::default(),
            evaluation_interval: interval(&template, "evaluation_interval", scale)?,
            targets: 0,
        };
        let scrape_interval = interval(&template, "scrape_interval", scale)?;
        let mut job = String::new();
        for line in template.lines() {
            let item = line.trim_start();
            if let Some(name) = item.strip_prefix("- job_name: ") {
                name.clone_into(&mut job);
            } else if let Some(file) = item.strip_prefix("- alerts/") {
                let file = format!("alerts/{file}");
                let text = read(&format!("ops/{file}"))?;
                generated.rules.add(&file, &text, scale, scrape_interval)?;
            }
            generated.add(line, &job, programs, scale)?;
        }
        generated.add(&format!("  - job_name: {STAND_INS}"), "", programs, scale)?;
        generated.add("    static_configs:", "", programs, scale)?;
        generated.add("      - targets: []", STAND_INS, programs, scale)?;
        Ok(generated)
    }

    /// Adds a line of the file, with its duration divided or its targets replaced.
    fn add(
        &mut self,
        line: &str,
        job: &str,
        programs: Programs<'_>,
        scale: Scale,
    ) -> anyhow::Result<()> {
        let indent = &line[..line.len() - line.trim_start().len()];
        let item = line.trim_start();
        let line = if item.starts_with("- targets:") {
            let targets = targets(job, programs)?;
            self.targets += if job.ends_with(READINESS) { 0 } else { targets.len() };
            format!("{indent}- targets: {targets:?}")
        } else if let Some((key @ ("scrape_interval" | "evaluation_interval"), value)) =
            item.split_once(": ")
        {
            let length = promql::parse(value).with_context(|| format!("{FILE}: {line}"))?;
            format!("{indent}{key}: {}", promql::format(scale.shorten(length)))
        } else {
            line.to_owned()
        };
        self.text.push_str(&line);
        self.text.push('\n');
        Ok(())
    }

    /// Writes all files and returns the path of the configuration.
    pub(super) fn write(&self, folder: &Path) -> anyhow::Result<PathBuf> {
        for (name, text) in &self.rules.files {
            write_private(&folder.join(name), text.as_bytes())?;
        }
        let file = folder.join("prometheus.yml");
        write_private(&file, self.text.as_bytes())?;
        Ok(file)
    }
}

fn read(file: &str) -> anyhow::Result<String> {
    let path = workspace_root().join(file);
    std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
}

/// A divided interval of the file.
fn interval(template: &str, key: &str, scale: Scale) -> anyhow::Result<Duration> {
    let value = template.lines().find_map(|line| {
        let (found, value) = line.trim().split_once(": ")?;
        (found == key).then_some(value)
    });
    let length = value.and_then(promql::parse);
    Ok(scale.shorten(length.with_context(|| format!("{FILE} has no {key}"))?))
}

/// Addresses of the programs that a job scrapes.
fn targets(job: &str, programs: Programs<'_>) -> anyhow::Result<Vec<String>> {
    let Programs { info, uptime } = programs;
    if job == UPTIME {
        return Ok(vec![uptime.to_string()]);
    }
    let urls: Vec<&str> = match job.strip_suffix(READINESS).unwrap_or(job) {
        "bff-backoffice" => {
            let gateways = std::iter::once(&info.gateway).chain(&info.second_gateway);
            gateways.map(|gateway| gateway.internal_url.as_str()).collect()
        }
        STAND_INS => vec![&info.stand_ins.url],
        name => match info.services.get(name) {
            Some(service) => vec![&service.url],
            None => bail!(
                "{FILE} has the job {name}, and the stack has no such program: add its address to chaos/src/prometheus/config.rs"
            ),
        },
    };
    let address = |url: &str| url.strip_prefix("http://").map(str::to_owned);
    let addresses = urls.into_iter().map(address).collect::<Option<Vec<_>>>();
    addresses.context("a program of the stack has no plain HTTP address")
}

#[cfg(test)]
mod tests;
