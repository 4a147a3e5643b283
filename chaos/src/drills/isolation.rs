//! Two tenants use the same keys, and no store mixes them up. Then a table loses its row-level security:
//! operators do not notice; the nightly probe does.

use anyhow::Context;
use contracts::clock::Clock;
use launcher::internal::InternalClient;
use launcher::service_accounts::SCHEDULER;
use reqwest::Method;
use serde_json::Value;
use tokio::time::Instant;

use crate::drill_env::DrillEnv;
use crate::drill_run::{Drill, DrillFuture, DrillRun};

const PATH: &str = "/internal/jobs/probe-tenant-isolation";
const METRIC: &str = "bff_backoffice_tenant_isolation_probe_total";
const ALERT: &str = "BffTenantIsolationLeak";
const DATABASE: &str = "bff";
const DISABLE_RLS_SQL: &str = "ALTER TABLE bff.outbox DISABLE ROW LEVEL SECURITY";
/// Statement from the runbook.
const ENABLE_RLS_SQL: &str = "SELECT bff.isolate_by_tenant('bff.outbox')";

pub(super) struct Isolation;

impl Drill for Isolation {
    fn run<'a>(&'a self, run: &'a mut DrillRun) -> DrillFuture<'a> {
        Box::pin(run_drill(run))
    }
}

async fn run_drill(run: &mut DrillRun) -> anyhow::Result<()> {
    let whole = run.until_whole().await;
    run.steady_within("every widget is ok", whole);
    let scheduler = InternalClient::new(run.env.stack.info(), Clock::system())?;
    // The probe writes as one tenant and reads as another, with the same keys.
    run.inject("two tenants use the same keys");
    let probed = probe(&scheduler).await?;
    let is_clean = outcome(&probed) == "clean";
    run.automatic("no store gives a tenant another's value", is_clean, summary(&probed));

    run.raised_during(&[ALERT], Instant::now(), leak(run, &scheduler)).await??;

    run.env.run_sql(DATABASE, ENABLE_RLS_SQL).await?;
    let begun = Instant::now();
    let after = probe(&scheduler).await?;
    let took = begun.elapsed();
    let held = outcome(&after) == "clean" && took < run.objective;
    run.recover("isolated again, the probe is clean", held, summary(&after));
    run.recovered_after(Some(took));
    Ok(())
}

async fn leak(run: &DrillRun, scheduler: &InternalClient) -> anyhow::Result<()> {
    run.env.run_sql(DATABASE, DISABLE_RLS_SQL).await?;
    run.inject("a table's row-level security is switched off");
    let (before, begun) = (leaks(&run.env).await?, Instant::now());
    let during = probe(scheduler).await?;
    let named = summary(&during) == "leak: postgres: bff.outbox";
    run.automatic("the probe names that table and no other", named, summary(&during));
    let counted = leaks(&run.env).await? - before;
    let once = (counted - 1.0).abs() < 0.5;
    run.detect(format!("{METRIC} counts a leak"), once, counted);
    run.detected_after(Some(begun.elapsed()));
    let whole = run.until_whole().await;
    run.user_within("operators do not notice: every widget is ok", whole);
    Ok(())
}

async fn leaks(env: &DrillEnv) -> anyhow::Result<f64> {
    env.counter(METRIC, &[("outcome", "leak")]).await
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
