//! The session tier's server is killed and its standby is promoted behind the same address. Reads
//! continue, no data of the tier is lost, sessions included, and the gateway recovers within half a
//! minute.
//!
//! The drill does the tier's failover itself: it promotes the standby and moves the address.

use std::cell::Cell;
use std::time::Duration;

use contracts::clock::Clock;
use launcher::desktop::{Call, Desktop};
use reqwest::Response;
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout};

use super::session_standby::SessionStandby;
use crate::attacker::{Attacker, ReplayOutcome, StolenProof};
use crate::client::{self, Arrival};
use crate::drill_env::{DashboardView, DrillEnv, EnvOptions};
use crate::drill_run::{Drill, DrillFuture, DrillRun, Load};
use crate::timed_call;

const STORE_METRIC: &str = "bff_backoffice_dpop_replay_store_total";
const FAILOVER_METRIC: &str = "bff_backoffice_session_tier_failover_total";
const ALERT: &str = "BffSessionTierFailover";
const DETECT_WITHIN: Duration = Duration::from_secs(20);
/// Time that a failover monitor takes to confirm a failure.
const FAILURE_CONFIRMED_AFTER: Duration = Duration::from_secs(3);
const REQUEST_PAUSE: Duration = Duration::from_millis(40);
const ANSWER_WITHIN: Duration = Duration::from_secs(1);
/// Number of proofs used before the failover.
const USED_PROOFS: usize = 20;
/// Number of sessions opened before the failover.
const SESSIONS: usize = 4;

pub(super) struct Failover;

impl Drill for Failover {
    fn environment<'a>(&self, options: EnvOptions<'a>) -> EnvOptions<'a> {
        EnvOptions { second_gateway: true, ..options }
    }

    fn load(&self) -> Load {
        Load::Timed
    }

    fn run<'a>(&'a self, run: &'a mut DrillRun) -> DrillFuture<'a> {
        Box::pin(run_drill(run))
    }
}

async fn run_drill(run: &mut DrillRun) -> anyhow::Result<()> {
    let mut standby = SessionStandby::start(&mut run.env, &["bff", "bff-2"]).await?;
    let steady = run.until_whole().await;
    run.steady_within("every widget is ok", steady);
    let used = use_proofs(run).await?;
    let sessions = OpenSessions::open(run).await?;
    standby.check_in_step(run).await;
    let call = Call { within: None, ..Call::get("/sse/stream") };
    let mut stream = run.env.desktop.send(&call).await?.error_for_status()?;
    stream.chunk().await?;

    let failing = fail_over(run, &mut standby);
    let during = run.raised_during(&[ALERT], Instant::now(), failing).await??;
    check_user_view(run, &during);
    check_stream_open(run, &mut stream).await;
    check_preserved(run, &used).await?;
    sessions.check_preserved(run).await?;
    check_change(run).await
}

/// Uses proofs at the first instance, so that the other knows them only from the tier.
async fn use_proofs(run: &DrillRun) -> anyhow::Result<Vec<StolenProof>> {
    let attacker = Attacker::with(&run.env, 1)?;
    let proofs = attacker.steal_proofs(USED_PROOFS).await?;
    let mut accepted = 0;
    for stolen in &proofs {
        accepted += usize::from(attacker.send(0, stolen).await == ReplayOutcome::Accepted);
    }
    let expected = "proofs are used at the first instance";
    run.steady(expected, accepted == USED_PROOFS, format!("{accepted} of {USED_PROOFS}"));
    Ok(proofs)
}

/// Fails over while a desktop keeps reading.
async fn fail_over(
    run: &DrillRun,
    standby: &mut SessionStandby,
) -> anyhow::Result<Vec<DashboardView>> {
    let over = Cell::new(false);
    let event = async {
        let outcome = replace(run, standby).await;
        over.set(true);
        outcome
    };
    let reading = async {
        let mut during = Vec::new();
        while !over.get() {
            during.push(run.env.dashboard().await);
            sleep(REQUEST_PAUSE).await;
        }
        during
    };
    let (outcome, during) = tokio::join!(event, reading);
    outcome.map(|()| during)
}

async fn replace(run: &DrillRun, standby: &mut SessionStandby) -> anyhow::Result<()> {
    let before = run.env.counter(FAILOVER_METRIC, &[]).await?;
    let injected_at = Instant::now();
    run.env.stack.process("redis-session")?.kill().await?;
    run.inject("the session tier's server is killed with -9");
    let down = run.env.wait_until("the tier's check", DETECT_WITHIN, is_noticed).await;
    let took = run.detect_within("readiness is 503 and names session-tier", down);
    run.detected_after(took);
    sleep(FAILURE_CONFIRMED_AFTER.saturating_sub(injected_at.elapsed())).await;
    standby.promote().await?;
    run.inject("the standby is promoted and the address points to it");

    let noted = run.env.counter_everywhere(STORE_METRIC, &[("store", "shared")]).await?;
    let is_back = async |env: &DrillEnv| {
        let now = env.counter_everywhere(STORE_METRIC, &[("store", "shared")]).await?;
        Ok(now > noted && are_ready(env).await?)
    };
    let back =
        run.env.wait_until("the tier", run.objective, is_back).await.map(|_| injected_at.elapsed());
    let what = "both instances are ready and record proofs in the tier";
    run.recover_within(what, back.and_then(|took| require_below(took, run.objective)));
    let is_counted = async |env: &DrillEnv| Ok(env.counter(FAILOVER_METRIC, &[]).await? > before);
    let counted = run.env.wait_until("the failover's counter", DETECT_WITHIN, is_counted).await;
    run.detect_within(format!("{FAILOVER_METRIC} counts the change of server"), counted);
    Ok(())
}

fn require_below(took: Duration, most: Duration) -> anyhow::Result<Duration> {
    anyhow::ensure!(took < most, "it took {} ms", took.as_millis());
    Ok(took)
}

fn check_user_view(run: &DrillRun, during: &[DashboardView]) {
    let good = during.iter().filter(|dashboard| dashboard.status == Some(200)).count();
    run.user(
        "every dashboard is 200",
        good == during.len() && good > 0,
        format!("{good} of {}", during.len()),
    );
    let slowest = during.iter().map(|dashboard| dashboard.took).max().unwrap_or_default();
    run.user_in_time(slowest, ANSWER_WITHIN);
}

/// Checks that the stream has not ended. The next heartbeat may be 15 s away.
async fn check_stream_open(run: &DrillRun, stream: &mut Response) {
    let mut ended = None;
    while let Ok(read) = timeout(Duration::from_secs(1), stream.chunk()).await {
        if !matches!(&read, Ok(Some(_))) {
            ended = Some(format!("{read:?}"));
            break;
        }
    }
    let found = ended.clone().unwrap_or_else(|| "open".to_owned());
    run.user("an open stream stays open", ended.is_none(), found);
}

/// Checks that the second instance refuses the used proofs, which it knows only from the tier.
async fn check_preserved(run: &DrillRun, used: &[StolenProof]) -> anyhow::Result<()> {
    let attacker = Attacker::with(&run.env, 1)?;
    let mut refused = 0;
    for stolen in used {
        refused += usize::from(attacker.send(1, stolen).await == ReplayOutcome::Refused);
    }
    run.recover(
        "no data is lost: the other instance refuses the used proofs",
        refused == used.len(),
        format!("{refused} of {}", used.len()),
    );
    let fresh = attacker.send_fresh(1).await?;
    let expected = "and it accepts a fresh one";
    run.recover(expected, fresh == ReplayOutcome::Accepted, format!("{fresh:?}"));
    Ok(())
}

/// Sessions of several desktops: id and opening time, as the gateway states them.
struct OpenSessions(Vec<(Desktop, (Value, Value))>);

impl OpenSessions {
    async fn open(run: &DrillRun) -> anyhow::Result<Self> {
        let (env, mut sessions) = (&run.env, Vec::new());
        // Not the drill's own, which a second sign-in on its device would replace.
        let own = &env.desktop.operator().username;
        let others = env.stack.info().operators.iter().filter(|other| other.username != *own);
        let folder = env.folder.join("desktop");
        for operator in others.take(SESSIONS) {
            let desktop =
                Desktop::open(env.stack.info(), &operator.username, &folder, Clock::system())?;
            // This stack's iam does not accept tokens of an earlier stack.
            desktop.forget_tokens().await?;
            let session = session(&desktop).await?;
            sessions.push((desktop, session));
        }
        let all = sessions.iter().filter(|(_, (id, at))| id.is_string() && at.is_string()).count();
        run.steady("sessions are open", all == SESSIONS, format!("{all} of {SESSIONS}"));
        Ok(Self(sessions))
    }

    /// Checks that each session is the same one, and was not opened again.
    async fn check_preserved(&self, run: &DrillRun) -> anyhow::Result<()> {
        let (mut same, mut odd) = (0, String::new());
        for (desktop, before) in &self.0 {
            let after = session(desktop).await?;
            if after == *before {
                same += 1;
            } else {
                odd = format!(", one was {before:?} and is {after:?}");
            }
        }
        let what = "every session has the id and the opening time of before";
        run.recover(what, same == self.0.len(), format!("{same} of {}{odd}", self.0.len()));
        Ok(())
    }
}

/// Id and opening time of the desktop's session.
pub(super) async fn session(desktop: &Desktop) -> anyhow::Result<(Value, Value)> {
    let answer = timed_call::send(desktop, &Call::get("/session")).await?;
    anyhow::ensure!(answer.status == 200, "no session: {}", answer.summary());
    Ok((answer.body["sessionId"].clone(), answer.body["openedAt"].clone()))
}

/// Checks that a change, which requires a session, succeeds.
async fn check_change(run: &DrillRun) -> anyhow::Result<()> {
    let check_in = Arrival::all(&run.env).await?[0].check_in(&client::new_key())?;
    let answer = timed_call::send(&run.env.desktop, &check_in).await?;
    run.recover("a guest can be checked in", answer.status == 200, answer.summary());
    Ok(())
}

async fn is_noticed(env: &DrillEnv) -> anyhow::Result<bool> {
    let (status, down) = env.readiness(&env.stack.info().gateway).await?;
    Ok(status == 503 && down == ["session-tier"])
}

async fn are_ready(env: &DrillEnv) -> anyhow::Result<bool> {
    for gateway in env.gateways() {
        if env.readiness(&gateway).await?.0 != 200 {
            return Ok(false);
        }
    }
    Ok(true)
}
