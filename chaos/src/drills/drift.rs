//! An upstream's response violates its contract. Nothing of it is shown, the route responds with
//! SCHEMA_DRIFT, and it is counted and logged with the path of the violation but without data.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Context;
use launcher::desktop::Call;
use serde_json::Value;
use tokio::time::Instant;

use super::{Mode, widgets};
use crate::drill_env::{DashboardView, DrillEnv, stand_in_fault};
use crate::observations::{Observations, Step};
use crate::timed_call::{self, TimedResponse};

const ALERT: &str = "BffSchemaDrift";
const COUNTER: &str = "bff_backoffice_upstream_schema_drift_total";
const CALLS_METRIC: &str = "bff_backoffice_upstream_request_total";
const CODE: &str = "MELMASTOON.BFF.SCHEMA_DRIFT";
const DRIFT_LOG_MESSAGE: &str = "An upstream response does not match its contract.";
const DETECT_WITHIN: Duration = Duration::from_secs(10);
const WATCH_DURATION: Duration = Duration::from_secs(4);
const REQUEST_PAUSE: Duration = Duration::from_millis(100);

/// The upstream whose widgets are lost, and a read that needs it.
struct UpstreamDrift {
    upstream: &'static str,
    read: Option<&'static str>,
}

/// One stand-in and one domain service.
static DRIFTS: [UpstreamDrift; 2] = [
    UpstreamDrift { upstream: "reservation", read: Some("/arrivals") },
    UpstreamDrift { upstream: "inventory", read: Some("/inventory/availability") },
];

pub(super) async fn run(
    mode: Mode,
    objective: Duration,
    env: &mut DrillEnv,
    seen: &mut Observations,
) -> anyhow::Result<()> {
    let guests = guests(env).await?;
    for (number, one) in DRIFTS.iter().enumerate() {
        one.drift(mode == Mode::Full && number == 0, objective, env, seen).await?;
    }
    let log = std::fs::read_to_string(env.stack.process("bff")?.log())?;
    let leaked: BTreeSet<_> = guests.iter().filter(|name| log.contains(name.as_str())).collect();
    let what = format!("none of the {} guests' names is in the gateway's log", guests.len());
    seen.check(
        Step::Automatic,
        what,
        leaked.is_empty() && !guests.is_empty(),
        format!("{leaked:?}"),
    );
    Ok(())
}

/// Names of today's guests, which must not be logged.
async fn guests(env: &DrillEnv) -> anyhow::Result<BTreeSet<String>> {
    let body = timed_call::send(&env.desktop, &read("/arrivals", env)).await?.body;
    let items = body["items"].as_array().context("arrivals have items")?;
    Ok(items.iter().filter_map(|stay| Some(stay["guestName"].as_str()?.to_owned())).collect())
}

fn read(path: &str, env: &DrillEnv) -> Call {
    Call::get(format!("{path}?propertyId={}", env.property))
}

impl UpstreamDrift {
    async fn drift(
        &self,
        alert: bool,
        objective: Duration,
        env: &DrillEnv,
        seen: &mut Observations,
    ) -> anyhow::Result<()> {
        let whole = async |env: &DrillEnv| Ok(env.dashboard().await.is_whole());
        let steady = env.wait_until("a whole dashboard", objective, whole).await;
        seen.check_timed(Step::Steady, "every widget is ok", steady);
        let (counted, refused) = (self.counted(env).await?, self.refused(env).await?);
        env.add_fault(&stand_in_fault(self.upstream, "drift")).await?;
        seen.check(Step::Fault, format!("{} violates its contract", self.upstream), true, "done");

        let (dashboards, reads) = self.watch_with_alert(alert, env, seen).await?;
        self.check_user_view(&dashboards, &reads, seen);
        let grown = async |env: &DrillEnv| Ok(self.counted(env).await? > counted);
        let grown = env.wait_until("the counter", DETECT_WITHIN, grown).await;
        let took = seen.check_timed(Step::Detection, format!("{COUNTER} counts it"), grown);
        seen.detected_after(took);
        self.check_log(env, seen)?;
        let spared = self.refused(env).await? - refused;
        let what = "the breaker stays closed, and the first valid response is used";
        seen.check(Step::Automatic, what, spared < 0.5, format!("{spared:.0} calls spared"));

        env.clear_faults().await?;
        let back = env.wait_until("a whole dashboard", objective, whole).await;
        let what = format!("every widget is ok within {} s", objective.as_secs());
        let took = seen.check_timed(Step::Recovery, what, back);
        seen.recovered_after(took);
        Ok(())
    }

    async fn watch_with_alert(
        &self,
        alert: bool,
        env: &DrillEnv,
        seen: &mut Observations,
    ) -> anyhow::Result<(Vec<DashboardView>, Vec<TimedResponse>)> {
        if !alert {
            return self.watch(env).await;
        }
        let (alerts, watching) = (env.alerts()?, self.watch(env));
        let (given, raised) = alerts.raised_during(&[ALERT], Instant::now(), watching).await?;
        raised.report(seen);
        given
    }

    async fn watch(
        &self,
        env: &DrillEnv,
    ) -> anyhow::Result<(Vec<DashboardView>, Vec<TimedResponse>)> {
        let (dashboards, mut reads) = (env.watch(WATCH_DURATION, REQUEST_PAUSE).await, Vec::new());
        if let Some(path) = self.read {
            for _ in 0..3 {
                reads.push(timed_call::send(&env.desktop, &read(path, env)).await?);
            }
        }
        Ok((dashboards, reads))
    }

    fn check_user_view(
        &self,
        dashboards: &[DashboardView],
        reads: &[TimedResponse],
        seen: &mut Observations,
    ) {
        let good = dashboards.iter().filter(|view| self.shows_drift(view)).count();
        let what = format!(
            "every dashboard is 200; of the upstreams' {:?} alone are unavailable, reason SCHEMA_DRIFT",
            widgets::of_upstream(self.upstream)
        );
        let all = dashboards.len();
        seen.check(Step::User, what, good == all && good > 0, format!("{good} of {all}"));
        let shows_drift = |response: &&TimedResponse| {
            response.is(502, CODE) && response.body["runbook"] == "bff-backoffice/schema-drift"
        };
        let good = reads.iter().filter(shows_drift).count();
        let what =
            format!("{} is 502 {CODE} and names the runbook", self.read.unwrap_or("no read"));
        let found = reads.first().map_or_else(String::new, TimedResponse::summary);
        let held = good == reads.len() && reads.is_empty() == self.read.is_none();
        seen.check(Step::User, what, held, found);
    }

    fn shows_drift(&self, dashboard: &DashboardView) -> bool {
        let own = widgets::of_upstream(self.upstream);
        let says = |name: &String| {
            let widget = &dashboard.body["widgets"][name];
            widget["status"] == "unavailable"
                && widget["reason"] == "SCHEMA_DRIFT"
                && widget["data"].is_null()
        };
        dashboard.status == Some(200)
            && dashboard.upstream_widgets_not_ok() == own
            && own.iter().all(says)
    }

    fn check_log(&self, env: &DrillEnv, seen: &mut Observations) -> anyhow::Result<()> {
        let log = std::fs::read_to_string(env.stack.process("bff")?.log())?;
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let own = lines.filter(|line| {
            line["message"] == DRIFT_LOG_MESSAGE && line["upstream"] == self.upstream
        });
        let paths: BTreeSet<String> = own.map(|line| line["path"].to_string()).collect();
        let named = !paths.is_empty() && paths.iter().all(|path| path.len() > "\".\"".len());
        seen.check(
            Step::Detection,
            "the log names the path of the violation",
            named,
            format!("{paths:?}"),
        );
        Ok(())
    }

    async fn counted(&self, env: &DrillEnv) -> anyhow::Result<f64> {
        env.metric(COUNTER, &[("upstream", self.upstream)]).await
    }

    async fn refused(&self, env: &DrillEnv) -> anyhow::Result<f64> {
        env.metric(CALLS_METRIC, &[("upstream", self.upstream), ("outcome", "BREAKER_OPEN")]).await
    }
}
