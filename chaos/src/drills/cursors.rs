//! A desktop's cached cursor is not sync-service's: the job finds it, the dashboard and the desktop
//! itself are told, nobody loses anything, and the next handshake replaces the cache.

use std::time::Duration;

use anyhow::Context;
use contracts::clock::{Clock, wire_time};
use launcher::internal::Caller;
use launcher::service_accounts::SCHEDULER;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::Form;
use crate::alerts;
use crate::desktops::{Fleet, cursor, handshake};
use crate::house::House;
use crate::observations::{Observations, Step};
use crate::timed;

const PATH: &str = "/internal/jobs/reconcile-cursors";
const METRIC: &str = "bff_backoffice_sync_cursor_reconciled_total";
const ALERT: &str = "BffCursorCacheDivergence";
const WITHIN: Duration = Duration::from_secs(10);
/// So that promtool sees the counter as it was before, at one sample a second.
const BEFORE: Duration = Duration::from_secs(3);
/// A desktop that pulled so long ago has had its time to tell.
const PULLED: Duration = Duration::from_secs(600);
/// sync-service lost cursors; and a desktop pulled from it and never told the gateway.
const FAULTS: [(&str, i64); 2] = [
    ("sync-service is restored from an older backup", -3),
    ("the desktop pulls and does not tell", 3),
];

pub(super) async fn run(
    form: Form,
    objective: Duration,
    house: &mut House,
    seen: &mut Observations,
) -> anyhow::Result<()> {
    // A token of an earlier stack is worth nothing to this one's iam.
    house.desktop.forget_tokens().await?;
    // Nor are its cursors anything to this one's sync-service, which begins anew.
    let answers = Fleet::open(house).await?.shake_in_turn().await;
    let good = answers.iter().filter(|answer| answer.status == 200).count();
    let found = format!("{good} of {}", answers.len());
    seen.expect(Step::Steady, "every desktop shakes hands", good == answers.len(), found);
    let scheduler = Caller::new(house.stack.info(), Clock::system())?;
    let agree = async |house: &House| {
        Ok(compare(&scheduler).await?["diverged"] == 0 && stale(house).await? == 0)
    };
    let agreed = house.until("cursors that are sync-service's", WITHIN, agree).await;
    seen.took(Step::Steady, "and every cursor is noted", agreed);
    for (number, fault) in FAULTS.into_iter().enumerate() {
        let alert = number == 0 && form == Form::Full;
        one(fault, alert, &scheduler, objective, house, seen).await?;
    }
    Ok(())
}

async fn one(
    (fault, by): (&str, i64),
    alert: bool,
    scheduler: &Caller,
    objective: Duration,
    house: &House,
    seen: &mut Observations,
) -> anyhow::Result<()> {
    let agreed = agree(house, scheduler, objective, seen, Step::Steady).await?;
    let moved = agreed.checked_add_signed(by).context("a cursor has few versions")?;
    let work = async {
        sleep(if alert { BEFORE } else { Duration::ZERO }).await;
        let diverged = diverge((fault, moved), scheduler, house, seen).await;
        sleep(if alert { BEFORE } else { Duration::ZERO }).await;
        diverged
    };
    if alert {
        let (diverged, samples) = alerts::sampled((house.http(), house.metrics_url()), work).await;
        diverged?;
        let fired = alerts::firing(ALERT, &samples?, &House::folder("drills")).await;
        seen.took(Step::Detection, format!("{ALERT} fires on the exported metrics"), fired);
    } else {
        work.await?;
    }
    recovered(moved, agreed, (scheduler, objective), house, seen).await
}

/// The desktop shakes hands and both say the same; the version.
async fn agree(
    house: &House,
    scheduler: &Caller,
    within: Duration,
    seen: &mut Observations,
    step: Step,
) -> anyhow::Result<u64> {
    let whole = house
        .until("a whole dashboard", within, async |it| Ok(it.dashboard().await.is_whole()))
        .await;
    seen.took(step, "every widget is ok", whole);
    let answer = timed::send(&house.desktop, &handshake(None)).await?;
    let version = answer.body["cursor"]["version"].as_u64().context("no handshake")?;
    let ran = compare(scheduler).await?;
    let (cached, stale) = (cursor(&house.desktop).await?, stale(house).await?);
    let held = cached["cursor"]["version"] == version
        && cached["stale"] == false
        && stale == 0
        && ran["diverged"] == 0
        && ran["unasked"] == 0;
    let what = "the cached cursor is sync-service's, and no desktop is stale";
    seen.expect(step, what, held, format!("{version}, cached {cached}, {stale} stale, {ran}"));
    Ok(version)
}

async fn diverge(
    (fault, moved): (&str, u64),
    scheduler: &Caller,
    house: &House,
    seen: &mut Observations,
) -> anyhow::Result<()> {
    let before = house.metric(METRIC, &[("outcome", "diverged")]).await?;
    let url = format!("{}/control/sync/cursors", house.stack.info().stand_ins.url);
    let pulled = wire_time(Clock::system().now() - PULLED);
    let device = &house.desktop.operator().device_id;
    let body = json!({"deviceId": device, "version": moved, "lastPullAt": pulled});
    house.http().put(url).json(&body).send().await?.error_for_status()?;
    seen.expect(Step::Fault, fault, true, format!("sync-service says {moved}"));
    let begun = Instant::now();
    let ran = compare(scheduler).await?;
    let again = compare(scheduler).await?;
    seen.expect(
        Step::Automatic,
        "the job marks the one desktop, once, and corrects nothing",
        ran["diverged"] == 1 && again["diverged"] == 0,
        format!("{ran}, then {again}"),
    );
    let counted = house.metric(METRIC, &[("outcome", "diverged")]).await? - before;
    let once = (counted - 1.0).abs() < 0.5;
    seen.expect(Step::Detection, format!("{METRIC} counts it"), once, counted);
    seen.detected_after(Some(begun.elapsed()));
    let whole = house
        .until("a whole dashboard", WITHIN, async |it| Ok(it.dashboard().await.is_whole()))
        .await;
    seen.took(Step::User, "every widget is ok all the same", whole);
    let stale = stale(house).await?;
    let what = "the dashboard's syncStatus says that one desktop is stale";
    seen.expect(Step::User, what, stale == 1, stale);
    let cached = cursor(&house.desktop).await?;
    let what = "the desktop is told the cached cursor, and that it is stale";
    seen.expect(Step::User, what, cached["stale"] == true, cached);
    Ok(())
}

/// The desktop says what it has, as it does when it comes back.
async fn recovered(
    moved: u64,
    has: u64,
    (scheduler, objective): (&Caller, Duration),
    house: &House,
    seen: &mut Observations,
) -> anyhow::Result<()> {
    let begun = Instant::now();
    let answer = timed::send(&house.desktop, &handshake(Some(has))).await?;
    let (cursor, anew) = (&answer.body["cursor"]["version"], &answer.body["fullResync"]);
    seen.expect(
        Step::Recovery,
        "the handshake tells sync-service's cursor, and to pull everything where it went back",
        answer.status == 200 && *cursor == moved && *anew == (moved < has),
        format!("{} cursor {cursor} fullResync {anew}", answer.told()),
    );
    let cached = self::cursor(&house.desktop).await?;
    let stale = stale(house).await?;
    let held = cached["cursor"]["version"] == moved && cached["stale"] == false && stale == 0;
    let what = "the cache has it, too, and no desktop is stale";
    seen.expect(Step::Recovery, what, held, format!("{cached}, {stale} stale"));
    let ran = compare(scheduler).await?;
    let took = begun.elapsed();
    let held = ran["diverged"] == 0 && ran["healed"] == 0 && took < objective;
    seen.expect(Step::Recovery, "and the job finds both the same", held, ran);
    seen.recovered_after(Some(took));
    Ok(())
}

async fn compare(scheduler: &Caller) -> anyhow::Result<Value> {
    let answer = scheduler.call(SCHEDULER, Method::POST, PATH, None).await?;
    answer.error_for_status()?.json().await.context("reading the job's answer")
}

/// Desktops of the property that its dashboard calls stale.
async fn stale(house: &House) -> anyhow::Result<i64> {
    // The gateway's own store is asked for 100 ms only, which a busy machine may take.
    let is_told = async |house: &House| {
        Ok(house.dashboard().await.body["widgets"]["syncStatus"]["status"] == "ok")
    };
    house.until("syncStatus", WITHIN, is_told).await?;
    let data = &house.dashboard().await.body["widgets"]["syncStatus"]["data"]["stale"];
    data.as_i64().context("syncStatus counts stale desktops")
}
