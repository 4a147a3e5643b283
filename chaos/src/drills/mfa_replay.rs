//! One attestation is used for a hundred concurrent refunds with different idempotency keys, over
//! several connections. One succeeds; the others are refused and counted. Then second uses succeed, see
//! [`bypass`].

use std::time::Duration;

use anyhow::Context;
use contracts::clock::Clock;
use futures_util::{StreamExt, stream};
use launcher::desktop::Desktop;
use tokio::time::{Instant, sleep};

use super::second_revision;
use crate::client::{self, ApiResponse, Refundable};
use crate::drill_env::{DeviceUse, DrillEnv, EnvOptions};
use crate::drill_run::{Drill, DrillFuture, DrillRun, Load};

mod bypass;

const CODE: &str = "MELMASTOON.BFF.MFA_INVALID_OR_USED";
const METRIC: &str = "bff_backoffice_mfa_attestation_total";
const REPLAY_SUCCESS_METRIC: &str = "bff_backoffice_mfa_attestation_replay_success_total";
const ALERT: &str = "BffMfaReplayAttempts";
const ATTEMPTS: usize = 100;
/// Connections in addition to the desktop's own.
const EXTRA_CONNECTIONS: usize = 7;
/// Tries per attempt: one that fails with a 5xx is repeated with the same idempotency key.
const MAX_TRIES: usize = 40;
const REQUEST_PAUSE: Duration = Duration::from_millis(250);

pub(super) struct MfaReplay;

impl Drill for MfaReplay {
    fn environment<'a>(&self, options: EnvOptions<'a>) -> EnvOptions<'a> {
        second_revision::environment(options)
    }

    fn load(&self) -> Load {
        Load::Heavy
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
    let before = folio.paid_back(&run.env).await?;
    let first = attestation(&run.env).await?;
    let call = folio.refund(&client::new_key(), Some(&first))?;
    let paid = client::send(&run.env.desktop, &call).await?;
    run.steady("a refund with a fresh factor is 201", paid.status == 201, &paid);
    let again = client::send(&run.env.desktop, &call).await?;
    let same = again.status == 201 && again.replayed && again.body == paid.body;
    run.steady("its repeat gets the stored response", same, &again);

    let replaying = replay(run, &folio, &first, before);
    run.raised_during(&[ALERT], Instant::now(), replaying).await??;
    recover(run, &folio).await?;
    bypass::drill(run, &folio).await
}

/// Uses the used attestation again, then a fresh one in a hundred requests at once.
async fn replay(
    run: &DrillRun,
    folio: &Refundable,
    used: &str,
    before: usize,
) -> anyhow::Result<()> {
    let begun = Instant::now();
    let what = "a used attestation is used again; then a fresh one a hundred times at once";
    run.inject(what);
    let counted = run.env.counter(METRIC, &[("outcome", "replayed")]).await?;
    let call = folio.refund(&client::new_key(), Some(used))?;
    let answer = client::send(&run.env.desktop, &call).await?;
    let refused = is_refused(&answer);
    run.user(format!("the used one is refused: 401 {CODE}"), refused, &answer);

    let answers = at_once(folio, &attestation(&run.env).await?, &run.env).await?;
    let paid = answers.iter().filter(|answer| answer.status == 201).count();
    let refused = answers.iter().filter(|answer| is_refused(answer)).count();
    let held = paid == 1 && refused == ATTEMPTS - 1;
    let odd = answers.iter().find(|answer| answer.status != 201 && !is_refused(answer));
    let odd = odd.map(|answer| format!(", one {answer}")).unwrap_or_default();
    let found = format!("{paid} paid, {refused} refused{odd}");
    run.user(format!("of {ATTEMPTS}, one is 201 and the others 401"), held, found);
    let done = folio.paid_back(&run.env).await? - before;
    let what = "billing made one refund per attestation";
    run.automatic(what, done == 2, format!("{done} for 2"));
    let replays = run.env.counter(METRIC, &[("outcome", "replayed")]).await? - counted;
    let held = replays >= ATTEMPTS as f64;
    run.detect(format!("{METRIC} counts each replay"), held, replays);
    run.detected_after(Some(begun.elapsed()));
    let through = run.env.metric(REPLAY_SUCCESS_METRIC, &[]).await?;
    let none = through.abs() < f64::EPSILON;
    run.detect(format!("{REPLAY_SUCCESS_METRIC} is 0"), none, through);
    Ok(())
}

/// Sends the refunds over all connections in turn.
async fn at_once(
    folio: &Refundable,
    attestation: &str,
    env: &DrillEnv,
) -> anyhow::Result<Vec<ApiResponse>> {
    let username = &env.desktop.operator().username;
    let open = |_| {
        let folder = env.folder.join("desktop");
        Desktop::open(env.stack.info(), username, &folder, Clock::system())
    };
    let others = (0..EXTRA_CONNECTIONS).map(open).collect::<anyhow::Result<Vec<_>>>()?;
    let desktops: Vec<&Desktop> = std::iter::once(&env.desktop).chain(&others).collect();
    let desktops = &desktops;
    let attempts = stream::iter(0..ATTEMPTS).map(|number| async move {
        let call = folio.refund(&client::new_key(), Some(attestation))?;
        let desktop = desktops[number % desktops.len()];
        let mut answer = attempt(desktop, &call).await?;
        for _ in 1..MAX_TRIES {
            if answer.status < 500 {
                break;
            }
            sleep(REQUEST_PAUSE).await;
            answer = attempt(desktop, &call).await?;
        }
        anyhow::Ok(answer)
    });
    let answers: Vec<_> = attempts.buffer_unordered(ATTEMPTS).collect().await;
    answers.into_iter().collect()
}

/// Sends once, unlike `Desktop::send`, which signs in again after a 401.
async fn attempt(desktop: &Desktop, call: &launcher::desktop::Call) -> anyhow::Result<ApiResponse> {
    let (token, url) = (desktop.access_token().await?, desktop.url(&call.path)?);
    let proof = desktop.proof(&call.method, &url, &token).sign(desktop.key())?;
    Ok(ApiResponse::of(desktop.request(call, &token, &proof)?.send().await?).await)
}

async fn recover(run: &DrillRun, folio: &Refundable) -> anyhow::Result<()> {
    let (begun, before) = (Instant::now(), folio.paid_back(&run.env).await?);
    let fresh = attestation(&run.env).await?;
    let call = folio.refund(&client::new_key(), Some(&fresh))?;
    let answer = client::send(&run.env.desktop, &call).await?;
    let took = begun.elapsed();
    let held = answer.status == 201 && took < run.objective;
    run.recover("a fresh factor permits the next refund", held, &answer);
    let done = folio.paid_back(&run.env).await? - before;
    run.recover("and billing makes it once", done == 1, done);
    run.recovered_after(Some(took));
    Ok(())
}

fn is_refused(answer: &ApiResponse) -> bool {
    answer.status == 401 && answer.code() == CODE
}

/// Steps up and returns the attestation.
async fn attestation(env: &DrillEnv) -> anyhow::Result<String> {
    let shown = client::step_up(env).await?;
    let id = shown.body["id"].as_str();
    Ok(id.with_context(|| format!("the second factor was not accepted: {shown}"))?.to_owned())
}
