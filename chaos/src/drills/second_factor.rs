//! iam fails second-factor checks. Requests that need one are refused, everything else works, and
//! earlier attestations stay valid.

use std::time::Duration;

use anyhow::Context;
use contracts::clock::Clock;
use launcher::desktop::Desktop;
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::client::{self, Arrival, Refundable};
use crate::drill_env::{DashboardView, DeviceUse, DrillEnv};
use crate::drill_run::{Drill, DrillFuture, DrillRun, EnvAfter};
use crate::lock_fixture::{IssuedKey, LockFixture};
use crate::timed_call::{self, REFUND_SCOPE, REVOKE_SCOPE, TimedResponse};

const ALERT: &str = "BffMfaDown";
const ROUTE: &str = "POST /api/v1/auth/mfa/attest";
const RUNBOOK: &str = "bff-backoffice/mfa-down";
const UNAVAILABLE: (u16, &str) = (502, "MELMASTOON.BFF.UPSTREAM_UNAVAILABLE");
const TIMED_OUT: (u16, &str) = (504, "MELMASTOON.BFF.UPSTREAM_TIMEOUT");
const MFA_REQUIRED: (u16, &str) = (401, "MELMASTOON.BFF.MFA_REQUIRED");
const CODE_INVALID: (u16, &str) = (401, "MELMASTOON.IAM.MFA_CODE_INVALID");
const REQUESTS_METRIC: &str = "bff_backoffice_request_total";
const STEP_UP_PATH: &str = "/api/bff/backoffice/v1/auth/mfa/step-up";
const DETECT_WITHIN: Duration = Duration::from_secs(10);
const WATCH_DURATION: Duration = Duration::from_secs(4);
const REQUEST_PAUSE: Duration = Duration::from_millis(200);
/// Never a valid code, because codes have six digits.
const NO_CODE: &str = "00000000";

pub(super) struct SecondFactor;

impl Drill for SecondFactor {
    fn leaves(&self) -> EnvAfter {
        EnvAfter::Unchanged
    }

    fn uses_up(&self) -> DeviceUse {
        DeviceUse { second_factors: 3, ..DeviceUse::default() }
    }

    fn run<'a>(&'a self, run: &'a mut DrillRun) -> DrillFuture<'a> {
        Box::pin(run_drill(run))
    }
}

async fn run_drill(run: &mut DrillRun) -> anyhow::Result<()> {
    let folio = Refundable::find(&run.env).await?;
    let refunded = folio.paid_back(&run.env).await?;
    let mut guests = Arrival::all(&run.env).await?.into_iter();
    let key = IssuedKey::issue(&run.env, &LockFixture::find(&run.env).await?).await?;
    let before = timed_call::obtain_attestation(&run.env, REFUND_SCOPE).await;
    let what = "a second factor is attested";
    run.steady(what, before.is_ok(), format!("{before:?}"));
    for (kind, colleague) in [("status", 0), ("hang", 1)] {
        let work = Work {
            folio: &folio,
            key: &key,
            guest: guests.next(),
            colleague: colleague_of(&run.env, colleague)?,
        };
        let alerts: &[_] = if kind == "status" { &[ALERT] } else { &[] };
        drill_fault(run, kind, alerts, work).await?;
    }
    check_kept_attestation(run, &folio, before.ok()).await?;
    let fresh = timed_call::obtain_attestation(&run.env, REFUND_SCOPE).await?;
    let answer = refund(&folio, Some(&fresh), &run.env).await?;
    let what = "a second factor permits a refund again";
    run.recover(what, answer.status == 201, answer.summary());
    check_revoked(run, &key).await?;
    let done = folio.paid_back(&run.env).await? - refunded;
    let what = "billing made exactly the 2 permitted refunds";
    run.recover(what, done == 2, done);
    Ok(())
}

/// Checks that the key, which nothing has revoked so far, can be revoked again.
async fn check_revoked(run: &DrillRun, key: &IssuedKey) -> anyhow::Result<()> {
    let before = key.times_revoked(&run.env).await?;
    let what = "lock-integration has revoked no key until then";
    run.recover(what, before == 0, before);
    let fresh = timed_call::obtain_attestation(&run.env, REVOKE_SCOPE).await?;
    let answer = revoke(key, Some(&fresh), &run.env).await?;
    let what = "a second factor permits revoking a room key again";
    run.recover(what, answer.status == 200, answer.summary());
    let done = key.times_revoked(&run.env).await?;
    run.recover("and lock-integration revokes it once", done == 1, done);
    Ok(())
}

/// Resources used during the fault.
struct Work<'a> {
    folio: &'a Refundable,
    key: &'a IssuedKey,
    guest: Option<Arrival>,
    /// Sends wrong codes to check whether iam verifies them. Not the drill's own operator, whose second
    /// factor they would lock.
    colleague: Desktop,
}

/// Opens the desktop of another operator.
fn colleague_of(env: &DrillEnv, number: usize) -> anyhow::Result<Desktop> {
    let (info, own) = (env.stack.info(), &env.desktop.operator().username);
    let mut others = info.operators.iter().filter(|operator| operator.username != *own);
    let other = others.nth(number).context("the demo data has more operators")?;
    Desktop::open(info, &other.username, &env.folder.join("desktop"), Clock::system())
}

async fn drill_fault(
    run: &DrillRun,
    kind: &str,
    alerts: &[&'static str],
    work: Work<'_>,
) -> anyhow::Result<()> {
    let Work { folio, key, guest, colleague } = work;
    let is_well = async |env: &DrillEnv| is_well(&colleague, env).await;
    let steady =
        run.env.wait_until("a whole dashboard and iam's response", run.objective, &is_well).await;
    run.steady_within("every widget is ok and iam checks codes", steady);
    let (before, injected_at) = (failed(&run.env).await?, Instant::now());
    let mut fault = json!({"upstream": "iam", "route": ROUTE, "kind": kind});
    if kind == "status" {
        fault["status"] = json!(503);
    }
    run.env.add_fault(&fault).await?;
    run.inject(format!("iam checks no factor: {kind}"));
    let length = run.watch_length(alerts, WATCH_DURATION)?;
    let watching = watch(length, folio, key, &run.env);
    let during = run.raised_during(alerts, injected_at, watching).await??;
    run.detected_after(during.first_failure.map(|at| at - injected_at));
    check_user_view(run, kind, &during);
    let guest = guest.context("fewer than two guests arrive today")?;
    let check_in = guest.check_in(&client::new_key())?;
    let answer = timed_call::send(&run.env.desktop, &check_in).await?;
    let what = "a guest can be checked in";
    run.user(what, answer.status == 200, answer.summary());
    let counted = run
        .env
        .wait_until("the counter", DETECT_WITHIN, async |env| Ok(failed(env).await? > before))
        .await;
    run.detect_within(format!("{REQUESTS_METRIC} counts the failed step-ups"), counted);
    run.env.clear_faults().await?;
    let back =
        run.env.wait_until("a whole dashboard and iam's response", run.objective, &is_well).await;
    let what = "codes are checked again, automatically";
    run.recover_within(what, back);
    Ok(())
}

/// Observations during the fault.
#[derive(Default)]
struct During {
    dashboards: Vec<DashboardView>,
    step_ups: Vec<TimedResponse>,
    refunds: Vec<TimedResponse>,
    revocations: Vec<TimedResponse>,
    first_failure: Option<Instant>,
}

async fn watch(
    length: Duration,
    folio: &Refundable,
    key: &IssuedKey,
    env: &DrillEnv,
) -> anyhow::Result<During> {
    let (end, mut during) = (Instant::now() + length, During::default());
    while Instant::now() < end {
        let [_, code, _] = env.desktop.codes()?;
        // Alternates between the scopes.
        let scope = if during.step_ups.len() % 2 == 0 { REFUND_SCOPE } else { REVOKE_SCOPE };
        let answer = timed_call::step_up_at(&env.desktop, scope, &code).await?;
        if answer.status >= 500 {
            during.first_failure.get_or_insert_with(Instant::now);
        }
        during.step_ups.push(answer);
        during.revocations.push(revoke(key, None, env).await?);
        during.refunds.push(refund(folio, None, env).await?);
        during.dashboards.push(env.dashboard().await);
        sleep(REQUEST_PAUSE).await;
    }
    Ok(during)
}

fn check_user_view(run: &DrillRun, kind: &str, during: &During) {
    let is_expected = |answer: &TimedResponse| {
        let fitting = answer.is(UNAVAILABLE.0, UNAVAILABLE.1)
            || kind == "hang" && answer.is(TIMED_OUT.0, TIMED_OUT.1);
        fitting && answer.body["retriable"] == true && answer.body["runbook"] == RUNBOOK
    };
    let what = "every step-up is a retriable 502 or 504 that names its runbook";
    check_all(run, what, &during.step_ups, is_expected);
    let what = "every refund without one is 401 MFA_REQUIRED";
    let is_required = |answer: &TimedResponse| answer.is(MFA_REQUIRED.0, MFA_REQUIRED.1);
    check_all(run, what, &during.refunds, is_required);
    let what = "every revocation of a room key without one is 401 MFA_REQUIRED";
    check_all(run, what, &during.revocations, is_required);
    let good = during.dashboards.iter().filter(|dashboard| dashboard.is_whole()).count();
    run.user(
        "every dashboard is whole",
        good == during.dashboards.len() && good > 0,
        format!("{good} of {}", during.dashboards.len()),
    );
}

fn check_all(
    run: &DrillRun,
    expected: &str,
    answers: &[TimedResponse],
    is_right: impl Fn(&TimedResponse) -> bool,
) {
    let good = answers.iter().filter(|answer| is_right(answer)).count();
    let odd = answers.iter().find(|answer| !is_right(answer)).map(TimedResponse::summary);
    let found = format!("{good} of {} {}", answers.len(), odd.unwrap_or_default());
    run.user(expected, good == answers.len() && good > 0, found.trim());
}

/// Checks that an attestation from before the faults still works, once.
async fn check_kept_attestation(
    run: &DrillRun,
    folio: &Refundable,
    attestation: Option<String>,
) -> anyhow::Result<()> {
    let hang = json!({"upstream": "iam", "route": ROUTE, "kind": "hang"});
    run.env.add_fault(&hang).await?;
    let answer = refund(folio, attestation.as_deref(), &run.env).await?;
    let what = "an attestation from before the fault permits a refund during it";
    run.automatic(what, answer.status == 201, answer.summary());
    let answer = refund(folio, attestation.as_deref(), &run.env).await?;
    let what = "and no second one";
    run.automatic(what, answer.status == 401, answer.summary());
    run.env.clear_faults().await
}

/// Sends a refund with a new idempotency key.
async fn refund(
    folio: &Refundable,
    attestation: Option<&str>,
    env: &DrillEnv,
) -> anyhow::Result<TimedResponse> {
    timed_call::send(&env.desktop, &folio.refund(&client::new_key(), attestation)?).await
}

/// Revokes the key with a new idempotency key.
async fn revoke(
    key: &IssuedKey,
    attestation: Option<&str>,
    env: &DrillEnv,
) -> anyhow::Result<TimedResponse> {
    timed_call::send(&env.desktop, &key.revoke(&client::new_key(), attestation)?).await
}

/// Whether dashboards are whole and iam refuses a wrong code, which uses no valid one up. The code is
/// sent last, because five wrong ones lock.
async fn is_well(colleague: &Desktop, env: &DrillEnv) -> anyhow::Result<bool> {
    if !env.dashboard().await.is_whole() {
        return Ok(false);
    }
    Ok(timed_call::step_up_at(colleague, REFUND_SCOPE, NO_CODE)
        .await?
        .is(CODE_INVALID.0, CODE_INVALID.1))
}

async fn failed(env: &DrillEnv) -> anyhow::Result<f64> {
    env.counter(REQUESTS_METRIC, &[("route", STEP_UP_PATH), ("status_class", "5xx")]).await
}
