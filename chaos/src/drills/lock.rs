//! lock-integration fails: no key is made, the desk is told so, every attempt is in the ledger with
//! what came of it, and a repeat under the same key makes one key when it is over.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::Form;
use crate::alerts;
use crate::desk;
use crate::doors::{self, Door};
use crate::house::{House, Seen, fault};
use crate::observations::{Observations, Step};
use crate::timed::{self, Answer};

const ALERT: &str = "BffLockDown";
const COUNTER: &str = "bff_backoffice_lock_action_total";
const AWAY: (u16, &str) = (502, "MELMASTOON.BFF.UPSTREAM_UNAVAILABLE");
const SLOW: (u16, &str) = (504, "MELMASTOON.BFF.UPSTREAM_TIMEOUT");
/// The first says that it fails, the second nothing at all.
const KINDS: [(&str, &str); 2] = [("status", "failure"), ("hang", "unknown")];
const DETECT_WITHIN: Duration = Duration::from_secs(10);
/// How soon a desk is told, the gateway's own limits and a busy machine included.
const ANSWER_WITHIN: Duration = Duration::from_millis(2500);
const WATCHED: Duration = Duration::from_secs(4);
/// Long enough for a rate over a minute to show it and for `for: 15s`.
const ALERTED: Duration = Duration::from_secs(40);
const PAUSE: Duration = Duration::from_millis(200);

pub(super) async fn run(
    form: Form,
    objective: Duration,
    house: &mut House,
    seen: &mut Observations,
) -> anyhow::Result<()> {
    let door = Door::find(house).await?;
    for (kind, outcome) in KINDS {
        let alert = kind == "status" && form == Form::Full;
        one((kind, outcome, alert), &door, objective, house, seen).await?;
    }
    Ok(())
}

async fn one(
    (kind, outcome, alert): (&str, &str, bool),
    door: &Door,
    objective: Duration,
    house: &House,
    seen: &mut Observations,
) -> anyhow::Result<()> {
    let works = async |house: &House| works(door, house).await;
    let steady = house.until("a key and a whole dashboard", objective, works).await;
    seen.took(Step::Steady, "a key is made and every widget is ok", steady);
    let (before, struck) = (counted(outcome, house).await?, Instant::now());
    house.fault(&fault("lock", kind)).await?;
    seen.expect(Step::Fault, format!("lock-integration: {kind}"), true, "done");
    let during = watched(alert, door, house, seen).await?;
    seen.detected_after(during.attempts.first().map(|(at, ..)| *at - struck));
    user(kind, &during, seen);
    let grown = house
        .until("the counter", DETECT_WITHIN, async |house| {
            Ok(counted(outcome, house).await? > before)
        })
        .await;
    seen.took(Step::Detection, format!("{COUNTER} counts {outcome}"), grown);
    written(kind, &during, house, seen).await?;
    house.clear_faults().await?;
    let back = house.until("a key and a whole dashboard", objective, works).await;
    let what = format!("a key is made again within {} s, by itself", objective.as_secs());
    let took = seen.took(Step::Recovery, what, back);
    seen.recovered_after(took);
    repeated(door, &during, house, seen).await
}

/// What was seen while lock-integration failed: each attempt with its key.
#[derive(Default)]
struct During {
    attempts: Vec<(Instant, String, Answer)>,
    dashboards: Vec<Seen>,
}

async fn watched(
    alert: bool,
    door: &Door,
    house: &House,
    seen: &mut Observations,
) -> anyhow::Result<During> {
    if !alert {
        return watch(WATCHED, door, house).await;
    }
    let exported = (house.http(), house.metrics_url());
    let (given, fired) = alerts::during(ALERT, exported, watch(ALERTED, door, house)).await;
    seen.took(Step::Detection, format!("{ALERT} fires on the exported metrics"), fired);
    given
}

async fn watch(length: Duration, door: &Door, house: &House) -> anyhow::Result<During> {
    let (end, mut during) = (Instant::now() + length, During::default());
    while Instant::now() < end {
        let key = desk::new_key();
        let answer = timed::send(&house.desktop, &door.issue(&key)?).await?;
        during.attempts.push((Instant::now(), key, answer));
        during.dashboards.push(house.dashboard().await);
        sleep(PAUSE).await;
    }
    Ok(during)
}

fn user(kind: &str, during: &During, seen: &mut Observations) {
    let is_told = |answer: &Answer| {
        let fitting = answer.is(AWAY.0, AWAY.1) || kind == "hang" && answer.is(SLOW.0, SLOW.1);
        fitting && answer.body["retriable"] == true && answer.took <= ANSWER_WITHIN
    };
    let odd = during.attempts.iter().find(|(.., answer)| !is_told(answer));
    let also = if kind == "hang" { ", or 504 UPSTREAM_TIMEOUT" } else { "" };
    seen.expect(
        Step::User,
        format!(
            "{kind}: every key is a retriable 502{also} within {} ms",
            ANSWER_WITHIN.as_millis()
        ),
        odd.is_none() && !during.attempts.is_empty(),
        odd.map_or_else(|| format!("{} of them", during.attempts.len()), |it| it.2.told()),
    );
    let whole = during.dashboards.iter().filter(|dashboard| dashboard.is_whole()).count();
    seen.expect(
        Step::User,
        format!("{kind}: every dashboard is whole"),
        whole == during.dashboards.len(),
        format!("{whole} of {}", during.dashboards.len()),
    );
}

/// Two rows for each attempt, and the second agrees with what the desk was told.
async fn written(
    kind: &str,
    during: &During,
    house: &House,
    seen: &mut Observations,
) -> anyhow::Result<()> {
    let (mut right, mut odd, ledger) = (0, String::new(), doors::ledger(house).await?);
    for (_, key, answer) in &during.attempts {
        let outcome = if answer.is(SLOW.0, SLOW.1) { "unknown" } else { "failure" };
        let phases = ledger.get(key).map(Vec::as_slice).unwrap_or_default();
        if phases == ["requested", outcome] {
            right += 1;
        } else {
            odd = format!(", {} has {phases:?}", answer.told());
        }
    }
    let all = during.attempts.len();
    let what = format!("{kind}: each attempt is in the ledger, before and after");
    seen.expect(Step::Automatic, what, right == all && all > 0, format!("{right} of {all}{odd}"));
    Ok(())
}

/// The desk repeats its last attempt under the same key.
async fn repeated(
    door: &Door,
    during: &During,
    house: &House,
    seen: &mut Observations,
) -> anyhow::Result<()> {
    let Some((_, key, _)) = during.attempts.last() else { return Ok(()) };
    let answer = timed::send(&house.desktop, &door.issue(key)?).await?;
    let what = "a repeat under the same key makes the key";
    seen.expect(Step::Recovery, what, answer.status == 201, answer.told());
    let made = doors::made(house, key).await?;
    seen.expect(Step::Recovery, "and one key alone", made == 1, json!(made));
    let phases: Value = doors::phases(house, key).await?.into();
    let what = "and the ledger says so";
    seen.expect(Step::Recovery, what, phases[3] == "success", phases);
    Ok(())
}

/// Each with a key of its own.
async fn works(door: &Door, house: &House) -> anyhow::Result<bool> {
    let answer = timed::send(&house.desktop, &door.issue(&desk::new_key())?).await?;
    Ok(answer.status == 201 && house.dashboard().await.is_whole())
}

async fn counted(outcome: &str, house: &House) -> anyhow::Result<f64> {
    house.metric(COUNTER, &[("outcome", outcome)]).await
}
