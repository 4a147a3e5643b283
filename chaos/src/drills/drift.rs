//! An upstream answers another shape than its contract: nothing of it is shown, the route says so,
//! it is counted and logged by the path of what is wrong, and the data stays out of the log.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Context;
use launcher::desktop::Call;
use serde_json::Value;

use super::Form;
use crate::alerts;
use crate::house::{House, Seen, fault};
use crate::observations::{Observations, Step};
use crate::timed::{self, Answer};

const ALERT: &str = "BffSchemaDrift";
const COUNTER: &str = "bff_backoffice_upstream_schema_drift_total";
const CALLS: &str = "bff_backoffice_upstream_request_total";
const CODE: &str = "MELMASTOON.BFF.SCHEMA_DRIFT";
const LOGGED: &str = "An upstream response does not match its contract.";
const DETECT_WITHIN: Duration = Duration::from_secs(10);
const WATCHED: Duration = Duration::from_secs(4);
const PAUSE: Duration = Duration::from_millis(100);

/// Who drifts, which widgets are lost, and the read that needs the upstream.
struct Drifting {
    upstream: &'static str,
    widgets: &'static [&'static str],
    read: Option<&'static str>,
}

/// One that is played, one of our own services.
static DRIFTING: [Drifting; 2] = [
    Drifting {
        upstream: "reservation",
        widgets: &["arrivals", "departures", "inHouse"],
        read: Some("/arrivals"),
    },
    Drifting {
        upstream: "inventory",
        widgets: &["availability", "occupancy"],
        read: Some("/inventory/availability"),
    },
];

pub(super) async fn run(
    form: Form,
    objective: Duration,
    house: &mut House,
    seen: &mut Observations,
) -> anyhow::Result<()> {
    let guests = guests(house).await?;
    for (number, one) in DRIFTING.iter().enumerate() {
        one.drift(form == Form::Full && number == 0, objective, house, seen).await?;
    }
    let log = std::fs::read_to_string(house.stack.process("bff")?.log())?;
    let told: BTreeSet<_> = guests.iter().filter(|name| log.contains(name.as_str())).collect();
    let what = format!("none of the {} guests' names is in the gateway's log", guests.len());
    seen.expect(Step::Automatic, what, told.is_empty() && !guests.is_empty(), format!("{told:?}"));
    Ok(())
}

/// What must not be logged: who arrives today.
async fn guests(house: &House) -> anyhow::Result<BTreeSet<String>> {
    let body = timed::send(&house.desktop, &read("/arrivals", house)).await?.body;
    let items = body["items"].as_array().context("arrivals have items")?;
    Ok(items.iter().filter_map(|it| Some(it["guestName"].as_str()?.to_owned())).collect())
}

fn read(path: &str, house: &House) -> Call {
    Call::get(format!("{path}?propertyId={}", house.property))
}

impl Drifting {
    async fn drift(
        &self,
        alert: bool,
        objective: Duration,
        house: &House,
        seen: &mut Observations,
    ) -> anyhow::Result<()> {
        let whole = async |house: &House| Ok(house.dashboard().await.is_whole());
        let steady = house.until("a whole dashboard", objective, whole).await;
        seen.took(Step::Steady, "every widget is ok", steady);
        let (counted, refused) = (self.counted(house).await?, self.refused(house).await?);
        house.fault(&fault(self.upstream, "drift")).await?;
        seen.expect(Step::Fault, format!("{} answers another shape", self.upstream), true, "done");

        let (dashboards, reads) = self.watched(alert, house, seen).await?;
        self.user(&dashboards, &reads, seen);
        let grown = async |house: &House| Ok(self.counted(house).await? > counted);
        let grown = house.until("the counter", DETECT_WITHIN, grown).await;
        let took = seen.took(Step::Detection, format!("{COUNTER} counts it"), grown);
        seen.detected_after(took);
        self.logged(house, seen)?;
        let spared = self.refused(house).await? - refused;
        let what =
            "the breaker stays closed: it answers, and comes back with its first good answer";
        seen.expect(Step::Automatic, what, spared < 0.5, format!("{spared:.0} calls spared"));

        house.clear_faults().await?;
        let back = house.until("a whole dashboard", objective, whole).await;
        let what = format!("every widget is ok within {} s", objective.as_secs());
        let took = seen.took(Step::Recovery, what, back);
        seen.recovered_after(took);
        Ok(())
    }

    async fn watched(
        &self,
        alert: bool,
        house: &House,
        seen: &mut Observations,
    ) -> anyhow::Result<(Vec<Seen>, Vec<Answer>)> {
        if !alert {
            return self.watch(house).await;
        }
        let exported = (house.http(), house.metrics_url());
        let (given, fired) = alerts::during(ALERT, exported, self.watch(house)).await;
        seen.took(Step::Detection, format!("{ALERT} fires on the exported metrics"), fired);
        given
    }

    async fn watch(&self, house: &House) -> anyhow::Result<(Vec<Seen>, Vec<Answer>)> {
        let (dashboards, mut reads) = (house.watch(WATCHED, PAUSE).await, Vec::new());
        if let Some(path) = self.read {
            for _ in 0..3 {
                reads.push(timed::send(&house.desktop, &read(path, house)).await?);
            }
        }
        Ok((dashboards, reads))
    }

    fn user(&self, dashboards: &[Seen], reads: &[Answer], seen: &mut Observations) {
        let good = dashboards.iter().filter(|it| self.is_told(it)).count();
        let what = format!(
            "every dashboard is 200; of the upstreams' {:?} alone are unavailable, reason SCHEMA_DRIFT",
            self.widgets
        );
        let all = dashboards.len();
        seen.expect(Step::User, what, good == all && good > 0, format!("{good} of {all}"));
        let is_told = |it: &&Answer| it.is(502, CODE) && it.body["runbook"] == "bff/schema-drift";
        let good = reads.iter().filter(is_told).count();
        let what =
            format!("{} is 502 {CODE} and names the runbook", self.read.unwrap_or("no read"));
        let found = reads.first().map_or_else(String::new, Answer::told);
        let held = good == reads.len() && reads.is_empty() == self.read.is_none();
        seen.expect(Step::User, what, held, found);
    }

    fn is_told(&self, dashboard: &Seen) -> bool {
        let own: BTreeSet<String> = self.widgets.iter().map(|name| (*name).to_owned()).collect();
        let says = |name: &String| {
            let widget = &dashboard.body["widgets"][name];
            widget["status"] == "unavailable"
                && widget["reason"] == "SCHEMA_DRIFT"
                && widget["data"].is_null()
        };
        dashboard.status == Some(200) && dashboard.missed() == own && own.iter().all(says)
    }

    fn logged(&self, house: &House, seen: &mut Observations) -> anyhow::Result<()> {
        let log = std::fs::read_to_string(house.stack.process("bff")?.log())?;
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let own = lines.filter(|it| it["message"] == LOGGED && it["upstream"] == self.upstream);
        let paths: BTreeSet<String> = own.map(|it| it["path"].to_string()).collect();
        let named = !paths.is_empty() && paths.iter().all(|path| path.len() > "\".\"".len());
        seen.expect(
            Step::Detection,
            "the log names the path of what is wrong",
            named,
            format!("{paths:?}"),
        );
        Ok(())
    }

    async fn counted(&self, house: &House) -> anyhow::Result<f64> {
        house.metric(COUNTER, &[("upstream", self.upstream)]).await
    }

    async fn refused(&self, house: &House) -> anyhow::Result<f64> {
        house.metric(CALLS, &[("upstream", self.upstream), ("outcome", "BREAKER_OPEN")]).await
    }
}
