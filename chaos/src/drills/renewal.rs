//! iam fails token refreshes. The desktop gets a retriable problem, keeps working with its token, and
//! its next try after the fault succeeds. No client is signed out.
//!
//! Finally iam refreshes a token but its response is lost; the repeat gets the same pair.

use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep};

use super::Mode;
use crate::drill_env::{DashboardView, DrillEnv, stand_in_fault};
use crate::observations::{Observations, Step};
use crate::timed_call::TimedResponse;

const ALERT: &str = "BffIamRefreshDown";
const ROUTE: &str = "POST /api/v1/auth/refresh";
const RUNBOOK: &str = "bff-backoffice/iam-refresh-down";
const UNAVAILABLE: (u16, &str) = (502, "MELMASTOON.BFF.UPSTREAM_UNAVAILABLE");
const TIMED_OUT: (u16, &str) = (504, "MELMASTOON.BFF.UPSTREAM_TIMEOUT");
const DETECT_WITHIN: Duration = Duration::from_secs(10);
const WATCH_DURATION: Duration = Duration::from_secs(4);
const REQUEST_PAUSE: Duration = Duration::from_millis(200);
/// The gateway's timeout for iam plus overhead on a busy machine.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

pub(super) async fn run(
    mode: Mode,
    objective: Duration,
    env: &mut DrillEnv,
    seen: &mut Observations,
) -> anyhow::Result<()> {
    // This stack's iam does not accept refresh tokens of an earlier stack.
    env.desktop.forget_tokens().await?;
    for kind in ["status", "hang", "refuse"] {
        drill_fault(kind, mode, objective, env, seen).await?;
    }
    lost_answer(objective, env, seen).await
}

async fn drill_fault(
    kind: &str,
    mode: Mode,
    objective: Duration,
    env: &DrillEnv,
    seen: &mut Observations,
) -> anyhow::Result<()> {
    let steady = env.wait_until("a whole dashboard and a refresh", objective, is_well).await;
    seen.check_timed(Step::Steady, "every widget is ok and the token is refreshed", steady);
    let token = env.desktop.access_token().await?;
    let before = failed(env).await?;
    let injected_at = Instant::now();
    // The status fault applies to one route, the others to all of iam, its key set included.
    let what = if kind == "status" {
        json!({"upstream": "iam", "route": ROUTE, "kind": kind, "status": 503})
    } else {
        stand_in_fault("iam", kind)
    };
    env.add_fault(&what).await?;
    seen.check(Step::Fault, format!("iam: {kind}"), true, "done");
    let alert = (kind == "status" && mode == Mode::Full).then_some(injected_at);
    let (dashboards, renewals) = watch_with_alert(alert, env, seen).await?;
    check_user_view(kind, &dashboards, &renewals, seen);
    let counted = env
        .wait_until("the counter", DETECT_WITHIN, async |env| Ok(failed(env).await? > before))
        .await;
    let what = "bff_backoffice_refresh_total counts the failed refreshes";
    seen.detected_after(seen_after(&renewals, injected_at));
    seen.check_timed(Step::Detection, what, counted);
    check_automatic(&token, env, seen).await?;
    env.clear_faults().await?;
    let back = env.wait_until("a refresh", objective, is_renewed).await;
    let within = objective.as_secs();
    let what =
        format!("the same refresh token works again within {within} s, without a new sign-in");
    let took = seen.check_timed(Step::Recovery, what, back);
    seen.recovered_after(took);
    Ok(())
}

/// Time until the first failed refresh.
fn seen_after(renewals: &[Renewal], injected_at: Instant) -> Option<Duration> {
    let first = renewals.iter().find(|renewal| renewal.answer.status >= 500);
    first.map(|first| first.at + first.answer.took - injected_at)
}

struct Renewal {
    at: Instant,
    answer: TimedResponse,
}

async fn watch_with_alert(
    alert_since: Option<Instant>,
    env: &DrillEnv,
    seen: &mut Observations,
) -> anyhow::Result<(Vec<DashboardView>, Vec<Renewal>)> {
    let Some(injected_at) = alert_since else { return Ok(watch(WATCH_DURATION, env).await) };
    let alerts = env.alerts()?;
    let watching = watch(alerts.fire_within(&[ALERT])?, env);
    let (given, raised) = alerts.raised_during(&[ALERT], injected_at, watching).await?;
    raised.report(seen);
    Ok(given)
}

async fn watch(length: Duration, env: &DrillEnv) -> (Vec<DashboardView>, Vec<Renewal>) {
    let (end, mut dashboards, mut renewals) = (Instant::now() + length, vec![], vec![]);
    while Instant::now() < end {
        dashboards.push(env.dashboard().await);
        let at = Instant::now();
        if let Ok(answer) = renew(env).await {
            renewals.push(Renewal { at, answer });
        }
        sleep(REQUEST_PAUSE).await;
    }
    (dashboards, renewals)
}

async fn renew(env: &DrillEnv) -> anyhow::Result<TimedResponse> {
    let begun = Instant::now();
    let (status, body) = env.desktop.renew().await?;
    Ok(TimedResponse::of(status, body, begun.elapsed()))
}

fn check_user_view(
    kind: &str,
    dashboards: &[DashboardView],
    renewals: &[Renewal],
    seen: &mut Observations,
) {
    let is_expected = |answer: &TimedResponse| {
        let fitting = answer.is(UNAVAILABLE.0, UNAVAILABLE.1)
            || kind == "hang" && answer.is(TIMED_OUT.0, TIMED_OUT.1);
        fitting && answer.body["retriable"] == true && answer.body["runbook"] == RUNBOOK
    };
    let good = renewals.iter().filter(|renewal| is_expected(&renewal.answer)).count();
    let odd = renewals.iter().find(|renewal| !is_expected(&renewal.answer));
    let also = if kind == "hang" { ", or 504 UPSTREAM_TIMEOUT" } else { "" };
    seen.check(
        Step::User,
        format!("{kind}: every refresh is a retriable 502{also} that names its runbook"),
        good == renewals.len() && good > 0,
        format!(
            "{good} of {}{}",
            renewals.len(),
            odd.map(|renewal| renewal.answer.summary()).unwrap_or_default()
        ),
    );
    if kind == "hang" {
        let slow =
            renewals.iter().filter(|renewal| renewal.answer.is(TIMED_OUT.0, TIMED_OUT.1)).count();
        seen.check(Step::User, "the first of them are 504", slow > 0, format!("{slow}"));
    }
    let slowest = renewals.iter().map(|renewal| renewal.answer.took).max().unwrap_or_default();
    seen.check(
        Step::User,
        format!("{kind}: each within {} ms", ANSWER_WITHIN.as_millis()),
        slowest < ANSWER_WITHIN,
        format!("the slowest in {} ms", slowest.as_millis()),
    );
    let good = dashboards.iter().filter(|dashboard| dashboard.is_whole()).count();
    seen.check(
        Step::User,
        format!("{kind}: every dashboard is whole"),
        good == dashboards.len() && good > 0,
        format!("{good} of {}", dashboards.len()),
    );
}

/// Checks that the current token still works and that the breaker spares iam.
async fn check_automatic(
    token: &str,
    env: &DrillEnv,
    seen: &mut Observations,
) -> anyhow::Result<()> {
    let is_same = env.desktop.access_token().await.is_ok_and(|now| now == token);
    seen.check(
        Step::Automatic,
        "the desktop still works with its current token",
        is_same,
        if is_same { "the same" } else { "another, or none" },
    );
    let labels = [("upstream", "iam"), ("outcome", "BREAKER_OPEN")];
    let spared = env.metric("bff_backoffice_upstream_request_total", &labels).await?;
    seen.check(
        Step::Automatic,
        "the breaker opened and spared iam calls",
        spared > 0.0,
        format!("{spared:.0} calls spared"),
    );
    Ok(())
}

/// iam refreshes a token but its response is lost. iam returns the same pair for 30 s, so the repeat
/// with the same refresh token gets it.
async fn lost_answer(
    objective: Duration,
    env: &DrillEnv,
    seen: &mut Observations,
) -> anyhow::Result<()> {
    let lost = json!({"upstream": "iam", "route": ROUTE, "kind": "lost_answer", "times": 1});
    env.add_fault(&lost).await?;
    seen.check(Step::Fault, "iam refreshes once and its response is lost", true, "done");
    let first = renew(env).await?;
    let what = "the refresh is a 502";
    seen.check(Step::User, what, first.is(UNAVAILABLE.0, UNAVAILABLE.1), first.summary());
    let again = renew(env).await?;
    let what = "the repeat gets the same pair";
    seen.check(Step::User, what, again.status == 200, again.summary());
    let back = env.wait_until("a whole dashboard and a refresh", objective, is_well).await;
    seen.check_timed(Step::Recovery, "the operator keeps working without a new sign-in", back);
    Ok(())
}

async fn is_renewed(env: &DrillEnv) -> anyhow::Result<bool> {
    Ok(renew(env).await?.status == 200)
}

async fn is_well(env: &DrillEnv) -> anyhow::Result<bool> {
    Ok(env.dashboard().await.is_whole() && is_renewed(env).await?)
}

async fn failed(env: &DrillEnv) -> anyhow::Result<f64> {
    env.metric("bff_backoffice_refresh_total", &[("outcome", "failed")]).await
}
