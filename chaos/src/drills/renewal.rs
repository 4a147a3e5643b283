//! iam does not renew tokens: the desk is told to try again, works on with the token it has, and
//! the next try after the end of it is good. Nobody is signed out.
//!
//! At the end, the one failure that does end a session: iam renews and its answer is lost.

use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep};

use super::Form;
use crate::alerts;
use crate::house::{House, Seen, fault};
use crate::observations::{Observations, Step};
use crate::timed::Answer;

const ALERT: &str = "BffIamRefreshDown";
const ROUTE: &str = "POST /api/v1/auth/refresh";
const RUNBOOK: &str = "bff-backoffice/iam-refresh-down";
const AWAY: (u16, &str) = (502, "MELMASTOON.BFF.UPSTREAM_UNAVAILABLE");
const SLOW: (u16, &str) = (504, "MELMASTOON.BFF.UPSTREAM_TIMEOUT");
const DETECT_WITHIN: Duration = Duration::from_secs(10);
const WATCHED: Duration = Duration::from_secs(4);
/// Long enough for a rate over a minute to show it and for `for: 15s`.
const ALERTED: Duration = Duration::from_secs(40);
const PAUSE: Duration = Duration::from_millis(200);
/// What the gateway gives iam, and a connection on a busy machine.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

pub(super) async fn run(
    form: Form,
    objective: Duration,
    house: &mut House,
    seen: &mut Observations,
) -> anyhow::Result<()> {
    // A refresh token of an earlier stack is worth nothing to this one's iam.
    house.desktop.forget_tokens().await?;
    for kind in ["status", "hang", "refuse"] {
        one(kind, form, objective, house, seen).await?;
    }
    lost_answer(objective, house, seen).await
}

async fn one(
    kind: &str,
    form: Form,
    objective: Duration,
    house: &House,
    seen: &mut Observations,
) -> anyhow::Result<()> {
    let steady = house.until("a whole dashboard and a renewal", objective, is_well).await;
    seen.took(Step::Steady, "every widget is ok and the token is renewed", steady);
    let token = house.desktop.access_token().await?;
    let before = failed(house).await?;
    let struck = Instant::now();
    // The status is of the one route; the others befall iam as a whole, its keys included.
    let what = if kind == "status" {
        json!({"upstream": "iam", "route": ROUTE, "kind": kind, "status": 503})
    } else {
        fault("iam", kind)
    };
    house.fault(&what).await?;
    seen.expect(Step::Fault, format!("iam: {kind}"), true, "done");
    let (dashboards, renewals) = watched(kind == "status" && form == Form::Full, house, seen).await;
    user(kind, &dashboards, &renewals, seen);
    let counted = house
        .until("the counter", DETECT_WITHIN, async |house| Ok(failed(house).await? > before))
        .await;
    let what = "bff_backoffice_refresh_total counts the failed renewals";
    seen.detected_after(seen_after(&renewals, struck));
    seen.took(Step::Detection, what, counted);
    automatic(&token, house, seen).await?;
    house.clear_faults().await?;
    let back = house.until("a renewal", objective, is_renewed).await;
    let within = objective.as_secs();
    let what = format!("the same refresh token is good within {within} s; nobody signs in");
    let took = seen.took(Step::Recovery, what, back);
    seen.recovered_after(took);
    Ok(())
}

/// The first answer that tells the desk.
fn seen_after(renewals: &[Renewal], struck: Instant) -> Option<Duration> {
    let first = renewals.iter().find(|renewal| renewal.answer.status >= 500);
    first.map(|first| first.at + first.answer.took - struck)
}

struct Renewal {
    at: Instant,
    answer: Answer,
}

async fn watched(alert: bool, house: &House, seen: &mut Observations) -> (Vec<Seen>, Vec<Renewal>) {
    if !alert {
        return watch(WATCHED, house).await;
    }
    let exported = (house.http(), house.metrics_url());
    let (given, fired) = alerts::during(ALERT, exported, watch(ALERTED, house)).await;
    seen.took(Step::Detection, format!("{ALERT} fires on the exported metrics"), fired);
    given
}

async fn watch(length: Duration, house: &House) -> (Vec<Seen>, Vec<Renewal>) {
    let (end, mut dashboards, mut renewals) = (Instant::now() + length, vec![], vec![]);
    while Instant::now() < end {
        dashboards.push(house.dashboard().await);
        let at = Instant::now();
        if let Ok(answer) = renew(house).await {
            renewals.push(Renewal { at, answer });
        }
        sleep(PAUSE).await;
    }
    (dashboards, renewals)
}

async fn renew(house: &House) -> anyhow::Result<Answer> {
    let begun = Instant::now();
    Ok(Answer::of(house.desktop.renew().await?, begun.elapsed()))
}

fn user(kind: &str, dashboards: &[Seen], renewals: &[Renewal], seen: &mut Observations) {
    let told = |answer: &Answer| {
        let fitting = answer.is(AWAY.0, AWAY.1) || kind == "hang" && answer.is(SLOW.0, SLOW.1);
        fitting && answer.body["retriable"] == true && answer.body["runbook"] == RUNBOOK
    };
    let good = renewals.iter().filter(|renewal| told(&renewal.answer)).count();
    let odd = renewals.iter().find(|renewal| !told(&renewal.answer));
    let also = if kind == "hang" { ", or 504 UPSTREAM_TIMEOUT" } else { "" };
    seen.expect(
        Step::User,
        format!("{kind}: every renewal is a retriable 502{also} that names its runbook"),
        good == renewals.len() && good > 0,
        format!(
            "{good} of {}{}",
            renewals.len(),
            odd.map(|it| it.answer.told()).unwrap_or_default()
        ),
    );
    if kind == "hang" {
        let slow = renewals.iter().filter(|renewal| renewal.answer.is(SLOW.0, SLOW.1)).count();
        seen.expect(Step::User, "the first of them are 504", slow > 0, format!("{slow}"));
    }
    let slowest = renewals.iter().map(|renewal| renewal.answer.took).max().unwrap_or_default();
    seen.expect(
        Step::User,
        format!("{kind}: each within {} ms", ANSWER_WITHIN.as_millis()),
        slowest < ANSWER_WITHIN,
        format!("the slowest in {} ms", slowest.as_millis()),
    );
    let good = dashboards.iter().filter(|dashboard| dashboard.is_whole()).count();
    seen.expect(
        Step::User,
        format!("{kind}: every dashboard is whole"),
        good == dashboards.len() && good > 0,
        format!("{good} of {}", dashboards.len()),
    );
}

/// The token of before the fault works on, and a sick iam is left alone.
async fn automatic(token: &str, house: &House, seen: &mut Observations) -> anyhow::Result<()> {
    let kept = house.desktop.access_token().await.is_ok_and(|now| now == token);
    seen.expect(
        Step::Automatic,
        "the desk still works with the token of before",
        kept,
        if kept { "the same" } else { "another, or none" },
    );
    let labels = [("upstream", "iam"), ("outcome", "BREAKER_OPEN")];
    let spared = house.metric("bff_backoffice_upstream_request_total", &labels).await?;
    seen.expect(
        Step::Automatic,
        "the breaker opened and spared iam calls",
        spared > 0.0,
        format!("{spared:.0} calls spared"),
    );
    Ok(())
}

/// iam renewed, and nobody has its answer. The repeat with the same refresh token gets the pair that
/// iam made: it gives it again for 30 s.
async fn lost_answer(
    objective: Duration,
    house: &House,
    seen: &mut Observations,
) -> anyhow::Result<()> {
    let lost = json!({"upstream": "iam", "route": ROUTE, "kind": "lost_answer", "times": 1});
    house.fault(&lost).await?;
    seen.expect(Step::Fault, "iam renews once and its answer is lost", true, "done");
    let first = renew(house).await?;
    let what = "the renewal is a 502 that may be repeated";
    seen.expect(Step::User, what, first.is(AWAY.0, AWAY.1), first.told());
    let again = renew(house).await?;
    let what = "the repeat gets the pair that iam made";
    seen.expect(Step::User, what, again.status == 200, again.told());
    let back = house.until("a whole dashboard and a renewal", objective, is_well).await;
    seen.took(Step::Recovery, "nobody signs in, the operator works on", back);
    Ok(())
}

async fn is_renewed(house: &House) -> anyhow::Result<bool> {
    Ok(renew(house).await?.status == 200)
}

async fn is_well(house: &House) -> anyhow::Result<bool> {
    Ok(house.dashboard().await.is_whole() && is_renewed(house).await?)
}

async fn failed(house: &House) -> anyhow::Result<f64> {
    house.metric("bff_backoffice_refresh_total", &[("outcome", "failed")]).await
}
