//! A desktop's cached sync cursor differs from sync-service's. The job detects it, the dashboard and
//! the desktop show it as stale, nothing is lost, and the next handshake replaces the cached cursor.

use std::time::Duration;

use anyhow::Context;
use contracts::clock::{Clock, wire_time};
use launcher::internal::InternalClient;
use launcher::service_accounts::SCHEDULER;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::drill_env::DrillEnv;
use crate::drill_run::{Drill, DrillFuture, DrillRun, EnvAfter};
use crate::observations::Step;
use crate::sync_client::{DesktopFleet, cursor, handshake};
use crate::timed_call;

const PATH: &str = "/internal/jobs/reconcile-cursors";
const METRIC: &str = "bff_backoffice_sync_cursor_reconciled_total";
const ALERT: &str = "BffCursorCacheDivergence";
const SETTLE_TIMEOUT: Duration = Duration::from_secs(10);
/// Age of the last pull, beyond the time a desktop has to report it.
const PULL_AGE: Duration = Duration::from_secs(600);
const FAULTS: [CursorFault; 2] = [
    CursorFault { what: "sync-service is restored from an older backup", moved_by: -3 },
    CursorFault { what: "the desktop pulls and does not report it", moved_by: 3 },
];

/// A fault that moves sync-service's cursor.
#[derive(Debug, Clone, Copy)]
struct CursorFault {
    what: &'static str,
    /// In versions.
    moved_by: i64,
}

pub(super) struct Cursors;

impl Drill for Cursors {
    fn leaves(&self) -> EnvAfter {
        EnvAfter::Unchanged
    }

    fn run<'a>(&'a self, run: &'a mut DrillRun) -> DrillFuture<'a> {
        Box::pin(run_drill(run))
    }
}

async fn run_drill(run: &mut DrillRun) -> anyhow::Result<()> {
    // This stack's iam does not accept tokens of an earlier stack.
    run.env.desktop.forget_tokens().await?;
    // This stack's sync-service starts without cursors, so every desktop needs a new one.
    let answers = DesktopFleet::open(&run.env).await?.handshake_in_turn().await;
    let good = answers.iter().filter(|answer| answer.status == 200).count();
    let found = format!("{good} of {}", answers.len());
    run.steady("every handshake succeeds", good == answers.len(), found);
    let scheduler = InternalClient::new(run.env.stack.info(), Clock::system())?;
    let agree = async |env: &DrillEnv| {
        Ok(compare(&scheduler).await?["diverged"] == 0 && stale(env).await? == 0)
    };
    let agreed = run.env.wait_until("matching cursors", SETTLE_TIMEOUT, agree).await;
    run.steady_within("and every cursor is stored", agreed);
    for (number, fault) in FAULTS.into_iter().enumerate() {
        let alerts: &[_] = if number == 0 { &[ALERT] } else { &[] };
        drill_fault(run, fault, alerts, &scheduler).await?;
    }
    Ok(())
}

async fn drill_fault(
    run: &DrillRun,
    fault: CursorFault,
    alerts: &[&'static str],
    scheduler: &InternalClient,
) -> anyhow::Result<()> {
    let agreed = agree(run, scheduler, Step::Steady).await?;
    let moved = agreed.checked_add_signed(fault.moved_by).context("a cursor has few versions")?;
    let diverging = diverge(run, fault.what, moved, scheduler);
    run.raised_during(alerts, Instant::now(), diverging).await??;
    check_recovery(run, moved, agreed, scheduler).await
}

/// Sends a handshake, checks that both cursors agree, and returns the version.
async fn agree(run: &DrillRun, scheduler: &InternalClient, step: Step) -> anyhow::Result<u64> {
    let whole = run.until_whole().await;
    run.within(step, "every widget is ok", whole);
    let answer = timed_call::send(&run.env.desktop, &handshake(None)).await?;
    let version = answer.body["cursor"]["version"].as_u64().context("no handshake")?;
    let ran = compare(scheduler).await?;
    let (cached, stale) = (cursor(&run.env.desktop).await?, stale(&run.env).await?);
    let held = cached["cursor"]["version"] == version
        && cached["stale"] == false
        && stale == 0
        && ran["diverged"] == 0
        && ran["unasked"] == 0;
    let what = "the cached cursor is sync-service's, and no desktop is stale";
    run.check(step, what, held, format!("{version}, cached {cached}, {stale} stale, {ran}"));
    Ok(version)
}

async fn diverge(
    run: &DrillRun,
    fault: &str,
    moved: u64,
    scheduler: &InternalClient,
) -> anyhow::Result<()> {
    let before = run.env.counter(METRIC, &[("outcome", "diverged")]).await?;
    let url = format!("{}/control/sync/cursors", run.env.stack.info().stand_ins.url);
    let pulled = wire_time(Clock::system().now() - PULL_AGE);
    let device = &run.env.desktop.operator().device_id;
    let body = json!({"deviceId": device, "version": moved, "lastPullAt": pulled});
    run.env.http().put(url).json(&body).send().await?.error_for_status()?;
    run.inject(fault);
    let begun = Instant::now();
    let ran = compare(scheduler).await?;
    let again = compare(scheduler).await?;
    run.automatic(
        "the job marks the one desktop, once, and corrects nothing",
        ran["diverged"] == 1 && again["diverged"] == 0,
        format!("{ran}, then {again}"),
    );
    let counted = run.env.counter(METRIC, &[("outcome", "diverged")]).await? - before;
    let once = (counted - 1.0).abs() < 0.5;
    run.detect(format!("{METRIC} counts it"), once, counted);
    run.detected_after(Some(begun.elapsed()));
    let whole = run.until_whole().await;
    run.user_within("every widget is still ok", whole);
    let stale = stale(&run.env).await?;
    let what = "the dashboard's syncStatus shows one stale desktop";
    run.user(what, stale == 1, stale);
    let cached = cursor(&run.env.desktop).await?;
    let what = "the desktop gets the cached cursor, marked as stale";
    run.user(what, cached["stale"] == true, cached);
    Ok(())
}

/// The desktop sends a handshake with its version, as when it reconnects.
async fn check_recovery(
    run: &DrillRun,
    moved: u64,
    has: u64,
    scheduler: &InternalClient,
) -> anyhow::Result<()> {
    let begun = Instant::now();
    let answer = timed_call::send(&run.env.desktop, &handshake(Some(has))).await?;
    let (cursor, full_resync) = (&answer.body["cursor"]["version"], &answer.body["fullResync"]);
    run.recover(
        "the handshake returns sync-service's cursor, and requires a full resync if it went back",
        answer.status == 200 && *cursor == moved && *full_resync == (moved < has),
        format!("{} cursor {cursor} fullResync {full_resync}", answer.summary()),
    );
    let cached = self::cursor(&run.env.desktop).await?;
    let stale = stale(&run.env).await?;
    let held = cached["cursor"]["version"] == moved && cached["stale"] == false && stale == 0;
    let what = "the cached cursor is the same, and no desktop is stale";
    run.recover(what, held, format!("{cached}, {stale} stale"));
    let ran = compare(scheduler).await?;
    let took = begun.elapsed();
    let held = ran["diverged"] == 0 && ran["healed"] == 0 && took < run.objective;
    run.recover("and the job finds no difference", held, ran);
    run.recovered_after(Some(took));
    Ok(())
}

async fn compare(scheduler: &InternalClient) -> anyhow::Result<Value> {
    let answer = scheduler.call(SCHEDULER, Method::POST, PATH, None).await?;
    answer.error_for_status()?.json().await.context("reading the job's response")
}

/// Number of stale desktops, from the property's dashboard.
async fn stale(env: &DrillEnv) -> anyhow::Result<i64> {
    // A busy machine may exceed the own store's deadline of 100 ms.
    let is_shown = async |env: &DrillEnv| {
        Ok(env.dashboard().await.body["widgets"]["syncStatus"]["status"] == "ok")
    };
    env.wait_until("syncStatus", SETTLE_TIMEOUT, is_shown).await?;
    let data = &env.dashboard().await.body["widgets"]["syncStatus"]["data"]["stale"];
    data.as_i64().context("syncStatus counts stale desktops")
}
