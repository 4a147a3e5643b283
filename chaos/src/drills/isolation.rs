//! A table loses its isolation: nobody at a desk notices, the nightly probe does.

use std::time::Duration;

use anyhow::Context;
use contracts::clock::Clock;
use launcher::internal::Caller;
use launcher::service_accounts::SCHEDULER;
use reqwest::Method;
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::Form;
use crate::alerts;
use crate::house::House;
use crate::observations::{Observations, Step};

const PATH: &str = "/internal/jobs/probe-tenant-isolation";
const METRIC: &str = "bff_backoffice_tenant_isolation_probe_total";
const ALERT: &str = "BffTenantIsolationLeak";
const DATABASE: &str = "bff";
const OFF: &str = "ALTER TABLE bff.outbox DISABLE ROW LEVEL SECURITY";
/// What the runbook says.
const ON: &str = "SELECT bff.isolate_by_tenant('bff.outbox')";
const WITHIN: Duration = Duration::from_secs(10);
/// So that promtool sees the counter as it was before, at one sample a second.
const BEFORE: Duration = Duration::from_secs(3);

pub(super) async fn run(
    form: Form,
    objective: Duration,
    house: &mut House,
    seen: &mut Observations,
) -> anyhow::Result<()> {
    let whole = until_whole(house).await;
    seen.took(Step::Steady, "every widget is ok", whole);
    let scheduler = Caller::new(house.stack.info(), Clock::system())?;
    let steady = probe(&scheduler).await?;
    let held = outcome(&steady) == "clean";
    seen.expect(Step::Steady, "the probe finds tenants apart in every store", held, told(&steady));

    let (done, until) = watch::channel(false);
    let leaking = async {
        sleep(if form == Form::Full { BEFORE } else { Duration::ZERO }).await;
        let leaked = leak(house, &scheduler, seen).await;
        sleep(if form == Form::Full { BEFORE } else { Duration::ZERO }).await;
        done.send_replace(true);
        leaked
    };
    let sampling = alerts::sample(house.http(), house.metrics_url(), until);
    let (leaked, samples) = tokio::join!(leaking, sampling);
    leaked?;
    if form == Form::Full {
        let fired = alerts::firing(ALERT, &samples?, &House::folder("drills")).await;
        seen.took(Step::Detection, format!("{ALERT} fires on the exported metrics"), fired);
    }

    house.run_sql(DATABASE, ON).await?;
    let begun = Instant::now();
    let after = probe(&scheduler).await?;
    let took = begun.elapsed();
    let held = outcome(&after) == "clean" && took < objective;
    seen.expect(Step::Recovery, "isolated again, the probe is clean", held, told(&after));
    seen.recovered_after(Some(took));
    Ok(())
}

async fn leak(house: &House, scheduler: &Caller, seen: &mut Observations) -> anyhow::Result<()> {
    house.run_sql(DATABASE, OFF).await?;
    seen.expect(Step::Fault, "a table's row-level security is switched off", true, "done");
    let begun = Instant::now();
    let during = probe(scheduler).await?;
    let named = told(&during) == "leak: postgres: bff.outbox";
    seen.expect(Step::Automatic, "the probe names that table and no other", named, told(&during));
    let counted = house.metric(METRIC, &[("outcome", "leak")]).await?;
    let once = counted >= 1.0;
    seen.expect(Step::Detection, format!("{METRIC} counts a leak"), once, counted);
    seen.detected_after(Some(begun.elapsed()));
    let whole = until_whole(house).await;
    seen.took(Step::User, "desks see nothing of it: every widget is ok", whole);
    Ok(())
}

async fn until_whole(house: &House) -> anyhow::Result<Duration> {
    let is_so = async |house: &House| Ok(house.dashboard().await.is_whole());
    house.until("a whole dashboard", WITHIN, is_so).await
}

async fn probe(scheduler: &Caller) -> anyhow::Result<Value> {
    let answer = scheduler.call(SCHEDULER, Method::POST, PATH, None).await?;
    answer.error_for_status()?.json().await.context("reading the probe's answer")
}

fn outcome(answer: &Value) -> &str {
    answer["outcome"].as_str().unwrap_or("did not run")
}

/// The outcome, and the stores that are not clean.
fn told(answer: &Value) -> String {
    let stores = answer["stores"].as_array().into_iter().flatten();
    let bad = stores.filter(|store| store["outcome"] != "clean");
    let names: Vec<&str> = bad.filter_map(|store| store["store"].as_str()).collect();
    if names.is_empty() {
        return outcome(answer).to_owned();
    }
    format!("{}: {}", outcome(answer), names.join(", "))
}
