//! One attestation for many refunds: a hundred at once, each under a key of its own, over the desk's
//! connection and over others. One is paid back, the others are refused and counted.

use std::time::Duration;

use anyhow::Context;
use contracts::clock::Clock;
use futures_util::{StreamExt, stream};
use launcher::desktop::Desktop;
use tokio::time::{Instant, sleep};

use super::Form;
use crate::alerts;
use crate::desk::{self, Answer, Refundable};
use crate::house::House;
use crate::observations::{Observations, Step};

const CODE: &str = "MELMASTOON.BFF.MFA_INVALID_OR_USED";
const METRIC: &str = "bff_backoffice_mfa_attestation_total";
const THROUGH: &str = "bff_backoffice_mfa_attestation_replay_success_total";
const ALERT: &str = "BffMfaReplayAttempts";
const ATTEMPTS: usize = 100;
/// Connections besides the desk's own.
const OTHERS: usize = 7;
/// What a busy moment may cost: such an attempt is made again, with its own key.
const TRIES: usize = 40;
const PAUSE: Duration = Duration::from_millis(250);
/// So that promtool sees the counter as it was before, at one sample a second.
const BEFORE: Duration = Duration::from_secs(3);

pub(super) async fn run(
    form: Form,
    objective: Duration,
    house: &mut House,
    seen: &mut Observations,
) -> anyhow::Result<()> {
    let folio = Refundable::find(house).await?;
    let before = folio.paid_back(house).await?;
    let first = attestation(house).await?;
    let call = folio.refund(&desk::new_key(), Some(&first))?;
    let paid = desk::send(&house.desktop, &call).await?;
    seen.expect(Step::Steady, "a refund with a fresh factor is 201", paid.status == 201, &paid);
    let again = desk::send(&house.desktop, &call).await?;
    let same = again.status == 201 && again.replayed && again.body == paid.body;
    seen.expect(Step::Steady, "its repeat gets the stored answer", same, &again);

    let replaying = async {
        sleep(if form == Form::Full { BEFORE } else { Duration::ZERO }).await;
        let done = replay(&folio, (&first, before), house, seen).await;
        sleep(if form == Form::Full { BEFORE } else { Duration::ZERO }).await;
        done
    };
    let exported = (house.http(), house.metrics_url());
    if form == Form::Full {
        let (replayed, fired) = alerts::during(ALERT, exported, replaying).await;
        replayed?;
        seen.took(Step::Detection, format!("{ALERT} fires on the exported metrics"), fired);
    } else {
        replaying.await?;
    }
    recover(&folio, objective, house, seen).await
}

/// The used attestation once more, then a fresh one by a hundred requests at once.
async fn replay(
    folio: &Refundable,
    (used, before): (&str, usize),
    house: &House,
    seen: &mut Observations,
) -> anyhow::Result<()> {
    let begun = Instant::now();
    let what = "a used attestation comes again; then a fresh one comes a hundred times at once";
    seen.expect(Step::Fault, what, true, "done");
    let counted = house.metric(METRIC, &[("outcome", "replayed")]).await?;
    let call = folio.refund(&desk::new_key(), Some(used))?;
    let answer = desk::send(&house.desktop, &call).await?;
    let refused = is_refused(&answer);
    seen.expect(Step::User, format!("the used one is refused: 401 {CODE}"), refused, &answer);

    let answers = at_once(folio, &attestation(house).await?, house).await?;
    let paid = answers.iter().filter(|answer| answer.status == 201).count();
    let refused = answers.iter().filter(|answer| is_refused(answer)).count();
    let held = paid == 1 && refused == ATTEMPTS - 1;
    let odd = answers.iter().find(|answer| answer.status != 201 && !is_refused(answer));
    let odd = odd.map(|answer| format!(", one {answer}")).unwrap_or_default();
    let found = format!("{paid} paid, {refused} refused{odd}");
    seen.expect(Step::User, format!("of {ATTEMPTS}, one is 201 and the others 401"), held, found);
    let done = folio.paid_back(house).await? - before;
    let what = "billing paid back once for each attestation";
    seen.expect(Step::Automatic, what, done == 2, format!("{done} for 2"));
    let replays = house.metric(METRIC, &[("outcome", "replayed")]).await? - counted;
    let held = replays >= ATTEMPTS as f64;
    seen.expect(Step::Detection, format!("{METRIC} counts each replay"), held, replays);
    seen.detected_after(Some(begun.elapsed()));
    let through = house.metric(THROUGH, &[]).await?;
    let none = through.abs() < f64::EPSILON;
    seen.expect(Step::Detection, format!("{THROUGH} is 0"), none, through);
    Ok(())
}

/// Over the desk's connection and others in turn.
async fn at_once(
    folio: &Refundable,
    attestation: &str,
    house: &House,
) -> anyhow::Result<Vec<Answer>> {
    let username = &house.desktop.operator().username;
    let open = |_| {
        let folder = house.folder.join("desktop");
        Desktop::open(house.stack.info(), username, &folder, Clock::system())
    };
    let others = (0..OTHERS).map(open).collect::<anyhow::Result<Vec<_>>>()?;
    let desks: Vec<&Desktop> = std::iter::once(&house.desktop).chain(&others).collect();
    let desks = &desks;
    let attempts = stream::iter(0..ATTEMPTS).map(|number| async move {
        let call = folio.refund(&desk::new_key(), Some(attestation))?;
        let desktop = desks[number % desks.len()];
        let mut answer = attempt(desktop, &call).await?;
        for _ in 1..TRIES {
            if answer.status < 500 {
                break;
            }
            sleep(PAUSE).await;
            answer = attempt(desktop, &call).await?;
        }
        anyhow::Ok(answer)
    });
    let answers: Vec<_> = attempts.buffer_unordered(ATTEMPTS).collect().await;
    answers.into_iter().collect()
}

/// Not `Desktop::send`, which signs in anew after a 401.
async fn attempt(desktop: &Desktop, call: &launcher::desktop::Call) -> anyhow::Result<Answer> {
    let (token, url) = (desktop.access_token().await?, desktop.url(&call.path)?);
    let proof = desktop.proof(&call.method, &url, &token).sign(desktop.key())?;
    Ok(Answer::of(desktop.request(call, &token, &proof)?.send().await?).await)
}

async fn recover(
    folio: &Refundable,
    objective: Duration,
    house: &House,
    seen: &mut Observations,
) -> anyhow::Result<()> {
    let (begun, before) = (Instant::now(), folio.paid_back(house).await?);
    let fresh = attestation(house).await?;
    let call = folio.refund(&desk::new_key(), Some(&fresh))?;
    let answer = desk::send(&house.desktop, &call).await?;
    let took = begun.elapsed();
    let held = answer.status == 201 && took < objective;
    seen.expect(Step::Recovery, "a fresh factor permits the next refund", held, &answer);
    let done = folio.paid_back(house).await? - before;
    seen.expect(Step::Recovery, "and it is paid back once", done == 1, done);
    seen.recovered_after(Some(took));
    Ok(())
}

fn is_refused(answer: &Answer) -> bool {
    answer.status == 401 && answer.code() == CODE
}

/// One for refunds, from the operator's second factor.
async fn attestation(house: &House) -> anyhow::Result<String> {
    let shown = desk::step_up(house).await?;
    let id = shown.body["id"].as_str();
    Ok(id.with_context(|| format!("the second factor was not taken: {shown}"))?.to_owned())
}
