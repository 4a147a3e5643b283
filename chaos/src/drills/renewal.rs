//! iam fails token refreshes. The desktop gets a retriable problem, keeps working with its token, and
//! its next try after the fault succeeds. No client is signed out.
//!
//! Then iam refreshes a token but its response is lost; the repeat gets the same pair. Finally the token
//! ends during the fault, see [`token_end`].

use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::drill_env::{DashboardView, DrillEnv, stand_in_fault};
use crate::drill_run::{Drill, DrillFuture, DrillRun, EnvAfter, Load};
use crate::timed_call::TimedResponse;

mod token_end;

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

pub(super) struct TokenRenewal;

impl Drill for TokenRenewal {
    fn leaves(&self) -> EnvAfter {
        EnvAfter::Unchanged
    }

    fn load(&self) -> Load {
        Load::Timed
    }

    fn run<'a>(&'a self, run: &'a mut DrillRun) -> DrillFuture<'a> {
        Box::pin(run_drill(run))
    }
}

async fn run_drill(run: &mut DrillRun) -> anyhow::Result<()> {
    // This stack's iam does not accept refresh tokens of an earlier stack.
    run.env.desktop.forget_tokens().await?;
    for kind in ["status", "hang", "refuse"] {
        let alerts: &[_] = if kind == "status" { &[ALERT] } else { &[] };
        drill_fault(run, kind, alerts).await?;
    }
    lost_answer(run).await?;
    token_end::drill(run).await
}

async fn drill_fault(run: &DrillRun, kind: &str, alerts: &[&'static str]) -> anyhow::Result<()> {
    let steady =
        run.env.wait_until("a whole dashboard and a refresh", run.objective, is_well).await;
    run.steady_within("every widget is ok and the token is refreshed", steady);
    let token = run.env.desktop.access_token().await?;
    let (before, spared_before) = (failed(&run.env).await?, spared(&run.env).await?);
    let injected_at = Instant::now();
    // The status fault applies to one route, the others to all of iam, its key set included.
    let what = if kind == "status" {
        json!({"upstream": "iam", "route": ROUTE, "kind": kind, "status": 503})
    } else {
        stand_in_fault("iam", kind)
    };
    run.env.add_fault(&what).await?;
    run.inject(format!("iam: {kind}"));
    let length = run.watch_length(alerts, WATCH_DURATION)?;
    let watching = watch(length, &run.env);
    let (dashboards, renewals) = run.raised_during(alerts, injected_at, watching).await?;
    check_user_view(run, kind, &dashboards, &renewals);
    let counted = run
        .env
        .wait_until("the counter", DETECT_WITHIN, async |env| Ok(failed(env).await? > before))
        .await;
    let what = "bff_backoffice_refresh_total counts the failed refreshes";
    run.detected_after(seen_after(&renewals, injected_at));
    run.detect_within(what, counted);
    check_token_kept(run, &token).await?;
    // A call that hangs takes so long that there are too few for the breaker.
    if kind != "hang" {
        let spared = spared(&run.env).await? - spared_before;
        let found = format!("{spared:.0} calls spared");
        run.automatic("the breaker opened and spared iam calls", spared > 0.0, found);
    }
    run.env.clear_faults().await?;
    let back = run.env.wait_until("a refresh", run.objective, is_renewed).await;
    let what = "the same refresh token works again, without a new sign-in";
    run.recover_within(what, back);
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

fn check_user_view(run: &DrillRun, kind: &str, dashboards: &[DashboardView], renewals: &[Renewal]) {
    let is_expected = |answer: &TimedResponse| {
        let fitting = answer.is(UNAVAILABLE.0, UNAVAILABLE.1)
            || kind == "hang" && answer.is(TIMED_OUT.0, TIMED_OUT.1);
        fitting && answer.body["retriable"] == true && answer.body["runbook"] == RUNBOOK
    };
    let good = renewals.iter().filter(|renewal| is_expected(&renewal.answer)).count();
    let odd = renewals.iter().find(|renewal| !is_expected(&renewal.answer));
    run.user(
        "every refresh is a retriable 502 or 504 that names its runbook",
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
        run.user("the first of them are 504", slow > 0, format!("{slow}"));
    }
    let slowest = renewals.iter().map(|renewal| renewal.answer.took).max().unwrap_or_default();
    run.user_in_time(slowest, ANSWER_WITHIN);
    let good = dashboards.iter().filter(|dashboard| dashboard.is_whole()).count();
    run.user(
        "every dashboard is whole",
        good == dashboards.len() && good > 0,
        format!("{good} of {}", dashboards.len()),
    );
}

/// Checks that the current token still works.
async fn check_token_kept(run: &DrillRun, token: &str) -> anyhow::Result<()> {
    let is_same = run.env.desktop.access_token().await.is_ok_and(|now| now == token);
    run.automatic(
        "the desktop still works with its current token",
        is_same,
        if is_same { "the same" } else { "another, or none" },
    );
    Ok(())
}

/// iam refreshes a token but its response is lost. iam returns the same pair for 30 s, so the repeat
/// with the same refresh token gets it.
async fn lost_answer(run: &DrillRun) -> anyhow::Result<()> {
    let lost = json!({"upstream": "iam", "route": ROUTE, "kind": "lost_answer", "times": 1});
    run.env.add_fault(&lost).await?;
    run.inject("iam refreshes once and its response is lost");
    let first = renew(&run.env).await?;
    let what = "the refresh is a 502";
    run.user(what, first.is(UNAVAILABLE.0, UNAVAILABLE.1), first.summary());
    let again = renew(&run.env).await?;
    let what = "the repeat gets the same pair";
    run.user(what, again.status == 200, again.summary());
    let back = run.env.wait_until("a whole dashboard and a refresh", run.objective, is_well).await;
    run.recover_within("the operator keeps working without a new sign-in", back);
    Ok(())
}

async fn is_renewed(env: &DrillEnv) -> anyhow::Result<bool> {
    Ok(renew(env).await?.status == 200)
}

async fn is_well(env: &DrillEnv) -> anyhow::Result<bool> {
    Ok(env.dashboard().await.is_whole() && is_renewed(env).await?)
}

/// Number of calls to iam that the breaker refused so far.
async fn spared(env: &DrillEnv) -> anyhow::Result<f64> {
    let labels = [("upstream", "iam"), ("outcome", "BREAKER_OPEN")];
    env.counter("bff_backoffice_upstream_request_total", &labels).await
}

async fn failed(env: &DrillEnv) -> anyhow::Result<f64> {
    env.counter("bff_backoffice_refresh_total", &[("outcome", "failed")]).await
}
