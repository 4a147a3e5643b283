//! Whether another drill can use an environment.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context;
use launcher::{Stack, edge_rules};
use redis::InfoDict;
use serde_json::Value;

use super::{DrillEnv, connect, metrics_of};

/// Time for dashboards, readiness and alerts. Another environment is there as soon.
const WITHIN: Duration = Duration::from_secs(10);
const EXPIRY_METRIC: &str = "bff_backoffice_tls_certificate_expiry_seconds";
/// A certificate that ends sooner raises an alert.
const CERTIFICATE_SECONDS: i64 = 30 * 86_400;

/// Process ids by name; `None` for a process that does not run.
#[derive(Debug)]
pub struct Pids(BTreeMap<String, Option<u32>>);

impl DrillEnv {
    pub fn pids(&self) -> Pids {
        let processes = self.stack.processes();
        Pids(processes.map(|process| (process.name().to_owned(), process.pid())).collect())
    }

    /// Returns why the next drill cannot use this environment, or `None`. `before`: the processes before
    /// the drill, of which it may have restarted some.
    pub async fn unusable(
        &self,
        before: &Pids,
        restarted: &[&str],
    ) -> anyhow::Result<Option<String>> {
        let left = self.left_behind(before, restarted).await?;
        if !left.is_empty() {
            return Ok(Some(left.join("; ")));
        }
        let ready = self.wait_until("readiness of every gateway", WITHIN, are_ready).await;
        let lasts = async |env: &Self| env.certificate_lasts().await;
        let lasting = self.wait_until("a certificate of 30 days or more", WITHIN, lasts).await;
        let reached = self.wait_until("uptime", WITHIN, Self::is_reached_by_name).await;
        let is_whole = async |env: &Self| Ok(env.dashboard().await.is_whole());
        let whole = self.wait_until("a whole dashboard", WITHIN, is_whole).await;
        let silent = self.wait_until("silent alerts", WITHIN, are_silent).await;
        let problem = [ready, lasting, reached, whole, silent].into_iter().find_map(Result::err);
        let Some(problem) = problem else { return Ok(None) };
        let mut problem = format!("{problem:#}");
        if let Ok(alerts) = self.alerts() {
            problem = format!("{problem}, alerts {:?}", alerts.active().await?);
        }
        Ok(Some(problem))
    }

    /// What the drill changed and did not undo.
    async fn left_behind(&self, before: &Pids, restarted: &[&str]) -> anyhow::Result<Vec<String>> {
        let mut left = self.changed_processes(before, restarted);
        // Stores and stand-ins answer nothing while they are down.
        if !left.is_empty() {
            return Ok(left);
        }
        let faults = self.stand_in_faults().await?;
        if !faults.is_empty() {
            left.push(format!("faults are set at the stand-ins: {}", Value::from(faults)));
        }
        if !std::fs::read_to_string(self.folder.join(edge_rules::FILE_NAME))?.is_empty() {
            left.push("the edge rules are not empty".to_owned());
        }
        let closed = self.closed_databases().await?;
        if !closed.is_empty() {
            left.push(format!("databases take no connections: {closed:?}"));
        }
        let memory = session_memory(&self.stack).await?;
        if memory != self.session_memory {
            left.push(format!("the session tier may use {memory} bytes"));
        }
        Ok(left)
    }

    /// Processes that ended, are stopped, or were restarted although the drill does not say so.
    fn changed_processes(&self, before: &Pids, restarted: &[&str]) -> Vec<String> {
        let mut changed = Vec::new();
        for (name, pid) in self.pids().0 {
            let is_same = before.0.get(&name) == Some(&pid);
            match pid {
                None => changed.push(format!("{name} does not run")),
                Some(pid) if is_stopped(pid) => changed.push(format!("{name} is stopped")),
                Some(_) if !is_same && !restarted.contains(&name.as_str()) => {
                    changed.push(format!("{name} is another process"));
                }
                Some(_) => {}
            }
        }
        changed
    }

    async fn stand_in_faults(&self) -> anyhow::Result<Vec<Value>> {
        let url = format!("{}/control/faults", self.stack.info().stand_ins.url);
        let list: Value = self.http.get(url).send().await?.error_for_status()?.json().await?;
        Ok(list["items"].as_array().cloned().unwrap_or_default())
    }

    /// Databases that refuse connections.
    pub async fn closed_databases(&self) -> anyhow::Result<Vec<String>> {
        let url = &self.stack.info().postgres.admin_url;
        let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await?;
        let closed = "SELECT datname::text FROM pg_database \
                      WHERE NOT datallowconn AND NOT datistemplate ORDER BY datname";
        let driving = async move { connection.await.map_err(anyhow::Error::from) };
        let querying = async move { anyhow::Ok(client.query(closed, &[]).await?) };
        let (connection_result, rows) = tokio::join!(driving, querying);
        connection_result?;
        Ok(rows?.iter().map(|row| row.get(0)).collect())
    }

    /// Sets the session tier's memory limit to what it was at first.
    pub async fn restore_session_memory(&self) -> anyhow::Result<()> {
        let mut setting = redis::cmd("CONFIG");
        setting.arg("SET").arg("maxmemory").arg(self.session_memory);
        Ok(setting.query_async(&mut self.session_tier().await?).await?)
    }

    /// Whether every gateway serves a certificate that does not end soon.
    async fn certificate_lasts(&self) -> anyhow::Result<bool> {
        let now = contracts::clock::Clock::system().unix_seconds();
        for gateway in self.gateways() {
            let ends = self.metric_at(&metrics_of(&gateway), EXPIRY_METRIC, &[]).await?;
            if ends.unwrap_or_default() as i64 - now < CERTIFICATE_SECONDS {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// The session tier's memory limit, in bytes.
pub(super) async fn session_memory(stack: &Stack) -> anyhow::Result<u64> {
    let mut tier = connect(&stack.info().redis.session.url).await?;
    let info: InfoDict = redis::cmd("INFO").arg("memory").query_async(&mut tier).await?;
    info.get("maxmemory").context("INFO has no maxmemory")
}

/// Whether a process was stopped with SIGSTOP: state T in `/proc/<pid>/stat`, after its name.
fn is_stopped(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    state == Some('T')
}

/// Whether every gateway is ready and none of its checks is down.
async fn are_ready(env: &DrillEnv) -> anyhow::Result<bool> {
    for gateway in env.gateways() {
        if env.readiness(&gateway).await? != (200, vec![]) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether no alert is pending or firing, in an environment that has alerts.
async fn are_silent(env: &DrillEnv) -> anyhow::Result<bool> {
    let Ok(alerts) = env.alerts() else { return Ok(true) };
    Ok(alerts.active().await?.is_empty())
}
