//! The primary of the database is lost and its standby is promoted behind the same address: first its
//! connections go silent, then it comes back read-only, then it is killed. Changes are refused until
//! the promotion and work again within seconds after it; no acknowledged change is lost.
//!
//! The drill does the failover itself: it promotes the standby and moves the address.

use std::cell::Cell;
use std::time::Duration;

use launcher::dependencies::POSTGRES;
use tokio::time::{Instant, sleep};

use super::database_cluster::DatabaseCluster;
use super::key_changes::{KeyChanges, Sent};
use crate::client;
use crate::drill_env::DrillEnv;
use crate::drill_run::{Drill, DrillFuture, DrillRun, Load};
use crate::lock_fixture::LockFixture;

const ALERT: &str = "BffGatewayNotReady";
const STORE_CODE: &str = "MELMASTOON.BFF.STORE_UNAVAILABLE";
const DETECT_WITHIN: Duration = Duration::from_secs(10);
/// Length of each state of the failing primary.
const WATCH_DURATION: Duration = Duration::from_secs(2);
/// A refusal names its cause within this time, also while connections are silent.
const ANSWER_WITHIN: Duration = Duration::from_millis(2500);
/// Changes that are acknowledged before the primary is lost.
const CHANGES_BEFORE: usize = 20;

pub(super) struct PrimaryDown;

impl Drill for PrimaryDown {
    fn load(&self) -> Load {
        Load::Timed
    }

    fn run<'a>(&'a self, run: &'a mut DrillRun) -> DrillFuture<'a> {
        Box::pin(run_drill(run))
    }
}

async fn run_drill(run: &mut DrillRun) -> anyhow::Result<()> {
    let cluster = DatabaseCluster::start(&mut run.env).await?;
    let lock = LockFixture::find(&run.env).await?;
    let works = async |env: &DrillEnv| {
        let answer = client::send(&env.desktop, &lock.issue(&client::new_key())?).await?;
        Ok(answer.status == 201 && env.dashboard().await.is_whole())
    };
    let steady = run.env.wait_until("a key and a whole dashboard", run.objective, works).await;
    run.steady_within("a key is issued and every widget is ok", steady);
    cluster.check_in_step(run).await;

    let changes = KeyChanges::default();
    // Sequential, so that none is in flight when the connections go silent: its audit row would be
    // missing in the files of the primary, on which another stack may be started.
    for _ in 0..CHANGES_BEFORE {
        changes.send(run, &lock).await?;
    }
    let over = Cell::new(false);
    let failing = async {
        let outcome = fail_over(run, &cluster, &changes).await;
        over.set(true);
        outcome
    };
    let changing = changes.send_until(&over, run, &lock);
    let both = Box::pin(async { tokio::join!(failing, changing) });
    let (failed, changed) = run.raised_during(&[ALERT], Instant::now(), both).await?;
    changed?;
    let back = run.env.wait_until("a key and a whole dashboard", run.objective, works).await;
    run.recover_within("every widget is ok again", back);
    changes.check_nothing_lost(run, &cluster, &lock, failed?).await
}

/// The states of the failing primary, and the promotion. Returns when the primary was killed.
async fn fail_over(
    run: &DrillRun,
    cluster: &DatabaseCluster,
    changes: &KeyChanges,
) -> anyhow::Result<Instant> {
    let (env, injected_at) = (&run.env, Instant::now());
    cluster.proxy.silence_all();
    run.inject("the primary's connections go silent, open and new ones");
    let down = env.wait_until("readiness", DETECT_WITHIN, is_noticed).await;
    let took = run.detect_within("readiness is 503 and names durable-store", down);
    run.detected_after(took);
    check_refused(run, changes, injected_at).await;

    let read_only = "ALTER SYSTEM SET default_transaction_read_only = on";
    cluster.primary.run(read_only).await?;
    cluster.primary.run("SELECT pg_reload_conf()").await?;
    cluster.proxy.cut();
    cluster.proxy.heal();
    let demoted_at = Instant::now();
    run.inject("the primary comes back read-only");
    let length = run.watch_length(&[ALERT], WATCH_DURATION)?;
    sleep(length.saturating_sub(injected_at.elapsed()).max(WATCH_DURATION)).await;
    let (status, reasons) = env.readiness(&env.stack.info().gateway).await?;
    let held = status == 503 && reasons == ["durable-store"];
    run.automatic("a read-only primary counts as down", held, format!("{status} {reasons:?}"));
    check_refused(run, changes, demoted_at).await;

    cluster.reset(&["synchronous_standby_names", "default_transaction_read_only"]).await?;
    env.stack.process(POSTGRES)?.kill().await?;
    let killed_at = Instant::now();
    let promoted_at = cluster.promote().await?;
    run.inject("the primary is killed with -9, and the standby is promoted behind the address");
    let is_acknowledged = async |_: &DrillEnv| Ok(changes.was_acknowledged_after(promoted_at));
    let back = env.wait_until("a change", run.objective, is_acknowledged).await;
    let back = back.map(|_| promoted_at.elapsed());
    run.recover_within("changes work again after the promotion", back);
    Ok(killed_at)
}

async fn is_noticed(env: &DrillEnv) -> anyhow::Result<bool> {
    let (status, down) = env.readiness(&env.stack.info().gateway).await?;
    Ok(status == 503 && down == ["durable-store"])
}

/// Checks the requests since `since`, once there are some.
async fn check_refused(run: &DrillRun, changes: &KeyChanges, since: Instant) {
    let of_state = |sent: &&Sent| sent.at >= since;
    let is_there = async |_: &DrillEnv| Ok(changes.0.borrow().iter().filter(of_state).count() >= 2);
    let waited = run.env.wait_until("two requests", DETECT_WITHIN, is_there).await;
    let sent = changes.0.borrow();
    let sent: Vec<&Sent> = sent.iter().filter(of_state).collect();
    let is_refused = |sent: &&&Sent| {
        let answer = &sent.answer;
        answer.status == 503 && answer.code() == STORE_CODE && answer.retry_after
    };
    let refused = sent.iter().filter(is_refused).count();
    let odd =
        sent.iter().find(|sent| !is_refused(sent)).map(|sent| format!(", one {}", sent.answer));
    let held = waited.is_ok() && refused == sent.len();
    let found = format!("{refused} of {}{}", sent.len(), odd.unwrap_or_default());
    run.user("every change is 503 STORE_UNAVAILABLE with Retry-After", held, found);
    let slowest = sent.iter().map(|sent| sent.took).max().unwrap_or_default();
    run.user_in_time(slowest, ANSWER_WITHIN);
}
