//! A revision forgets the tenant in its cache keys, so that the keys of two hotels are the same: one
//! hotel's request finds the other's data, and the nightly probe names every store in which it does.
//! Then a table loses its row-level security: operators do not notice; the probe does.

use anyhow::Context;
use contracts::clock::Clock;
use contracts::safeguard::Safeguard;
use launcher::desktop::{Call, Desktop};
use launcher::internal::InternalClient;
use launcher::service_accounts::SCHEDULER;
use reqwest::Method;
use serde_json::Value;
use tokio::time::Instant;

use super::other_manager::OtherManager;
use super::second_revision::{self, deploy, second_gateway};
use crate::client::{self, Refundable};
use crate::drill_env::{DrillEnv, EnvOptions, metrics_of};
use crate::drill_run::{Drill, DrillFuture, DrillRun};

const PATH: &str = "/internal/jobs/probe-tenant-isolation";
const METRIC: &str = "bff_backoffice_tenant_isolation_probe_total";
const ALERT: &str = "BffTenantIsolationLeak";
const OUT_OF_SCOPE: &str = "MELMASTOON.BFF.PROPERTY_OUT_OF_SCOPE";
/// The stores whose keys carry the tenant in code.
const STORES: &str = "leak: memory: revocations, memory: operator profiles, \
                      memory: upstream responses, cache tier: upstream responses";
const DATABASE: &str = "bff";
const DISABLE_RLS_SQL: &str = "ALTER TABLE bff.outbox DISABLE ROW LEVEL SECURITY";
/// Statement from the runbook.
const ENABLE_RLS_SQL: &str = "SELECT bff.isolate_by_tenant('bff.outbox')";

pub(super) struct Isolation;

impl Drill for Isolation {
    fn environment<'a>(&self, options: EnvOptions<'a>) -> EnvOptions<'a> {
        second_revision::environment(options)
    }

    fn run<'a>(&'a self, run: &'a mut DrillRun) -> DrillFuture<'a> {
        Box::pin(run_drill(run))
    }
}

async fn run_drill(run: &mut DrillRun) -> anyhow::Result<()> {
    let whole = run.until_whole().await;
    run.steady_within("every widget is ok", whole);
    let hotels = TwoHotels::find(&run.env).await?;
    hotels.keep_folio(run).await?;
    let scheduler = InternalClient::new(run.env.stack.info(), Clock::system())?;
    // The other hotel asks for the same id, and the probe writes as one tenant and reads as another.
    run.inject("two tenants use the same keys");
    let found = client::send(&hotels.other, &hotels.call()).await?;
    run.user("another hotel finds no folio of this one", found.status == 404, &found);
    let probed = probe(&scheduler).await?;
    let is_clean = outcome(&probed) == "clean";
    run.automatic("no store gives a tenant another's value", is_clean, summary(&probed));

    run.raised_during(&[ALERT], Instant::now(), collide(run, &hotels)).await??;
    roll_back(run, &hotels).await?;
    lose_row_security(run, &scheduler).await?;
    run.env.run_sql(DATABASE, ENABLE_RLS_SQL).await?;
    let begun = Instant::now();
    let after = probe(&scheduler).await?;
    let took = begun.elapsed();
    let held = outcome(&after) == "clean" && took < run.objective;
    run.recover("isolated again, the probe is clean", held, summary(&after));
    run.recovered_after(Some(took));
    Ok(())
}

/// A folio of one hotel, and desktops of its manager and of another hotel's at the second instance.
struct TwoHotels {
    folio: String,
    own: Desktop,
    other: Desktop,
}

impl TwoHotels {
    async fn find(env: &DrillEnv) -> anyhow::Result<Self> {
        let folio = Refundable::find(env).await?.folio;
        let other = &OtherManager::find(env)?.desktop;
        let at_second =
            |desktop: &Desktop| second_revision::desktop(env, &desktop.operator().username);
        Ok(Self { folio, own: at_second(&env.desktop)?, other: at_second(other)? })
    }

    fn call(&self) -> Call {
        Call::get(format!("/folios/{}", self.folio))
    }

    /// Reads the folio as its hotel does, so that it is cached.
    async fn keep_folio(&self, run: &DrillRun) -> anyhow::Result<()> {
        let owned = client::send(&self.own, &self.call()).await?;
        run.steady("its own hotel reads the folio", owned.status == 200, &owned);
        Ok(())
    }
}

/// Replaces one instance by a revision that forgets the tenant.
async fn collide(run: &DrillRun, hotels: &TwoHotels) -> anyhow::Result<()> {
    deploy(&run.env, &[Safeguard::TenantKeys]).await?;
    run.inject("one instance is replaced by a revision whose cache keys lack the tenant");
    let call = hotels.call();
    let owned = client::send(&hotels.own, &call).await?;
    run.user("the folio's own hotel reads it as before", owned.status == 200, &owned);
    // Nobody else than the gateway knows that it belongs to a property: it has found it in its cache.
    let found = client::send(&hotels.other, &call).await?;
    let held = found.status == 403 && found.code() == OUT_OF_SCOPE;
    let what = "another hotel's request finds it, and only its property keeps it from being shown";
    run.user(what, held, &found);

    let url = metrics_of(&second_gateway(&run.env)?);
    let (before, begun) = (leaks(&url, &run.env).await?, Instant::now());
    let probed = probe(&second_revision::internal(&run.env)?).await?;
    let named = summary(&probed);
    run.automatic("the probe names every store with such keys", named == STORES, &named);
    let counted = leaks(&url, &run.env).await? - before;
    let once = (counted - 1.0).abs() < 0.5;
    run.detect(format!("{METRIC} counts the collision"), once, counted);
    run.detected_after(Some(begun.elapsed()));
    Ok(())
}

async fn roll_back(run: &DrillRun, hotels: &TwoHotels) -> anyhow::Result<()> {
    deploy(&run.env, &[]).await?;
    let begun = Instant::now();
    let probed = probe(&second_revision::internal(&run.env)?).await?;
    let took = begun.elapsed();
    let held = outcome(&probed) == "clean" && took < run.objective;
    run.recover("after the rollback the probe is clean", held, summary(&probed));
    run.recovered_after(Some(took));
    let found = client::send(&hotels.other, &hotels.call()).await?;
    run.recover("and another hotel finds no folio of this one", found.status == 404, &found);
    Ok(())
}

async fn lose_row_security(run: &DrillRun, scheduler: &InternalClient) -> anyhow::Result<()> {
    run.env.run_sql(DATABASE, DISABLE_RLS_SQL).await?;
    run.inject("a table's row-level security is switched off");
    let url = metrics_of(&run.env.stack.info().gateway);
    let before = leaks(&url, &run.env).await?;
    let during = probe(scheduler).await?;
    let named = summary(&during) == "leak: postgres: bff.outbox";
    run.automatic("the probe names that table and no other", named, summary(&during));
    let counted = leaks(&url, &run.env).await? - before;
    let once = (counted - 1.0).abs() < 0.5;
    run.detect(format!("{METRIC} counts a leak"), once, counted);
    let whole = run.until_whole().await;
    run.user_within("operators do not notice: every widget is ok", whole);
    Ok(())
}

async fn leaks(metrics_url: &str, env: &DrillEnv) -> anyhow::Result<f64> {
    env.counter_at(metrics_url, METRIC, &[("outcome", "leak")]).await
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
