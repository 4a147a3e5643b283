//! A Prometheus beside a drill's stack. It scrapes the stack's programs and evaluates the project's own
//! alert rules, with their durations divided by the run's scale.
//!
//! `config` and `rules` generate its files, `alerts` is what drills use.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use contracts::clock::Clock;
use jiff::Timestamp;
use launcher::binaries::tools::{self, Tool};
use launcher::data_dir::private_dir;
use launcher::http_client;
use launcher::ports::{Claims, Ports};
use launcher::readiness::ReadyCheck;
use launcher::run_as::remove_any;
use launcher::supervisor::{ChildSpec, Process, State, StopSignal, Supervisor};
use launcher::{Progress, Stack};
use reqwest::Client;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::{Instant, sleep};

mod alerts;
mod config;
mod promql;
mod rules;
mod scale;

pub use alerts::{AlertState, Alerts, Raised};
use config::{Generated, Programs, READINESS};
use rules::Timing;
pub use scale::Scale;

const NAME: &str = "prometheus";
const READY_WITHIN: Duration = Duration::from_secs(30);
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);
const POLL_INTERVAL: Duration = Duration::from_millis(100);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// A running Prometheus. Dropping it ends the process and removes its folder.
#[derive(Debug)]
struct Prometheus {
    url: String,
    http: Client,
    process: Process,
    generated: Generated,
    scale: Scale,
    folder: PathBuf,
    // Dropped before the folder is removed, so that the process is gone.
    supervisor: Option<Supervisor>,
    #[expect(dead_code, reason = "held, not read")]
    claims: Claims,
}

/// An alert that is pending or firing.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ActiveAlert {
    labels: Labels,
    state: ActiveState,
    /// When its expression became true.
    active_at: Timestamp,
}

#[derive(Debug, Clone, Deserialize)]
struct Labels {
    alertname: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ActiveState {
    Pending,
    Firing,
}

#[derive(Debug, Deserialize)]
struct Response<T> {
    data: T,
}

#[derive(Debug, Deserialize)]
struct ActiveAlerts {
    alerts: Vec<ActiveAlert>,
}

#[derive(Debug, Deserialize)]
struct QueryResult {
    result: Vec<Value>,
}

#[derive(Debug, Deserialize)]
struct Groups {
    groups: Vec<Group>,
}

/// A group of rules and its last evaluation.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Group {
    interval: f64,
    last_evaluation: Timestamp,
}

impl Prometheus {
    /// Returns once every program was scraped and the rules were evaluated.
    async fn start(stack: &Stack, uptime: SocketAddr, scale: Scale) -> anyhow::Result<Self> {
        let program = tools::find(Tool::Prometheus, &Progress::quiet()).await?;
        let generated = Generated::new(Programs { info: stack.info(), uptime }, scale)?;
        let data = stack.folder();
        let mut ports = Ports::open(data);
        let port = ports.choose(NAME)?;
        let claims = ports.release()?;
        let folder = data.join(NAME);
        // A drill that was killed leaves it behind.
        remove_any(&folder)?;
        private_dir(&folder)?;
        let config = generated.write(&folder)?;
        let url = format!("http://127.0.0.1:{port}");
        let spec = ChildSpec {
            name: NAME.to_owned(),
            program,
            args: vec![
                format!("--config.file={}", config.display()).into(),
                format!("--storage.tsdb.path={}", folder.join("data").display()).into(),
                format!("--web.listen-address=127.0.0.1:{port}").into(),
                "--log.level=warn".into(),
            ],
            env: vec![],
            dir: folder.clone(),
            exclusive_dir: None,
            log: data.log(NAME),
            run_as: None,
            stop: StopSignal::Terminate,
            drain: DRAIN_TIMEOUT,
            ready: ReadyCheck::http(format!("{url}/-/ready"))?,
        };
        let (supervisor, _) = Supervisor::start()?;
        let process = supervisor.launch(spec);
        let (http, supervisor) = (http_client::plain()?, Some(supervisor));
        let started = Self { url, http, process, generated, scale, folder, supervisor, claims };
        started.process.wait_ready(READY_WITHIN).await?;
        started.wait_evaluated().await?;
        Ok(started)
    }

    fn has_ended(&self) -> bool {
        matches!(self.process.state(), State::Down { .. })
    }

    fn timing(&self, alert: &str) -> anyhow::Result<Timing> {
        self.generated.rules.timing(alert, self.scale)
    }

    /// Every alert that is pending or firing.
    async fn active(&self) -> anyhow::Result<Vec<ActiveAlert>> {
        Ok(self.get::<ActiveAlerts>("alerts", &[]).await?.alerts)
    }

    /// Whether an alert was pending or firing at an earlier time.
    async fn was_active(&self, alert: &str, at: Timestamp) -> anyhow::Result<bool> {
        let query = format!("ALERTS{{alertname=\"{alert}\"}}");
        let time = at.to_string();
        let found: QueryResult = self.get("query", &[("query", &query), ("time", &time)]).await?;
        Ok(!found.result.is_empty())
    }

    /// Ends the process and removes its folder.
    async fn stop(self) {
        self.process.stop().await;
    }

    async fn wait_evaluated(&self) -> anyhow::Result<()> {
        let begun = Instant::now();
        let up = format!("up{{job!~\".*{READINESS}\"}} == 1");
        while self.get::<QueryResult>("query", &[("query", &up)]).await?.result.len()
            < self.generated.targets
        {
            self.within(begun, "did not scrape every program").await?;
        }
        let scraped = Clock::system().now();
        while !self.get::<Groups>("rules", &[]).await?.groups.iter().all(|group| {
            // Groups with a longer interval wait for no drill.
            group.interval > self.generated.evaluation_interval.as_secs_f64()
                || group.last_evaluation > scraped
        }) {
            self.within(begun, "did not evaluate every rule").await?;
        }
        Ok(())
    }

    async fn within(&self, begun: Instant, what: &str) -> anyhow::Result<()> {
        if begun.elapsed() > READY_WITHIN {
            let (seconds, log) = (READY_WITHIN.as_secs(), self.process.log().display());
            bail!("Prometheus {what} within {seconds} s. Read its log, {log}.");
        }
        sleep(POLL_INTERVAL).await;
        Ok(())
    }

    async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> anyhow::Result<T> {
        let request = self.http.get(format!("{}/api/v1/{path}", self.url)).query(query);
        let answer = async {
            let response = request.timeout(REQUEST_TIMEOUT).send().await?;
            anyhow::Ok(response.error_for_status()?.json::<Response<T>>().await?.data)
        };
        answer.await.with_context(|| {
            let how = match self.process.state() {
                State::Down { how } => how,
                _ => "did not respond".to_owned(),
            };
            format!("Prometheus {how}; its log is {}", self.process.log().display())
        })
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        drop(self.supervisor.take());
        // A folder that remains is removed at the next start.
        let _ = remove_any(&self.folder);
    }
}
