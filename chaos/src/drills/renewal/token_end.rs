//! The access token ends while iam refreshes none: the desktop works until then, after that the operator
//! signs in again, and without any iam stays offline.

use std::time::Duration;

use contracts::clock::Clock;
use launcher::desktop::Call;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::{REQUEST_PAUSE, ROUTE, UNAVAILABLE, is_well, renew};
use crate::drill_env::{DrillEnv, stand_in_fault};
use crate::drill_run::DrillRun;
use crate::minted_token::Mint;
use crate::timed_call::{self, TimedResponse};

const EXPIRED: (u16, &str) = (401, "MELMASTOON.BFF.SESSION_EXPIRED");
/// Seconds that are left of the token's 15 minutes when iam fails.
const TOKEN_ENDS_IN: i64 = 5;
/// The token's rest, and what a busy machine may add.
const WATCH_AT_MOST: Duration = Duration::from_secs(15);

pub(super) async fn drill(run: &DrillRun) -> anyhow::Result<()> {
    let desktop = &run.env.desktop;
    let token = Mint::of(&run.env)?.ending_in(&desktop.access_token().await?, TOKEN_ENDS_IN)?;
    let end = Clock::system().unix_seconds() + TOKEN_ENDS_IN;
    let first = request(&run.env, &token).await?;
    run.steady("a token at the end of its life works", first.status == 200, first.summary());
    let fault = json!({"upstream": "iam", "route": ROUTE, "kind": "status", "status": 503});
    run.env.add_fault(&fault).await?;
    run.inject("iam refreshes no token until the desktop's ends");
    let during = watch_until_end(&run.env, &token).await?;
    check_end(run, &during, end);
    let refused = renew(&run.env).await?;
    let what = "the refresh is still a retriable 502, which signs nobody out";
    let held = refused.is(UNAVAILABLE.0, UNAVAILABLE.1) && refused.body["retriable"] == true;
    run.user(what, held, refused.summary());
    desktop.forget_tokens().await?;
    let signed_in = run.until_whole().await;
    run.user_within("the operator signs in again, and every widget is ok", signed_in);

    stay_offline(run, &token).await?;
    run.env.clear_faults().await?;
    let back = run.env.wait_until("a whole dashboard and a refresh", run.objective, is_well).await;
    run.recover_within("the desktop is online again after one sign-in", back);
    Ok(())
}

/// Checks that no operator signs in without iam once the token has ended.
async fn stay_offline(run: &DrillRun, ended: &str) -> anyhow::Result<()> {
    run.env.add_fault(&stand_in_fault("iam", "refuse")).await?;
    run.inject("no part of iam can be reached after the token has ended");
    run.env.desktop.forget_tokens().await?;
    let outcome = run.env.desktop.access_token().await;
    let found = if outcome.is_ok() { "signed in" } else { "no sign-in" };
    run.user("nobody can sign in: the desktop works offline", outcome.is_err(), found);
    let answer = request(&run.env, ended).await?;
    let what = "the ended token is 401 SESSION_EXPIRED also without iam";
    run.user(what, answer.is(EXPIRED.0, EXPIRED.1), answer.summary());
    Ok(())
}

/// Responses to the token, with the second at which each was requested, until it has ended.
async fn watch_until_end(env: &DrillEnv, token: &str) -> anyhow::Result<Vec<(i64, TimedResponse)>> {
    let (begun, mut during) = (Instant::now(), Vec::new());
    while begun.elapsed() < WATCH_AT_MOST {
        let at = Clock::system().unix_seconds();
        let answer = request(env, token).await?;
        let has_ended = answer.status == EXPIRED.0;
        during.push((at, answer));
        if has_ended {
            break;
        }
        sleep(REQUEST_PAUSE).await;
    }
    Ok(during)
}

fn check_end(run: &DrillRun, during: &[(i64, TimedResponse)], end: i64) {
    let (last, before) = during.split_last().expect("there is at least one response");
    let good = before.iter().filter(|(_, answer)| answer.status == 200).count();
    let what = "every request with the token is 200 until it ends";
    run.user(what, good == before.len() && good > 0, format!("{good} of {}", before.len()));
    let (at, answer) = last;
    let held = answer.is(EXPIRED.0, EXPIRED.1) && *at >= end - 1;
    let found = format!("{} {} s after its end", answer.summary(), at - end);
    run.user("then it is 401 SESSION_EXPIRED", held, found);
}

async fn request(env: &DrillEnv, token: &str) -> anyhow::Result<TimedResponse> {
    let call = Call::get(format!("/dashboard?propertyId={}", env.property));
    timed_call::send_with(&env.desktop, &call, token).await
}
