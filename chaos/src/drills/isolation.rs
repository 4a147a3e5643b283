//! A table loses its row-level security. Operators do not notice; the nightly probe does.

use std::time::Duration;

use anyhow::Context;
use contracts::clock::Clock;
use launcher::internal::InternalClient;
use launcher::service_accounts::SCHEDULER;
use reqwest::Method;
use serde_json::Value;
use tokio::time::Instant;

use super::Mode;
use crate::drill_env::DrillEnv;
use crate::observations::{Observations, Step};

const PATH: &str = "/internal/jobs/probe-tenant-isolation";
const METRIC: &str = "bff_backoffice_tenant_isolation_probe_total";
const ALERT: &str = "BffTenantIsolationLeak";
const DATABASE: &str = "bff";
const DISABLE_RLS_SQL: &str = "ALTER TABLE bff.outbox DISABLE ROW LEVEL SECURITY";
/// Statement from the runbook.
const ENABLE_RLS_SQL: &str = "SELECT bff.isolate_by_tenant('bff.outbox')";
const SETTLE_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) async fn run(
    mode: Mode,
    objective: Duration,
    env: &mut DrillEnv,
    seen: &mut Observations,
) -> anyhow::Result<()> {
    let whole = until_whole(env).await;
    seen.check_timed(Step::Steady, "every widget is ok", whole);
    let scheduler = InternalClient::new(env.stack.info(), Clock::system())?;
    let steady = probe(&scheduler).await?;
    let held = outcome(&steady) == "clean";
    seen.check(
        Step::Steady,
        "the probe finds tenants isolated in every store",
        held,
        summary(&steady),
    );

    let leaking = leak(env, &scheduler, seen);
    if mode == Mode::Full {
        let alerts = env.alerts()?;
        let (leaked, raised) = alerts.raised_during(&[ALERT], Instant::now(), leaking).await?;
        leaked?;
        raised.report(seen);
    } else {
        leaking.await?;
    }

    env.run_sql(DATABASE, ENABLE_RLS_SQL).await?;
    let begun = Instant::now();
    let after = probe(&scheduler).await?;
    let took = begun.elapsed();
    let held = outcome(&after) == "clean" && took < objective;
    seen.check(Step::Recovery, "isolated again, the probe is clean", held, summary(&after));
    seen.recovered_after(Some(took));
    Ok(())
}

async fn leak(
    env: &DrillEnv,
    scheduler: &InternalClient,
    seen: &mut Observations,
) -> anyhow::Result<()> {
    env.run_sql(DATABASE, DISABLE_RLS_SQL).await?;
    seen.check(Step::Fault, "a table's row-level security is switched off", true, "done");
    let begun = Instant::now();
    let during = probe(scheduler).await?;
    let named = summary(&during) == "leak: postgres: bff.outbox";
    seen.check(Step::Automatic, "the probe names that table and no other", named, summary(&during));
    let counted = env.metric(METRIC, &[("outcome", "leak")]).await?;
    let once = counted >= 1.0;
    seen.check(Step::Detection, format!("{METRIC} counts a leak"), once, counted);
    seen.detected_after(Some(begun.elapsed()));
    let whole = until_whole(env).await;
    seen.check_timed(Step::User, "operators do not notice: every widget is ok", whole);
    Ok(())
}

async fn until_whole(env: &DrillEnv) -> anyhow::Result<Duration> {
    let is_so = async |env: &DrillEnv| Ok(env.dashboard().await.is_whole());
    env.wait_until("a whole dashboard", SETTLE_TIMEOUT, is_so).await
}

async fn probe(scheduler: &InternalClient) -> anyhow::Result<Value> {
    let answer = scheduler.call(SCHEDULER, Method::POST, PATH, None).await?;
    answer.error_for_status()?.json().await.context("reading the probe's response")
}

fn outcome(answer: &Value) -> &str {
    answer["outcome"].as_str().unwrap_or("did not run")
}

/// The outcome and the stores that are not clean.
fn summary(answer: &Value) -> String {
    let stores = answer["stores"].as_array().into_iter().flatten();
    let bad = stores.filter(|store| store["outcome"] != "clean");
    let names: Vec<&str> = bad.filter_map(|store| store["store"].as_str()).collect();
    if names.is_empty() {
        return outcome(answer).to_owned();
    }
    format!("{}: {}", outcome(answer), names.join(", "))
}
