//! iam does not check second factors: nothing that needs one is done, everything else is, and what
//! was attested before stays good.

use std::time::Duration;

use anyhow::Context;
use contracts::clock::Clock;
use launcher::desktop::Desktop;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::Form;
use crate::alerts;
use crate::desk::{self, Refundable};
use crate::house::{House, Seen};
use crate::observations::{Observations, Step};
use crate::timed::{self, Answer};

const ALERT: &str = "BffMfaDown";
const ROUTE: &str = "POST /api/v1/auth/mfa/attest";
const RUNBOOK: &str = "bff-backoffice/mfa-down";
const AWAY: (u16, &str) = (502, "MELMASTOON.BFF.UPSTREAM_UNAVAILABLE");
const SLOW: (u16, &str) = (504, "MELMASTOON.BFF.UPSTREAM_TIMEOUT");
const REQUIRED: (u16, &str) = (401, "MELMASTOON.BFF.MFA_REQUIRED");
const WRONG: (u16, &str) = (401, "MELMASTOON.IAM.MFA_CODE_INVALID");
const FAILURES: &str = "bff_backoffice_request_total";
const PATH: &str = "/api/bff/backoffice/v1/auth/mfa/step-up";
const DETECT_WITHIN: Duration = Duration::from_secs(10);
const WATCHED: Duration = Duration::from_secs(4);
/// Long enough for a rate over a minute to show it and for `for: 15s`.
const ALERTED: Duration = Duration::from_secs(40);
const PAUSE: Duration = Duration::from_millis(200);
/// No operator's: six digits are not eight.
const NO_CODE: &str = "00000000";

pub(super) async fn run(
    form: Form,
    objective: Duration,
    house: &mut House,
    seen: &mut Observations,
) -> anyhow::Result<()> {
    let folio = Refundable::find(house).await?;
    let mut guests = timed::arriving(house).await?.into_iter();
    let before = timed::attested(house).await;
    let what = "a second factor is attested";
    seen.expect(Step::Steady, what, before.is_ok(), format!("{before:?}"));
    for (kind, colleague) in [("status", 0), ("hang", 1)] {
        let work = Work {
            folio: &folio,
            guest: guests.next(),
            colleague: colleague_of(house, colleague)?,
        };
        let alert = kind == "status" && form == Form::Full;
        one((kind, alert), work, objective, house, seen).await?;
    }
    kept(&folio, before.ok(), house, seen).await?;
    let answer = refund(&folio, Some(&timed::attested(house).await?), house).await?;
    let what = "a second factor permits a refund again";
    seen.expect(Step::Recovery, what, answer.status == 201, answer.told());
    let done = folio.paid_back(house).await?;
    let what = "billing paid back what was permitted and nothing else: 2 times";
    seen.expect(Step::Recovery, what, done == 2, done);
    Ok(())
}

/// What is tried while iam is ill.
struct Work<'a> {
    folio: &'a Refundable,
    guest: Option<(String, String)>,
    /// Shows wrong codes, to see whether iam judges them. Not the operator of the drill, whose second
    /// factor they would lock.
    colleague: Desktop,
}

/// Another operator than the drill's own.
fn colleague_of(house: &House, number: usize) -> anyhow::Result<Desktop> {
    let (info, own) = (house.stack.info(), &house.desktop.operator().username);
    let mut others = info.operators.iter().filter(|operator| operator.username != *own);
    let other = others.nth(number).context("the demo house has more operators")?;
    Desktop::open(info, &other.username, &house.folder.join("desktop"), Clock::system())
}

async fn one(
    (kind, alert): (&str, bool),
    work: Work<'_>,
    objective: Duration,
    house: &House,
    seen: &mut Observations,
) -> anyhow::Result<()> {
    let Work { folio, guest, colleague } = work;
    let is_well = async |house: &House| is_well(&colleague, house).await;
    let steady = house.until("a whole dashboard and iam's word", objective, &is_well).await;
    seen.took(Step::Steady, "every widget is ok and iam judges codes", steady);
    let (before, struck) = (failed(house).await?, Instant::now());
    let mut fault = json!({"upstream": "iam", "route": ROUTE, "kind": kind});
    if kind == "status" {
        fault["status"] = json!(503);
    }
    house.fault(&fault).await?;
    seen.expect(Step::Fault, format!("iam checks no factor: {kind}"), true, "done");
    let during = watched(alert, folio, house, seen).await?;
    seen.detected_after(during.first_told.map(|at| at - struck));
    user(kind, &during, seen);
    let (guest, room) = guest.context("not two guests arrive today")?;
    let check_in = desk::check_in(&guest, &room, &desk::new_key())?;
    let answer = timed::send(&house.desktop, &check_in).await?;
    let what = format!("{kind}: a guest is checked in all the same");
    seen.expect(Step::User, what, answer.status == 200, answer.told());
    let counted = house
        .until("the counter", DETECT_WITHIN, async |house| Ok(failed(house).await? > before))
        .await;
    seen.took(Step::Detection, format!("{FAILURES} counts the failed step-ups"), counted);
    house.clear_faults().await?;
    let back = house.until("a whole dashboard and iam's word", objective, &is_well).await;
    let within = objective.as_secs();
    let what = format!("codes are judged again within {within} s, by themselves");
    let took = seen.took(Step::Recovery, what, back);
    seen.recovered_after(took);
    Ok(())
}

/// What was seen while iam checked nothing.
#[derive(Default)]
struct During {
    dashboards: Vec<Seen>,
    step_ups: Vec<Answer>,
    refunds: Vec<Answer>,
    first_told: Option<Instant>,
}

async fn watched(
    alert: bool,
    folio: &Refundable,
    house: &House,
    seen: &mut Observations,
) -> anyhow::Result<During> {
    if !alert {
        return watch(WATCHED, folio, house).await;
    }
    let exported = (house.http(), house.metrics_url());
    let (given, fired) = alerts::during(ALERT, exported, watch(ALERTED, folio, house)).await;
    seen.took(Step::Detection, format!("{ALERT} fires on the exported metrics"), fired);
    given
}

async fn watch(length: Duration, folio: &Refundable, house: &House) -> anyhow::Result<During> {
    let (end, mut during) = (Instant::now() + length, During::default());
    while Instant::now() < end {
        let [_, code, _] = house.desktop.codes()?;
        let answer = timed::step_up(house, &code).await?;
        if answer.status >= 500 {
            during.first_told.get_or_insert_with(Instant::now);
        }
        during.step_ups.push(answer);
        during.refunds.push(refund(folio, None, house).await?);
        during.dashboards.push(house.dashboard().await);
        sleep(PAUSE).await;
    }
    Ok(during)
}

fn user(kind: &str, during: &During, seen: &mut Observations) {
    let told = |answer: &Answer| {
        let fitting = answer.is(AWAY.0, AWAY.1) || kind == "hang" && answer.is(SLOW.0, SLOW.1);
        fitting && answer.body["retriable"] == true && answer.body["runbook"] == RUNBOOK
    };
    let also = if kind == "hang" { ", or 504 UPSTREAM_TIMEOUT" } else { "" };
    let what = format!("{kind}: every step-up is a retriable 502{also} that names its runbook");
    all(what, &during.step_ups, told, seen);
    let what = format!("{kind}: every refund without one is 401 MFA_REQUIRED");
    all(what, &during.refunds, |answer| answer.is(REQUIRED.0, REQUIRED.1), seen);
    let good = during.dashboards.iter().filter(|dashboard| dashboard.is_whole()).count();
    seen.expect(
        Step::User,
        format!("{kind}: every dashboard is whole"),
        good == during.dashboards.len() && good > 0,
        format!("{good} of {}", during.dashboards.len()),
    );
}

fn all(
    expected: String,
    answers: &[Answer],
    is_right: impl Fn(&Answer) -> bool,
    seen: &mut Observations,
) {
    let good = answers.iter().filter(|answer| is_right(answer)).count();
    let odd = answers.iter().find(|answer| !is_right(answer)).map(Answer::told);
    let found = format!("{good} of {} {}", answers.len(), odd.unwrap_or_default());
    seen.expect(Step::User, expected, good == answers.len() && good > 0, found.trim());
}

/// It was issued before and lived through both faults.
async fn kept(
    folio: &Refundable,
    attestation: Option<String>,
    house: &House,
    seen: &mut Observations,
) -> anyhow::Result<()> {
    let hang = json!({"upstream": "iam", "route": ROUTE, "kind": "hang"});
    house.fault(&hang).await?;
    let answer = refund(folio, attestation.as_deref(), house).await?;
    let what = "what was attested before the fault permits its refund during it";
    seen.expect(Step::Automatic, what, answer.status == 201, answer.told());
    let answer = refund(folio, attestation.as_deref(), house).await?;
    let what = "and no second one";
    seen.expect(Step::Automatic, what, answer.status == 401, answer.told());
    house.clear_faults().await
}

/// Each with a key of its own.
async fn refund(
    folio: &Refundable,
    attestation: Option<&str>,
    house: &House,
) -> anyhow::Result<Answer> {
    timed::send(&house.desktop, &folio.refund(&desk::new_key(), attestation)?).await
}

/// A wrong code is iam's to refuse: it says so, and no code is used up. Sent only when the rest is
/// well, because five of them lock.
async fn is_well(colleague: &Desktop, house: &House) -> anyhow::Result<bool> {
    if !house.dashboard().await.is_whole() {
        return Ok(false);
    }
    Ok(timed::step_up_at(colleague, NO_CODE).await?.is(WRONG.0, WRONG.1))
}

async fn failed(house: &House) -> anyhow::Result<f64> {
    house.metric(FAILURES, &[("route", PATH), ("status_class", "5xx")]).await
}
