//! Checks whether an alert rule would have fired on the metrics exported during a drill: `/metrics` is
//! sampled once a second, and promtool evaluates the committed rules over the samples.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use launcher::Progress;
use launcher::binaries::tools::{self, Tool};
use launcher::builder::workspace_root;
use tokio::process::Command;
use tokio::sync::watch;
use tokio::time::{Instant, interval};

use crate::drill_env::{DrillEnv, MetricsEndpoint};

const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);

/// Samples of one drill, one second apart. Series that appear late start with gaps.
#[derive(Debug, Default)]
pub struct Samples {
    series: BTreeMap<String, Vec<Option<f64>>>,
    count: usize,
}

impl Samples {
    fn add(&mut self, text: &str) {
        for line in text.lines().filter(|line| is_ours(line)) {
            let Some((name, value)) = line.rsplit_once(' ') else { continue };
            let values = self.series.entry(name.to_owned()).or_default();
            values.resize(self.count, None);
            values.push(value.parse().ok());
        }
        self.count += 1;
    }

    /// Shifts a metric of Unix timestamps by `now`, because promtool's clock starts at zero.
    #[must_use]
    pub fn since_1970_to_zero(mut self, metric: &str, now: i64) -> Self {
        let matching =
            self.series.iter_mut().filter(|(name, _)| name.split('{').next() == Some(metric));
        for value in matching.flat_map(|(_, values)| values.iter_mut().flatten()) {
            *value -= now as f64;
        }
        self
    }

    /// Formats a promtool test: the series, and whether the alert fires at the last sample.
    fn test(&self, rules: &Path, alert: &str) -> anyhow::Result<String> {
        let mut text = format!(
            "rule_files: ['{}']\nevaluation_interval: 1s\ntests:\n  - interval: 1s\n    input_series:\n",
            rules.display()
        );
        for (name, values) in &self.series {
            let values: Vec<String> = values
                .iter()
                .map(|value| value.map_or("_".to_owned(), |value| value.to_string()))
                .collect();
            writeln!(text, "      - {{series: '{name}', values: '{}'}}", values.join(" "))?;
        }
        let expression = format!("count(ALERTS{{alertname=\"{alert}\",alertstate=\"firing\"}})");
        let at = self.count.saturating_sub(1);
        write!(
            text,
            "    promql_expr_test:\n      - {{expr: '{expression}', eval_time: {at}s, exp_samples: [{{value: 1}}]}}\n"
        )?;
        Ok(text)
    }
}

fn is_ours(line: &str) -> bool {
    ["bff_backoffice_", "housekeeping_"].iter().any(|prefix| line.starts_with(prefix))
}

/// Returns the rule file that defines this alert.
fn rules_of(alert: &str) -> anyhow::Result<PathBuf> {
    let line = format!("alert: {alert}\n");
    for entry in std::fs::read_dir(workspace_root().join("ops/alerts"))? {
        let path = entry?.path();
        if std::fs::read_to_string(&path)?.contains(&line) {
            return Ok(path);
        }
    }
    bail!("no file of ops/alerts has the alert {alert}")
}

/// Samples the metrics until `done` changes.
pub async fn sample(
    endpoint: MetricsEndpoint,
    mut done: watch::Receiver<bool>,
) -> anyhow::Result<Samples> {
    let MetricsEndpoint { http, url } = endpoint;
    let (mut samples, mut tick) = (Samples::default(), interval(SAMPLE_INTERVAL));
    loop {
        tokio::select! {
            _ = tick.tick() => samples.add(&http.get(&url).send().await?.text().await?),
            _ = done.changed() => return Ok(samples),
        }
    }
}

/// Runs `work` and checks whether the alert fires at its end on the exported metrics.
pub async fn fired_during<T>(
    alert: &str,
    endpoint: MetricsEndpoint,
    work: impl Future<Output = T>,
) -> (T, anyhow::Result<Duration>) {
    let (given, samples) = sample_during(endpoint, work).await;
    let fired = match samples {
        Ok(samples) => check_fires(alert, &samples, &DrillEnv::folder("drills")).await,
        Err(error) => Err(error),
    };
    (given, fired)
}

/// Runs `work` and samples the metrics meanwhile.
pub async fn sample_during<T>(
    endpoint: MetricsEndpoint,
    work: impl Future<Output = T>,
) -> (T, anyhow::Result<Samples>) {
    let (done, until) = watch::channel(false);
    let working = async {
        let given = work.await;
        done.send_replace(true);
        given
    };
    tokio::join!(working, sample(endpoint, until))
}

/// Fails with promtool's output if the alert does not fire at the last sample.
pub async fn check_fires(
    alert: &str,
    samples: &Samples,
    folder: &Path,
) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    let rules = rules_of(alert)?;
    let file: PathBuf = folder.join(format!("{alert}.yml"));
    std::fs::write(&file, samples.test(&rules, alert)?)?;
    let promtool = tools::find(Tool::Promtool, &Progress::quiet()).await?;
    let output = Command::new(promtool)
        .args(["test", "rules"])
        .arg(&file)
        .stdin(Stdio::null())
        .output()
        .await
        .context("running promtool")?;
    if !output.status.success() {
        bail!("{alert} did not fire: {}", String::from_utf8_lossy(&output.stdout).trim());
    }
    Ok(begun.elapsed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_that_is_born_late_has_gaps_before() {
        let mut samples = Samples::default();
        samples.add("bff_backoffice_a 1\nother 2\n");
        samples.add("bff_backoffice_a 2\nbff_backoffice_b{x=\"1\"} 5\n");
        let test = samples.test(Path::new("rules.yml"), "Some").unwrap();
        assert!(test.contains("{series: 'bff_backoffice_a', values: '1 2'}"), "{test}");
        assert!(test.contains("{series: 'bff_backoffice_b{x=\"1\"}', values: '_ 5'}"), "{test}");
        assert!(!test.contains("other"));
    }
}
