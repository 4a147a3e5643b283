//! The session tier is down: reads go on, changes and streams are refused with a problem that says
//! when to come back, readiness names the tier, and everything comes back by itself.

use std::time::Duration;

use contracts::headers::IDEMPOTENCY_KEY;
use launcher::desktop::Call;
use launcher::secrets::random_hex;
use reqwest::Method;
use reqwest::header::RETRY_AFTER;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use super::Form;
use crate::alerts;
use crate::house::{House, Seen};
use crate::observations::{Observations, Step};
use crate::thief::{Answer, Stolen, Thief};

const TIER: &str = "redis-session";
const CHECK: &str = "session-tier";
const CODE: &str = "MELMASTOON.BFF.CACHE_UNAVAILABLE";
const ALERT: &str = "BffSessionTierAway";
const DETECT_WITHIN: Duration = Duration::from_secs(10);
const WATCHED: Duration = Duration::from_secs(3);
/// Long enough for a rate over a minute to show it and for `for: 15s`.
const ALERTED: Duration = Duration::from_secs(40);
const PAUSE: Duration = Duration::from_millis(40);
/// As long the gateway takes a silent tier for late, and waits for it.
const LATE: Duration = Duration::from_secs(1);
/// The dashboard's deadline, and the second in which a tier that is silent may only be late.
const ANSWER_WITHIN: Duration = Duration::from_millis(1_700);

/// What is done to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blow {
    Pause,
    Kill,
}

/// How a change or a stream was answered.
#[derive(Debug)]
struct Told {
    status: u16,
    code: String,
    retry_after: Option<String>,
}

pub(super) async fn run(
    form: Form,
    objective: Duration,
    house: &mut House,
    seen: &mut Observations,
) -> anyhow::Result<()> {
    for blow in [Blow::Pause, Blow::Kill] {
        let alert = blow == Blow::Pause && form == Form::Full;
        one(blow, alert, objective, house, seen).await?;
    }
    Ok(())
}

async fn one(
    blow: Blow,
    alert: bool,
    objective: Duration,
    house: &mut House,
    seen: &mut Observations,
) -> anyhow::Result<()> {
    let steady = house.until("a whole dashboard, a stream and a change", objective, is_well).await;
    seen.took(Step::Steady, "every widget is ok, streams open and changes arrive", steady);
    let kept = Thief::with(house, 1)?.steal().await?;
    let first = Thief::with(house, 1)?.send(0, &kept).await;
    seen.expect(Step::Steady, "a proof is let in", first == Answer::Accepted, format!("{first:?}"));
    strike(blow, house).await?;
    let away = Instant::now() + LATE;
    seen.expect(Step::Fault, format!("{blow:?} {TIER}"), true, "done");
    let noticed = house.until("the tier's check", DETECT_WITHIN, is_noticed).await;
    let what = format!("readiness is 503 and names {CHECK}");
    let took = seen.took(Step::Detection, what, noticed);
    seen.detected_after(took);
    user(alert, away, house, seen).await?;
    refused(&kept, Step::Automatic, "a replay is refused without the tier", house, seen).await?;
    undo(blow, house).await?;
    let back = house.until("a whole dashboard, a stream and a change", objective, is_well).await;
    let within = objective.as_secs();
    let what = format!("streams open and changes arrive again within {within} s, by themselves");
    let took = seen.took(Step::Recovery, what, back);
    seen.recovered_after(took);
    let ready = house.until("readiness", objective, is_ready).await;
    seen.took(Step::Recovery, "the gateway is ready", ready);
    refused(&kept, Step::Recovery, "and the replay is still refused", house, seen).await
}

async fn strike(blow: Blow, house: &House) -> anyhow::Result<()> {
    let tier = house.stack.process(TIER)?;
    match blow {
        Blow::Pause => tier.pause().await,
        Blow::Kill => tier.kill().await,
    }
}

async fn undo(blow: Blow, house: &mut House) -> anyhow::Result<()> {
    match blow {
        Blow::Pause => house.stack.process(TIER)?.resume().await,
        Blow::Kill => house.stack.restart(TIER).await.map(drop),
    }
}

/// `away`: from when on the tier cannot be only late.
async fn user(
    alert: bool,
    away: Instant,
    house: &House,
    seen: &mut Observations,
) -> anyhow::Result<()> {
    let length = if alert { ALERTED } else { WATCHED };
    let watching = watch(length, house);
    let (dashboards, told) = if alert {
        let exported = (house.http(), house.metrics_url());
        let (given, fired) = alerts::during(ALERT, exported, watching).await;
        seen.took(Step::Detection, format!("{ALERT} fires on the exported metrics"), fired);
        given
    } else {
        watching.await
    };
    let good = |dashboard: &&Seen| {
        // What the edge waits for the tier, the own store's 100 ms have passed.
        let comes = dashboard.status == Some(200);
        comes && (dashboard.at < away || dashboard.missed().is_empty())
    };
    let good = dashboards.iter().filter(good).count();
    let whole = dashboards.iter().filter(|dashboard| dashboard.is_whole()).count();
    seen.expect(
        Step::User,
        "every dashboard comes, and whole as soon as the tier is known to be away",
        good == dashboards.len() && whole > 0,
        format!("{good} of {}, {whole} whole", dashboards.len()),
    );
    let mut took: Vec<Duration> = dashboards.iter().map(|dashboard| dashboard.took).collect();
    took.sort();
    let (middle, slowest) = (took[took.len() / 2], took[took.len() - 1]);
    seen.expect(
        Step::User,
        format!("each within {} ms", ANSWER_WITHIN.as_millis()),
        slowest < ANSWER_WITHIN,
        format!(
            "the median in {} ms, the slowest in {} ms",
            middle.as_millis(),
            slowest.as_millis()
        ),
    );
    for (what, told) in ["stream", "change"].into_iter().zip(&told) {
        let is_right =
            |told: &&Told| told.status == 503 && told.code == CODE && told.retry_after.is_some();
        let good = told.iter().filter(is_right).count();
        seen.expect(
            Step::User,
            format!("every {what} is 503 {CODE} with Retry-After"),
            good == told.len() && good > 0,
            format!("{good} of {}: {:?}", told.len(), told.first()),
        );
    }
    Ok(())
}

/// The dashboards, and what streams and changes were told.
async fn watch(length: Duration, house: &House) -> (Vec<Seen>, [Vec<Told>; 2]) {
    let (end, mut dashboards, mut told) = (Instant::now() + length, vec![], [vec![], vec![]]);
    while Instant::now() < end {
        dashboards.push(house.dashboard().await);
        told[0].extend(stream(house).await.ok());
        told[1].extend(change(house).await.ok());
        sleep(PAUSE).await;
    }
    (dashboards, told)
}

/// Opens a stream, and lets go of it.
async fn stream(house: &House) -> anyhow::Result<Told> {
    ask(house, &Call { within: None, ..Call::get("/sse/stream") }).await
}

/// Checks in a reservation that nobody made: when all is well, reservation-service says so.
async fn change(house: &House) -> anyhow::Result<Told> {
    let path = "/reservations/rsv_01K0000000000000000000000A/check-in";
    let mut call = Call { json: Some(json!({})), ..Call::new(Method::POST, path) };
    call.headers.insert(IDEMPOTENCY_KEY, random_hex(16).parse()?);
    ask(house, &call).await
}

async fn ask(house: &House, call: &Call) -> anyhow::Result<Told> {
    let answer = timeout(Duration::from_secs(5), house.desktop.send(call)).await??;
    let status = answer.status().as_u16();
    let retry_after = answer.headers().get(RETRY_AFTER);
    let retry_after = retry_after.and_then(|after| after.to_str().ok()).map(str::to_owned);
    let body: Value = if status == 200 { Value::Null } else { answer.json().await? };
    let code = body["code"].as_str().unwrap_or_default().to_owned();
    Ok(Told { status, code, retry_after })
}

async fn refused(
    stolen: &Stolen,
    step: Step,
    expected: &str,
    house: &House,
    seen: &mut Observations,
) -> anyhow::Result<()> {
    let answer = Thief::with(house, 1)?.send(0, stolen).await;
    seen.expect(step, expected, answer == Answer::Refused, format!("{answer:?}"));
    Ok(())
}

/// Whole dashboards, streams that open, changes that reach the service they are for.
async fn is_well(house: &House) -> anyhow::Result<bool> {
    // The stream last: a device may open ten a minute.
    Ok(house.dashboard().await.is_whole()
        && change(house).await.is_ok_and(|told| told.status == 404)
        && stream(house).await.is_ok_and(|told| told.status == 200))
}

async fn is_noticed(house: &House) -> anyhow::Result<bool> {
    let (status, down) = house.readiness(&house.stack.info().gateway).await?;
    Ok(status == 503 && down == [CHECK])
}

async fn is_ready(house: &House) -> anyhow::Result<bool> {
    Ok(house.readiness(&house.stack.info().gateway).await?.0 == 200)
}
