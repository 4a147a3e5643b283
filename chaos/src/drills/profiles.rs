//! tenant-service is slow, or away: operators who were here notice nothing, one who comes new is
//! let in by the token alone and waits a moment only, and the profile comes in when it can.
//!
//! Not here: a profile that grows older than five minutes; the gateway's own tests turn the clock.

use std::time::Duration;

use anyhow::Context;
use contracts::clock::Clock;
use launcher::desktop::{Call, Desktop};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::Form;
use crate::alerts;
use crate::house::{House, Seen};
use crate::observations::{Observations, Step};
use crate::timed::{self, Answer};

const ALERTS: [&str; 2] = ["BffTenantDegraded", "BffOperatorProfilesMissing"];
const CALLS: &str = "bff_backoffice_upstream_request_total";
const PROFILES: &str = "bff_backoffice_operator_profile_total";
const DETECT_WITHIN: Duration = Duration::from_secs(10);
const WATCHED: Duration = Duration::from_secs(4);
/// Long enough for a rate over a minute to show it and for `for: 15s`.
const ALERTED: Duration = Duration::from_secs(40);
const PAUSE: Duration = Duration::from_millis(100);
/// The 200 ms a profile is waited for, a connection anew and a busy machine.
const FIRST_WITHIN: Duration = Duration::from_secs(1);
/// Nothing is waited for; the rest is the machine.
const NEXT_WITHIN: Duration = Duration::from_millis(700);
/// After a failure tenant-service is left alone for this long, for each operator.
const LEFT_ALONE: Duration = Duration::from_secs(5);

pub(super) async fn run(
    form: Form,
    objective: Duration,
    house: &mut House,
    seen: &mut Observations,
) -> anyhow::Result<()> {
    let slow = json!({"upstream": "tenant", "kind": "latency", "ms": 2_000});
    let away = json!({"upstream": "tenant", "kind": "refuse"});
    let newcomers = newcomers(house)?;
    for (number, (fault, newcomer)) in [slow, away].iter().zip(&newcomers).enumerate() {
        let alert = number == 0 && form == Form::Full;
        one((fault, alert), newcomer, objective, house, seen).await?;
    }
    Ok(())
}

/// Two more operators of the property, who were not here yet.
fn newcomers(house: &House) -> anyhow::Result<[Desktop; 2]> {
    let (info, own) = (house.stack.info(), &house.desktop.operator().username);
    let others = info
        .operators
        .iter()
        .filter(|other| other.property_ids.contains(&house.property) && other.username != *own);
    let folder = house.folder.join("desktop");
    let open = |name: &str| Desktop::open(info, name, &folder, Clock::system());
    let desktops: Vec<Desktop> =
        others.take(2).map(|other| open(&other.username)).collect::<anyhow::Result<_>>()?;
    desktops.try_into().ok().context("the property has not three operators")
}

async fn one(
    (fault, alert): (&Value, bool),
    newcomer: &Desktop,
    objective: Duration,
    house: &House,
    seen: &mut Observations,
) -> anyhow::Result<()> {
    let kind = fault["kind"].as_str().unwrap_or_default();
    let steady = house.until("a whole dashboard and a profile", objective, is_well).await;
    seen.took(Step::Steady, "every widget is ok and the operator's profile is known", steady);
    // The sign-in is iam's and asks nothing of tenant-service.
    newcomer.access_token().await?;
    let (before, asked, struck) = (missing(house).await?, asked(house).await?, Instant::now());
    house.fault(fault).await?;
    seen.expect(Step::Fault, format!("tenant: {kind}"), true, "done");
    let first = timed::send(newcomer, &Call::get("/session")).await?;
    seen.detected_after(Some(struck.elapsed()));
    first_of(kind, newcomer, &first, seen);
    let during = watched(alert, newcomer, house, seen).await?;
    user(kind, &during, seen);
    automatic(asked, struck.elapsed(), house, seen).await?;
    let counted = house
        .until("the counter", DETECT_WITHIN, async |house| Ok(missing(house).await? > before))
        .await;
    seen.took(Step::Detection, format!("{PROFILES} counts requests without a profile"), counted);
    house.clear_faults().await?;
    let back =
        house.until("the newcomer's profile", objective, async |_| is_known(newcomer).await).await;
    let within = objective.as_secs();
    let what =
        format!("the newcomer has a name within {within} s, read behind the requests' backs");
    let took = seen.took(Step::Recovery, what, back);
    seen.recovered_after(took);
    Ok(())
}

/// Let in by the token alone.
fn first_of(kind: &str, newcomer: &Desktop, first: &Answer, seen: &mut Observations) {
    let operator = newcomer.operator();
    let session = &first.body;
    let by_token = first.status == 200
        && session["profile"] == "unavailable"
        && session["displayName"].is_null()
        && session["roles"] == json!(operator.roles)
        && session["propertyIds"] == json!(operator.property_ids);
    seen.expect(
        Step::User,
        format!("{kind}: a newcomer has the token's roles and properties, and no name"),
        by_token,
        format!("{} profile {} roles {}", first.told(), session["profile"], session["roles"]),
    );
    seen.expect(
        Step::User,
        format!("{kind}: and knows it within {} ms", FIRST_WITHIN.as_millis()),
        first.took < FIRST_WITHIN,
        format!("{} ms", first.took.as_millis()),
    );
}

/// What was seen while tenant-service did not answer.
#[derive(Default)]
struct During {
    dashboards: Vec<Seen>,
    known: Vec<Answer>,
    newcomers: Vec<Answer>,
}

async fn watched(
    alert: bool,
    newcomer: &Desktop,
    house: &House,
    seen: &mut Observations,
) -> anyhow::Result<During> {
    if !alert {
        return watch(WATCHED, newcomer, house).await;
    }
    let exported = (house.http(), house.metrics_url());
    let (given, samples) = alerts::sampled(exported, watch(ALERTED, newcomer, house)).await;
    let samples = samples?;
    for alert in ALERTS {
        let fired = alerts::firing(alert, &samples, &House::folder("drills")).await;
        seen.took(Step::Detection, format!("{alert} fires on the exported metrics"), fired);
    }
    given
}

async fn watch(length: Duration, newcomer: &Desktop, house: &House) -> anyhow::Result<During> {
    let (end, mut during) = (Instant::now() + length, During::default());
    let session = Call::get("/session");
    let dashboard = Call::get(format!("/dashboard?propertyId={}", house.property));
    while Instant::now() < end {
        during.dashboards.push(house.dashboard().await);
        during.known.push(timed::send(&house.desktop, &session).await?);
        during.newcomers.push(timed::send(newcomer, &dashboard).await?);
        sleep(PAUSE).await;
    }
    Ok(during)
}

fn user(kind: &str, during: &During, seen: &mut Observations) {
    let good = during.dashboards.iter().filter(|dashboard| dashboard.is_whole()).count();
    let all = during.dashboards.len();
    seen.expect(
        Step::User,
        format!("{kind}: every dashboard of an operator who was here is whole"),
        good == all && good > 0,
        format!("{good} of {all}"),
    );
    let kept = |answer: &&Answer| answer.status == 200 && answer.body["profile"] == "fresh";
    let (good, all) = (during.known.iter().filter(kept).count(), during.known.len());
    seen.expect(
        Step::User,
        format!("{kind}: whose profile is kept"),
        good == all && good > 0,
        format!("{good} of {all}"),
    );
    let good = during.newcomers.iter().filter(|answer| answer.status == 200).count();
    let all = during.newcomers.len();
    seen.expect(
        Step::User,
        format!("{kind}: every dashboard of the newcomer is 200"),
        good == all && good > 0,
        format!("{good} of {all}"),
    );
    let times = during.dashboards.iter().map(|dashboard| dashboard.took);
    let times = times.chain(during.newcomers.iter().map(|answer| answer.took));
    let slowest = times.max().unwrap_or_default();
    seen.expect(
        Step::User,
        format!("{kind}: each within {} ms", NEXT_WITHIN.as_millis()),
        slowest < NEXT_WITHIN,
        format!("the slowest in {} ms", slowest.as_millis()),
    );
}

/// However many requests there are, tenant-service is asked for an operator once in five seconds.
async fn automatic(
    before: f64,
    length: Duration,
    house: &House,
    seen: &mut Observations,
) -> anyhow::Result<()> {
    let calls = asked(house).await? - before;
    let most = length.as_secs_f64() / LEFT_ALONE.as_secs_f64() + 1.0;
    seen.expect(
        Step::Automatic,
        "tenant-service is left alone for 5 s after each failure",
        calls > 0.0 && calls <= most,
        format!("{calls:.0} calls in {} s", length.as_secs()),
    );
    Ok(())
}

async fn is_known(desktop: &Desktop) -> anyhow::Result<bool> {
    let body = timed::send(desktop, &Call::get("/session")).await?.body;
    Ok(body["profile"] == "fresh" && body["displayName"].is_string())
}

async fn is_well(house: &House) -> anyhow::Result<bool> {
    Ok(house.dashboard().await.is_whole() && is_known(&house.desktop).await?)
}

async fn missing(house: &House) -> anyhow::Result<f64> {
    house.metric(PROFILES, &[("outcome", "token_only")]).await
}

async fn asked(house: &House) -> anyhow::Result<f64> {
    house.metric(CALLS, &[("upstream", "tenant")]).await
}
