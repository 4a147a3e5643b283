//! Environment of a drill: its own stack, an operator's desktop, and functions to observe and to
//! break the stack.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use contracts::clock::Clock;
use contracts::safeguard::Safeguard;
use launcher::builder::workspace_root;
use launcher::desktop::{Call, Desktop};
use launcher::edge_rules;
use launcher::http_client;
use launcher::progress::Progress;
use launcher::servers::ListenerKind;
use launcher::stack::{Stack, StackOptions};
use launcher::stack_info::Gateway;
use redis::aio::MultiplexedConnection;
use reqwest::Client;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use crate::prometheus::Alerts;
use crate::uptime_probe::{self, UptimeProbe};

mod condition;
mod managers;
mod options;
mod settings;

pub use condition::Pids;
pub use managers::DeviceUse;
use managers::Managers;
use options::of_gateway;
pub use options::{EnvKind, EnvOptions};
use settings::Settings;

/// How often a condition is looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(25);
const GATEWAY: &str = "bff";
/// The setting of a sabotaged server that names the safeguards to switch off.
pub const GUARDS_OFF: &str = "MELMASTOON_GUARDS_OFF";
/// Whether the gateway keeps answers.
const KEEP_SETTING: &str = "MELMASTOON_DASHBOARD__KEEP";

/// A stack, the desktop of a general manager who sees every widget, and an HTTP client for internal
/// listeners.
#[derive(Debug)]
pub struct DrillEnv {
    alerts: Option<Alerts>,
    /// Probes the gateway by its name.
    pub uptime: UptimeProbe,
    pub stack: Stack,
    pub desktop: Desktop,
    pub property: String,
    /// Data folder of the stack.
    pub folder: PathBuf,
    /// Safeguards that the gateway runs without.
    pub safeguards_off: Vec<Safeguard>,
    settings: Settings,
    managers: Managers,
    /// Bytes that the session tier may use.
    session_memory: u64,
    http: Client,
}

/// One dashboard response.
#[derive(Debug, Clone)]
pub struct DashboardView {
    pub at: Instant,
    pub took: Duration,
    /// `None` if there was no response.
    pub status: Option<u16>,
    /// Permitted widgets that are not `ok`.
    pub not_ok: BTreeSet<String>,
    pub body: Value,
}

impl DashboardView {
    pub fn is_whole(&self) -> bool {
        self.status == Some(200) && self.not_ok.is_empty()
    }

    /// Widgets from upstreams that are not `ok`. The gateway's own widget is left out, because a busy
    /// machine may exceed its deadline of 100 ms.
    pub fn upstream_widgets_not_ok(&self) -> BTreeSet<String> {
        let is_own = |name: &&String| self.body["widgets"][name]["source"] == "bff-backoffice";
        self.not_ok.iter().filter(|name| !is_own(name)).cloned().collect()
    }
}

impl DrillEnv {
    /// Starts the stack.
    pub async fn open(options: EnvOptions<'_>, progress: &Progress) -> anyhow::Result<Self> {
        let folder = options.folder.clone();
        let stack_options = StackOptions {
            folder: options.folder.clone(),
            gateway_port: None,
            second_gateway: options.second_gateway.then_some(ListenerKind::Tls),
            faults_on_services: options.faults_on_services,
            build: options.build.clone(),
            keep_alive: false,
            environment: options.environment()?,
            ..StackOptions::default()
        };
        // Removes edge rules that an earlier drill left behind.
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join(edge_rules::FILE_NAME), "")?;
        let stack = Stack::start(stack_options, progress).await?;
        let managers = Managers::of(stack.info())?;
        let (desktop, property) = managers.first().desktop(stack.info(), &folder)?;
        let http = http_client::plain()?;
        let (settings, safeguards_off) =
            (Settings::of(&options), of_gateway(options.safeguards_off));
        let session_memory = condition::session_memory(&stack).await?;
        let uptime = UptimeProbe::start(stack.info()).await?;
        let alerts = match options.alerts {
            Some(scale) => Some(Alerts::start(&stack, uptime.address, scale).await?),
            None => None,
        };
        Ok(Self {
            alerts,
            uptime,
            stack,
            desktop,
            property,
            folder,
            safeguards_off,
            settings,
            managers,
            session_memory,
            http,
        })
    }

    /// Data folder for drills or tests.
    pub fn folder(name: &str) -> std::path::PathBuf {
        workspace_root().join(".local").join(name)
    }

    pub async fn close(self) -> anyhow::Result<()> {
        if let Some(alerts) = self.alerts {
            alerts.stop().await;
        }
        self.stack.stop().await
    }

    /// Requests one dashboard. A missing response is part of the view.
    pub async fn dashboard(&self) -> DashboardView {
        self.dashboard_at(&self.desktop, &self.property).await
    }

    /// Requests a dashboard as another operator.
    pub async fn dashboard_at(&self, desktop: &Desktop, property: &str) -> DashboardView {
        let call = Call::get(format!("/dashboard?propertyId={property}"));
        let at = Instant::now();
        let answer = timeout(Duration::from_secs(5), async {
            let response = Box::pin(desktop.send(&call)).await?;
            let status = response.status().as_u16();
            anyhow::Ok((status, response.json::<Value>().await.unwrap_or_default()))
        });
        let answer = answer.await.ok().and_then(Result::ok);
        let took = at.elapsed();
        let (status, body) =
            answer.map_or((None, Value::Null), |(status, body)| (Some(status), body));
        DashboardView { at, took, status, not_ok: not_ok(&body), body }
    }

    /// Replaces the operator's desktop by one without open connections.
    pub fn reconnect(&mut self) -> anyhow::Result<()> {
        let username = self.desktop.operator().username.clone();
        let folder = self.folder.join("desktop");
        self.desktop = Desktop::open(self.stack.info(), &username, &folder, Clock::system())?;
        Ok(())
    }

    /// Waits until a desktop with new connections gets a whole dashboard.
    pub async fn until_whole_again(&mut self, within: Duration) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        while begun.elapsed() < within {
            self.reconnect()?;
            if self.dashboard().await.is_whole() {
                return Ok(begun.elapsed());
            }
            sleep(POLL_INTERVAL).await;
        }
        bail!("no new connection got a whole dashboard within {} s", within.as_secs())
    }

    /// Writes the edge rules file of the running gateway.
    pub fn write_edge_rules(&self, rules: &str) -> anyhow::Result<()> {
        Ok(std::fs::write(self.folder.join(edge_rules::FILE_NAME), rules)?)
    }

    /// Requests dashboards with `pause` between them, for `length`.
    pub async fn watch(&self, length: Duration, pause: Duration) -> Vec<DashboardView> {
        let (end, mut seen) = (Instant::now() + length, Vec::new());
        while Instant::now() < end {
            seen.push(self.dashboard().await);
            sleep(pause).await;
        }
        seen
    }

    /// Waits until the condition holds and returns the time it took.
    pub async fn wait_until(
        &self,
        what: &str,
        within: Duration,
        is_so: impl AsyncFn(&Self) -> anyhow::Result<bool>,
    ) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        while begun.elapsed() < within {
            if is_so(self).await? {
                return Ok(begun.elapsed());
            }
            sleep(POLL_INTERVAL).await;
        }
        bail!("{what}: not within {} s", within.as_secs())
    }

    /// HTTP client for internal listeners.
    pub fn http(&self) -> Client {
        self.http.clone()
    }

    /// The alerts of an environment that was opened with them.
    pub fn alerts(&self) -> anyhow::Result<&Alerts> {
        self.alerts.as_ref().context("no Prometheus runs: set EnvOptions::alerts")
    }

    /// URL of a service.
    pub fn service_url(&self, name: &str) -> anyhow::Result<String> {
        let service = self.stack.info().services.get(name);
        Ok(service.with_context(|| format!("there is no service {name}"))?.url.clone())
    }

    fn metrics_url(&self) -> String {
        metrics_of(&self.stack.info().gateway)
    }

    /// Sums a metric of the gateway over all series with these labels; an error if there is none.
    pub async fn metric(&self, name: &str, labels: &[(&str, &str)]) -> anyhow::Result<f64> {
        let found = self.metric_at(&self.metrics_url(), name, labels).await?;
        found.with_context(|| {
            format!("/metrics has no {name} with {labels:?}: has it been renamed?")
        })
    }

    /// Sums a counter of the gateway; 0 while it has no series, which it gets with its first increment.
    /// Compare two values: only a difference shows that the counter exists.
    pub async fn counter(&self, name: &str, labels: &[(&str, &str)]) -> anyhow::Result<f64> {
        self.counter_at(&self.metrics_url(), name, labels).await
    }

    /// Like [`Self::counter`], of any server.
    pub async fn counter_at(
        &self,
        metrics_url: &str,
        name: &str,
        labels: &[(&str, &str)],
    ) -> anyhow::Result<f64> {
        Ok(self.metric_at(metrics_url, name, labels).await?.unwrap_or_default())
    }

    async fn metric_at(
        &self,
        metrics_url: &str,
        name: &str,
        labels: &[(&str, &str)],
    ) -> anyhow::Result<Option<f64>> {
        let response = self.http.get(metrics_url).send().await?.error_for_status()?;
        Ok(sum(&response.text().await?, name, labels))
    }

    /// Whether the uptime probe reaches the gateway by its name.
    pub async fn is_reached_by_name(&self) -> anyhow::Result<bool> {
        let found = self.metric_at(&self.uptime.url(), uptime_probe::METRIC, &[]).await?;
        Ok(found.context("the uptime probe exports no result")? > 0.5)
    }

    /// All instances of the gateway.
    pub fn gateways(&self) -> Vec<Gateway> {
        let info = self.stack.info();
        std::iter::once(&info.gateway).chain(&info.second_gateway).cloned().collect()
    }

    /// Like [`Self::counter`], over all instances.
    pub async fn counter_everywhere(
        &self,
        name: &str,
        labels: &[(&str, &str)],
    ) -> anyhow::Result<f64> {
        let mut all = 0.0;
        for gateway in self.gateways() {
            all += self.counter_at(&metrics_of(&gateway), name, labels).await?;
        }
        Ok(all)
    }

    /// Readiness of an instance: the status and the checks that are down.
    pub async fn readiness(&self, gateway: &Gateway) -> anyhow::Result<(u16, Vec<String>)> {
        let answer = self.http.get(format!("{}/health/ready", gateway.internal_url)).send().await?;
        let (status, body): (u16, Value) = (answer.status().as_u16(), answer.json().await?);
        let checks = body["checks"].as_array().cloned().unwrap_or_default();
        let down = checks.iter().filter(|check| check["state"] == "down");
        Ok((status, down.filter_map(|check| Some(check["name"].as_str()?.to_owned())).collect()))
    }

    /// Connects to the session tier directly.
    pub async fn session_tier(&self) -> anyhow::Result<MultiplexedConnection> {
        connect(&self.stack.info().redis.session.url).await
    }

    /// Runs statements in a service's database as administrator.
    pub async fn run_sql(&self, database: &str, sql: &str) -> anyhow::Result<()> {
        let mut config: tokio_postgres::Config = self.stack.info().postgres.admin_url.parse()?;
        let (client, connection) = config.dbname(database).connect(tokio_postgres::NoTls).await?;
        let driving = async move { connection.await.map_err(anyhow::Error::from) };
        let querying = async move { Ok(client.batch_execute(sql).await?) };
        let (connection_result, query_result) = tokio::join!(driving, querying);
        query_result.and(connection_result)
    }

    /// Adds a fault to the stand-ins.
    pub async fn add_fault(&self, fault: &Value) -> anyhow::Result<()> {
        let url = format!("{}/control/faults", self.stack.info().stand_ins.url);
        self.http.put(url).json(fault).send().await?.error_for_status()?;
        Ok(())
    }

    pub async fn clear_faults(&self) -> anyhow::Result<()> {
        let url = format!("{}/control/faults", self.stack.info().stand_ins.url);
        self.http.delete(url).send().await?.error_for_status()?;
        Ok(())
    }

    /// Allows or refuses connections to a service's database; refusing also ends open ones.
    pub async fn set_database_available(&self, name: &str, available: bool) -> anyhow::Result<()> {
        let url = &self.stack.info().postgres.admin_url;
        let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await?;
        let driving = async move { connection.await.map_err(anyhow::Error::from) };
        let querying = async move {
            let statement = format!("ALTER DATABASE {name} WITH ALLOW_CONNECTIONS {available}");
            client.batch_execute(&statement).await?;
            if !available {
                let ending =
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1";
                client.execute(ending, &[&name]).await?;
            }
            anyhow::Ok(())
        };
        let (connection_result, query_result) = tokio::join!(driving, querying);
        query_result.and(connection_result)
    }
}

/// Metrics URL of an instance.
pub fn metrics_of(gateway: &Gateway) -> String {
    format!("{}/metrics", gateway.internal_url)
}

/// Connects to a Redis of the stack.
pub async fn connect(url: &str) -> anyhow::Result<MultiplexedConnection> {
    Ok(redis::Client::open(url)?.get_multiplexed_async_connection().await?)
}

/// Permitted widgets of a dashboard that are not `ok`.
pub fn not_ok(body: &Value) -> BTreeSet<String> {
    let Some(widgets) = body["widgets"].as_object() else { return BTreeSet::new() };
    let not_ok = widgets
        .iter()
        .filter(|(_, widget)| widget["status"] != "ok" && widget["status"] != "forbidden");
    not_ok.map(|(name, _)| name.clone()).collect()
}

/// `None` if no series has this name and these labels.
fn sum(text: &str, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let wanted: Vec<String> =
        labels.iter().map(|(label, value)| format!("{label}=\"{value}\"")).collect();
    let series = text.lines().filter(|line| {
        let rest = line.strip_prefix(name).unwrap_or_default();
        rest.starts_with(['{', ' ']) && wanted.iter().all(|label| rest.contains(label.as_str()))
    });
    let values = series.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    values.reduce(|sum, value| sum + value)
}

/// Body of a stand-in fault for one upstream.
pub fn stand_in_fault(upstream: &str, kind: &str) -> Value {
    json!({"upstream": upstream, "kind": kind})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_summed_over_the_series_that_match() {
        let text = "# TYPE a counter\na{x=\"1\",y=\"2\"} 3\na{x=\"1\",y=\"3\"} 4\na{x=\"2\"} 5\nab{x=\"1\"} 9\n";
        assert_eq!(sum(text, "a", &[("x", "1")]), Some(7.0));
        assert_eq!(sum(text, "a", &[]), Some(12.0));
        assert_eq!(sum(text, "a", &[("x", "9")]), None, "an absent series is not 0");
        assert_eq!(sum(text, "b", &[]), None);
    }
}
