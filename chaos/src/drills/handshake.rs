//! sync-service does not shake hands: a desktop that comes back is told at once to stay offline and to
//! come again in 30 s (F-13); and all desktops of all hotels do so at the same time, again and again
//! (GD-5). The breaker keeps them away from sync-service, everything else works on, and afterwards
//! each of them comes online.

use std::time::Duration;

use launcher::desktop::Call;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::Form;
use crate::alerts;
use crate::desktops::{Fleet, HANDSHAKE, cursor, pull, reached, shake, tell};
use crate::house::{House, Seen, fault};
use crate::observations::{Observations, Step};
use crate::timed::{self, Answer};

const ALERT: &str = "BffSyncHandshakeDown";
const HANDSHAKES: &str = "bff_backoffice_sync_handshake_total";
const RUNBOOK: &str = "bff-backoffice/sync-handshake-down";
const AWAY: (u16, &str) = (502, "MELMASTOON.BFF.UPSTREAM_UNAVAILABLE");
const SLOW: (u16, &str) = (504, "MELMASTOON.BFF.UPSTREAM_TIMEOUT");
const BUSY: (u16, &str) = (503, "MELMASTOON.BFF.OVERLOADED");
const DETECT_WITHIN: Duration = Duration::from_secs(10);
const WATCHED: Duration = Duration::from_secs(4);
/// Long enough for a rate over a minute to show it and for `for: 15s`.
const ALERTED: Duration = Duration::from_secs(40);
const PAUSE: Duration = Duration::from_millis(200);
/// The route's 800 ms and a busy machine; of many at once, each also waits for the others' proofs.
const ANSWER_WITHIN: Duration = Duration::from_millis(1500);
const STORM_WITHIN: Duration = Duration::from_millis(2500);

/// Who comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Who {
    /// One desktop, again and again: F-13.
    One,
    /// All at once, again and again: GD-5.
    All,
}

impl Who {
    fn within(self) -> Duration {
        if self == Self::One { ANSWER_WITHIN } else { STORM_WITHIN }
    }

    /// How sync-service fails.
    fn kinds(self) -> &'static [&'static str] {
        if self == Self::One { &["status", "hang", "refuse"] } else { &["hang", "status"] }
    }
}

pub(super) async fn run(
    who: Who,
    form: Form,
    objective: Duration,
    house: &mut House,
    seen: &mut Observations,
) -> anyhow::Result<()> {
    // A token of an earlier stack is worth nothing to this one's iam.
    house.desktop.forget_tokens().await?;
    let fleet = if who == Who::All { Some(Fleet::open(house).await?) } else { None };
    let pids = pids(house);
    for (number, kind) in who.kinds().iter().enumerate() {
        let alert = number == 0 && form == Form::Full;
        one(kind, alert, (who, fleet.as_ref()), objective, house, seen).await?;
    }
    let what = "no process was started again";
    let same = self::pids(house) == pids;
    seen.expect(Step::Automatic, what, same, format!("{} processes", pids.len()));
    Ok(())
}

fn pids(house: &House) -> Vec<(String, Option<u32>)> {
    house.stack.all().map(|process| (process.name().to_owned(), process.pid())).collect()
}

async fn one(
    kind: &str,
    alert: bool,
    (who, fleet): (Who, Option<&Fleet>),
    objective: Duration,
    house: &House,
    seen: &mut Observations,
) -> anyhow::Result<()> {
    let is_well = async |house: &House| {
        let all = wave(house, fleet).await.iter().all(|answer| answer.status == 200);
        Ok(all && house.dashboard().await.is_whole())
    };
    let steady = house.until("handshakes and a whole dashboard", objective, is_well).await;
    let desktops = fleet.map_or(1, Fleet::len);
    let what = format!("every desktop (there are {desktops}) comes online, every widget is ok");
    seen.took(Step::Steady, what, steady);
    let known = cursor(&house.desktop).await?;
    let (before, struck) = (counted("failed", house).await?, Instant::now());
    let arrived = reached(house).await?;
    house.fault(&what_is_done(kind)).await?;
    seen.expect(Step::Fault, format!("sync: {kind}"), true, "done");

    let during = watched(alert, fleet, house, seen).await?;
    seen.detected_after(during.first.map(|first| first - struck));
    user(kind, who, &during, seen);
    let grown = async |house: &House| Ok(counted("failed", house).await? > before);
    let counted = house.until("the counter", DETECT_WITHIN, grown).await;
    seen.took(Step::Detection, format!("{HANDSHAKES} counts the failed ones"), counted);
    automatic(kind, who, &during, reached(house).await? - arrived, seen);
    let same = cursor(&house.desktop).await? == known;
    let what = format!("{kind}: the cached cursor is told as before");
    seen.expect(Step::User, what, same, known["cursor"]["version"].clone());

    house.clear_faults().await?;
    let back = house.until("handshakes and a whole dashboard", objective, is_well).await;
    let within = objective.as_secs();
    let what = format!("all of them come online at once again, within {within} s, by themselves");
    let took = seen.took(Step::Recovery, what, back);
    seen.recovered_after(took);
    goes_on(house, seen).await
}

/// The handshake was worth something: its token opens sync-service, and what was pulled is known here.
async fn goes_on(house: &House, seen: &mut Observations) -> anyhow::Result<()> {
    let answer = shake(&house.desktop).await;
    let has = answer.body["cursor"]["version"].as_u64().unwrap_or_default();
    let (held, found) = match pull(&house.desktop, &answer.body).await {
        Ok(pulled) => {
            let told = tell(&house.desktop, pulled).await?;
            (pulled == has + 1 && told == pulled, format!("from {has} to {pulled}, told {told}"))
        }
        Err(error) => (false, format!("{error:#}")),
    };
    let what = "a desktop pulls with its token and its own key, and tells the gateway";
    seen.expect(Step::Recovery, what, held, found);
    Ok(())
}

/// A closed port befalls sync-service as a whole.
fn what_is_done(kind: &str) -> serde_json::Value {
    if kind == "refuse" {
        return fault("sync", kind);
    }
    json!({"upstream": "sync", "route": HANDSHAKE, "kind": kind})
}

async fn wave(house: &House, fleet: Option<&Fleet>) -> Vec<Answer> {
    match fleet {
        Some(fleet) => fleet.shake().await,
        None => vec![shake(&house.desktop).await],
    }
}

/// What was seen while sync-service did not shake hands.
#[derive(Default)]
struct During {
    /// When the first desktop was told.
    first: Option<Instant>,
    answers: Vec<Answer>,
    dashboards: Vec<Seen>,
    /// Of another route.
    reads: Vec<Answer>,
    /// Of the second half, if there was time for one: handshakes that were asked for, and those that reached sync-service.
    late: (u64, u64),
}

async fn watched(
    alert: bool,
    fleet: Option<&Fleet>,
    house: &House,
    seen: &mut Observations,
) -> anyhow::Result<During> {
    if !alert {
        return watch(WATCHED, fleet, house).await;
    }
    let exported = (house.http(), house.metrics_url());
    let (given, fired) = alerts::during(ALERT, exported, watch(ALERTED, fleet, house)).await;
    seen.took(Step::Detection, format!("{ALERT} fires on the exported metrics"), fired);
    given
}

async fn watch(length: Duration, fleet: Option<&Fleet>, house: &House) -> anyhow::Result<During> {
    let (begun, mut during) = (Instant::now(), During::default());
    let read = Call::get(format!("/arrivals?propertyId={}", house.property));
    let (mut since, mut is_late) = ((0, reached(house).await?), false);
    while begun.elapsed() < length {
        if !is_late && begun.elapsed() >= length / 2 {
            (since, is_late) = ((during.answers.len(), reached(house).await?), true);
        }
        let beside = async {
            (Box::pin(house.dashboard()).await, Box::pin(timed::send(&house.desktop, &read)).await)
        };
        let (answers, (dashboard, read)) = tokio::join!(wave(house, fleet), beside);
        during.first.get_or_insert_with(Instant::now);
        during.answers.extend(answers);
        during.dashboards.push(dashboard);
        during.reads.extend(read);
        sleep(PAUSE).await;
    }
    let (asked, arrived) = since;
    during.late = ((during.answers.len() - asked) as u64, reached(house).await? - arrived);
    Ok(during)
}

fn user(kind: &str, who: Who, during: &During, seen: &mut Observations) {
    let is_told = |answer: &&Answer| {
        let fitting = answer.is(AWAY.0, AWAY.1)
            || kind == "hang" && answer.is(SLOW.0, SLOW.1)
            || who == Who::All && answer.is(BUSY.0, BUSY.1);
        let (body, within) = (&answer.body, answer.took <= who.within());
        fitting && within && body["retryAfter"] == 30 && body["runbook"] == RUNBOOK
    };
    let (all, good) = (during.answers.len(), during.answers.iter().filter(is_told).count());
    let odd = during.answers.iter().find(|answer| !is_told(answer));
    let slowest = during.answers.iter().map(|answer| answer.took).max().unwrap_or_default();
    seen.expect(
        Step::User,
        format!(
            "{kind}: every handshake is a 502, 503 or 504 that says `again in 30 s`, within {} ms",
            who.within().as_millis()
        ),
        good == all && all > 0,
        format!(
            "{good} of {all}, the slowest in {} ms{}",
            slowest.as_millis(),
            odd.map(|answer| format!(", but {}", answer.told())).unwrap_or_default()
        ),
    );
    let (all, good) = (during.dashboards.len(), whole(&during.dashboards));
    let what = format!("{kind}: every dashboard beside it has all that comes from upstreams");
    seen.expect(Step::User, what, good == all && all > 0, format!("{good} of {all}"));
    let good = during.reads.iter().filter(|answer| answer.status == 200).count();
    let what = format!("{kind}: and every list of arrivals is there");
    seen.expect(Step::User, what, good == all, format!("{good} of {all}"));
}

fn whole(dashboards: &[Seen]) -> usize {
    let good = |seen: &&Seen| seen.status == Some(200) && seen.missed().is_empty();
    dashboards.iter().filter(good).count()
}

/// One desktop is not asked for more often than it may be; of a storm few get through once the breaker
/// knows: until then what was well before counts, too.
fn automatic(kind: &str, who: Who, during: &During, arrived: u64, seen: &mut Observations) {
    if who == Who::One {
        let all = during.answers.len() as u64;
        let what = format!("{kind}: no handshake is asked for more than twice");
        let found = format!("{arrived} arrived for {all}");
        return seen.expect(Step::Automatic, what, arrived <= 2 * all, found);
    }
    let (all, arrived) = during.late;
    let what = format!("{kind}: the breaker keeps more than half of the storm away from sync");
    let found = format!("{arrived} of {all} arrived in the second half");
    seen.expect(Step::Automatic, what, arrived * 2 < all, found);
}

async fn counted(outcome: &str, house: &House) -> anyhow::Result<f64> {
    house.metric(HANDSHAKES, &[("outcome", outcome)]).await
}
