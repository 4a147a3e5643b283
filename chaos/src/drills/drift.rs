//! An upstream's response violates its contract. Nothing of it is shown, the route responds with
//! SCHEMA_DRIFT, and it is counted and logged with the path of the violation but without data.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Context;
use launcher::desktop::Call;
use serde_json::Value;
use tokio::time::Instant;

use super::widgets;
use crate::drill_env::{DashboardView, DrillEnv, EnvOptions, stand_in_fault};
use crate::drill_run::{Drill, DrillFuture, DrillRun, EnvAfter};
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

pub(super) struct Drift;

impl Drill for Drift {
    fn environment<'a>(&self, options: EnvOptions<'a>) -> EnvOptions<'a> {
        EnvOptions { cold: true, faults_on_services: true, ..options }
    }

    fn leaves(&self) -> EnvAfter {
        EnvAfter::Unchanged
    }

    fn run<'a>(&'a self, run: &'a mut DrillRun) -> DrillFuture<'a> {
        Box::pin(run_drill(run))
    }
}

async fn run_drill(run: &mut DrillRun) -> anyhow::Result<()> {
    let guests = guests(&run.env).await?;
    for (number, one) in DRIFTS.iter().enumerate() {
        let alerts: &[_] = if number == 0 { &[ALERT] } else { &[] };
        one.drift(run, alerts).await?;
    }
    let log = log(run)?;
    let leaked: BTreeSet<_> = guests.iter().filter(|name| log.contains(name.as_str())).collect();
    let found = format!("{leaked:?} of {} names", guests.len());
    let held = leaked.is_empty() && !guests.is_empty();
    run.automatic("no guest's name is in the gateway's log", held, found);
    Ok(())
}

/// Names of today's guests, which must not be logged.
async fn guests(env: &DrillEnv) -> anyhow::Result<BTreeSet<String>> {
    let body = timed_call::send(&env.desktop, &read("/arrivals", env)).await?.body;
    let items = body["items"].as_array().context("arrivals have items")?;
    Ok(items.iter().filter_map(|stay| Some(stay["guestName"].as_str()?.to_owned())).collect())
}

/// The gateway's log.
fn log(run: &DrillRun) -> anyhow::Result<String> {
    Ok(std::fs::read_to_string(run.env.stack.process("bff")?.log())?)
}

fn read(path: &str, env: &DrillEnv) -> Call {
    Call::get(format!("{path}?propertyId={}", env.property))
}

impl UpstreamDrift {
    async fn drift(&self, run: &DrillRun, alerts: &[&'static str]) -> anyhow::Result<()> {
        let steady = run.until_whole().await;
        run.steady_within("every widget is ok", steady);
        let (counted, refused) = (self.counted(&run.env).await?, self.refused(&run.env).await?);
        let logged = log(run)?.len();
        run.env.add_fault(&stand_in_fault(self.upstream, "drift")).await?;
        run.inject(format!("{} violates its contract", self.upstream));

        let (dashboards, reads) =
            run.raised_during(alerts, Instant::now(), self.watch(&run.env)).await??;
        self.check_user_view(run, &dashboards, &reads);
        let grown = async |env: &DrillEnv| Ok(self.counted(env).await? > counted);
        let grown = run.env.wait_until("the counter", DETECT_WITHIN, grown).await;
        let took = run.detect_within(format!("{COUNTER} counts it"), grown);
        run.detected_after(took);
        self.check_log(run, logged)?;
        let spared = self.refused(&run.env).await? - refused;
        let what = "the breaker stays closed, and the first valid response is used";
        run.automatic(what, spared < 0.5, format!("{spared:.0} calls spared"));

        run.env.clear_faults().await?;
        let back = run.until_whole().await;
        let what = "every widget is ok";
        run.recover_within(what, back);
        Ok(())
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
        run: &DrillRun,
        dashboards: &[DashboardView],
        reads: &[TimedResponse],
    ) {
        let good = dashboards.iter().filter(|view| self.shows_drift(view)).count();
        let what = format!(
            "every dashboard is 200; of the upstreams' {:?} alone are unavailable, reason SCHEMA_DRIFT",
            widgets::of_upstream(self.upstream)
        );
        let all = dashboards.len();
        run.user(what, good == all && good > 0, format!("{good} of {all}"));
        let shows_drift = |response: &&TimedResponse| {
            response.is(502, CODE) && response.body["runbook"] == "bff-backoffice/schema-drift"
        };
        let good = reads.iter().filter(shows_drift).count();
        let what =
            format!("{} is 502 {CODE} and names the runbook", self.read.unwrap_or("no read"));
        let found = reads.first().map_or_else(String::new, TimedResponse::summary);
        let held = good == reads.len() && reads.is_empty() == self.read.is_none();
        run.user(what, held, found);
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

    /// Checks what was logged after the first `logged` bytes.
    fn check_log(&self, run: &DrillRun, logged: usize) -> anyhow::Result<()> {
        let log = log(run)?;
        let new = log.get(logged..).context("the log became shorter")?;
        let lines = new.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let own = lines.filter(|line| {
            line["message"] == DRIFT_LOG_MESSAGE && line["upstream"] == self.upstream
        });
        let paths: BTreeSet<String> = own.map(|line| line["path"].to_string()).collect();
        let named = !paths.is_empty() && paths.iter().all(|path| path.len() > "\".\"".len());
        run.detect("the log names the path of the violation", named, format!("{paths:?}"));
        Ok(())
    }

    async fn counted(&self, env: &DrillEnv) -> anyhow::Result<f64> {
        env.counter(COUNTER, &[("upstream", self.upstream)]).await
    }

    async fn refused(&self, env: &DrillEnv) -> anyhow::Result<f64> {
        env.counter(CALLS_METRIC, &[("upstream", self.upstream), ("outcome", "BREAKER_OPEN")]).await
    }
}
