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

use super::Mode;
use crate::drill_env::DrillEnv;
use crate::observations::{Observations, Step};
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

pub(super) async fn run(
    mode: Mode,
    objective: Duration,
    env: &mut DrillEnv,
    seen: &mut Observations,
) -> anyhow::Result<()> {
    // This stack's iam does not accept tokens of an earlier stack.
    env.desktop.forget_tokens().await?;
    // This stack's sync-service starts without cursors, so every desktop needs a new one.
    let answers = DesktopFleet::open(env).await?.handshake_in_turn().await;
    let good = answers.iter().filter(|answer| answer.status == 200).count();
    let found = format!("{good} of {}", answers.len());
    seen.check(Step::Steady, "every handshake succeeds", good == answers.len(), found);
    let scheduler = InternalClient::new(env.stack.info(), Clock::system())?;
    let agree = async |env: &DrillEnv| {
        Ok(compare(&scheduler).await?["diverged"] == 0 && stale(env).await? == 0)
    };
    let agreed = env.wait_until("matching cursors", SETTLE_TIMEOUT, agree).await;
    seen.check_timed(Step::Steady, "and every cursor is stored", agreed);
    for (number, fault) in FAULTS.into_iter().enumerate() {
        let alert = number == 0 && mode == Mode::Full;
        drill_fault(fault, alert, &scheduler, objective, env, seen).await?;
    }
    Ok(())
}

async fn drill_fault(
    fault: CursorFault,
    alert: bool,
    scheduler: &InternalClient,
    objective: Duration,
    env: &DrillEnv,
    seen: &mut Observations,
) -> anyhow::Result<()> {
    let agreed = agree(env, scheduler, objective, seen, Step::Steady).await?;
    let moved = agreed.checked_add_signed(fault.moved_by).context("a cursor has few versions")?;
    let diverging = diverge(fault.what, moved, scheduler, env, seen);
    if alert {
        let alerts = env.alerts()?;
        let (diverged, raised) = alerts.raised_during(&[ALERT], Instant::now(), diverging).await?;
        diverged?;
        raised.report(seen);
    } else {
        diverging.await?;
    }
    check_recovery(moved, agreed, scheduler, objective, env, seen).await
}

/// Sends a handshake, checks that both cursors agree, and returns the version.
async fn agree(
    env: &DrillEnv,
    scheduler: &InternalClient,
    within: Duration,
    seen: &mut Observations,
    step: Step,
) -> anyhow::Result<u64> {
    let whole = env
        .wait_until("a whole dashboard", within, async |env| Ok(env.dashboard().await.is_whole()))
        .await;
    seen.check_timed(step, "every widget is ok", whole);
    let answer = timed_call::send(&env.desktop, &handshake(None)).await?;
    let version = answer.body["cursor"]["version"].as_u64().context("no handshake")?;
    let ran = compare(scheduler).await?;
    let (cached, stale) = (cursor(&env.desktop).await?, stale(env).await?);
    let held = cached["cursor"]["version"] == version
        && cached["stale"] == false
        && stale == 0
        && ran["diverged"] == 0
        && ran["unasked"] == 0;
    let what = "the cached cursor is sync-service's, and no desktop is stale";
    seen.check(step, what, held, format!("{version}, cached {cached}, {stale} stale, {ran}"));
    Ok(version)
}

async fn diverge(
    fault: &str,
    moved: u64,
    scheduler: &InternalClient,
    env: &DrillEnv,
    seen: &mut Observations,
) -> anyhow::Result<()> {
    let before = env.metric(METRIC, &[("outcome", "diverged")]).await?;
    let url = format!("{}/control/sync/cursors", env.stack.info().stand_ins.url);
    let pulled = wire_time(Clock::system().now() - PULL_AGE);
    let device = &env.desktop.operator().device_id;
    let body = json!({"deviceId": device, "version": moved, "lastPullAt": pulled});
    env.http().put(url).json(&body).send().await?.error_for_status()?;
    seen.check(Step::Fault, fault, true, format!("sync-service says {moved}"));
    let begun = Instant::now();
    let ran = compare(scheduler).await?;
    let again = compare(scheduler).await?;
    seen.check(
        Step::Automatic,
        "the job marks the one desktop, once, and corrects nothing",
        ran["diverged"] == 1 && again["diverged"] == 0,
        format!("{ran}, then {again}"),
    );
    let counted = env.metric(METRIC, &[("outcome", "diverged")]).await? - before;
    let once = (counted - 1.0).abs() < 0.5;
    seen.check(Step::Detection, format!("{METRIC} counts it"), once, counted);
    seen.detected_after(Some(begun.elapsed()));
    let whole = env
        .wait_until("a whole dashboard", SETTLE_TIMEOUT, async |env| {
            Ok(env.dashboard().await.is_whole())
        })
        .await;
    seen.check_timed(Step::User, "every widget is still ok", whole);
    let stale = stale(env).await?;
    let what = "the dashboard's syncStatus shows one stale desktop";
    seen.check(Step::User, what, stale == 1, stale);
    let cached = cursor(&env.desktop).await?;
    let what = "the desktop gets the cached cursor, marked as stale";
    seen.check(Step::User, what, cached["stale"] == true, cached);
    Ok(())
}

/// The desktop sends a handshake with its version, as when it reconnects.
async fn check_recovery(
    moved: u64,
    has: u64,
    scheduler: &InternalClient,
    objective: Duration,
    env: &DrillEnv,
    seen: &mut Observations,
) -> anyhow::Result<()> {
    let begun = Instant::now();
    let answer = timed_call::send(&env.desktop, &handshake(Some(has))).await?;
    let (cursor, full_resync) = (&answer.body["cursor"]["version"], &answer.body["fullResync"]);
    seen.check(
        Step::Recovery,
        "the handshake returns sync-service's cursor, and requires a full resync if it went back",
        answer.status == 200 && *cursor == moved && *full_resync == (moved < has),
        format!("{} cursor {cursor} fullResync {full_resync}", answer.summary()),
    );
    let cached = self::cursor(&env.desktop).await?;
    let stale = stale(env).await?;
    let held = cached["cursor"]["version"] == moved && cached["stale"] == false && stale == 0;
    let what = "the cached cursor is the same, and no desktop is stale";
    seen.check(Step::Recovery, what, held, format!("{cached}, {stale} stale"));
    let ran = compare(scheduler).await?;
    let took = begun.elapsed();
    let held = ran["diverged"] == 0 && ran["healed"] == 0 && took < objective;
    seen.check(Step::Recovery, "and the job finds no difference", held, ran);
    seen.recovered_after(Some(took));
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
