//! Everything is lost at once: the gateway, the primary of its database and both Redis servers are killed
//! while a desktop changes something. The standbys are promoted behind their addresses, and the gateway
//! is started again. One row counts the acknowledged changes that are lost, the other the time until
//! desktops are served.
//!
//! The drill does at once what people do after they have read the runbook.

use std::cell::Cell;
use std::time::Duration;

use launcher::dependencies::POSTGRES;
use launcher::servers::GATEWAY;
use tokio::time::{Instant, sleep};

use super::database_cluster::DatabaseCluster;
use super::failover::session;
use super::key_changes::KeyChanges;
use super::session_standby::SessionStandby;
use super::steady_keys::check_steady;
use crate::client;
use crate::drill_env::DrillEnv;
use crate::drill_run::{Drill, DrillFuture, DrillRun};
use crate::lock_fixture::LockFixture;
use crate::prometheus::AlertState;

const ALERT: &str = "BffGatewayDown";
const SESSION_TIER: &str = "redis-session";
const CACHE_TIER: &str = "redis-cache";
/// Changes that are acknowledged before the loss.
const CHANGES_BEFORE: usize = 20;
/// Length of the outage in a short run.
const OUTAGE: Duration = Duration::from_secs(2);
const DETECT_WITHIN: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(50);

/// What a row asks for.
pub(super) enum TotalLoss {
    /// RO-1, the recovery point.
    Data,
    /// RO-2, the recovery time.
    Time,
}

impl Drill for TotalLoss {
    fn run<'a>(&'a self, run: &'a mut DrillRun) -> DrillFuture<'a> {
        Box::pin(run_drill(self, run))
    }
}

/// What takes over.
struct Standbys {
    database: DatabaseCluster,
    session: SessionStandby,
}

async fn run_drill(row: &TotalLoss, run: &mut DrillRun) -> anyhow::Result<()> {
    let database = DatabaseCluster::start(&mut run.env).await?;
    let mut session_tier = SessionStandby::start(&mut run.env, &[GATEWAY]).await?;
    let lock = LockFixture::find(&run.env).await?;
    check_steady(run, &lock).await;
    database.check_in_step(run).await;
    session_tier.check_in_step(run).await;
    let opened = session(&run.env.desktop).await?;
    if let Ok(alerts) = run.env.alerts() {
        // It is pending while the gateway restarts with the standbys' addresses.
        alerts.wait_for(ALERT, AlertState::is_inactive, run.objective).await?;
    }
    // Another stack may be started on the primary's files.
    database.reset(&["synchronous_standby_names"]).await?;

    let (changes, lost) = (KeyChanges::default(), Instant::now());
    let losing = lose_everything(run, &changes, &lock);
    let lost = run.raised_during(&[ALERT], lost, losing).await??;
    let mut standbys = Standbys { database, session: session_tier };
    restore(run, &mut standbys).await?;
    let back = run.env.until_whole_again(run.objective).await.map(|_| lost.elapsed());
    run.recover_within("desktops get whole dashboards again", back);
    let works = async |env: &DrillEnv| {
        let answer = client::send(&env.desktop, &lock.issue(&client::new_key())?).await?;
        Ok(answer.status == 201)
    };
    let back = run.env.wait_until("a change", run.objective, works).await;
    run.recover_within("and changes work", back.map(|_| lost.elapsed()));
    match row {
        TotalLoss::Time => {
            let held = lost.elapsed() < run.objective;
            let found = format!("{:?} after the loss", lost.elapsed());
            run.recover("all of it within the objective", held, found);
            Ok(())
        }
        TotalLoss::Data => {
            let now = session(&run.env.desktop).await?;
            let found = format!("{opened:?}, then {now:?}");
            run.recover("the operator's session is that of before", now == opened, found);
            changes.check_nothing_lost(run, &standbys.database, &lock, lost).await
        }
    }
}

/// Kills the processes during changes, and watches the outage. Returns when they were lost.
async fn lose_everything(
    run: &DrillRun,
    changes: &KeyChanges,
    lock: &LockFixture,
) -> anyhow::Result<Instant> {
    for _ in 0..CHANGES_BEFORE {
        changes.send(run, lock).await?;
    }
    let over = Cell::new(false);
    let killing = async {
        let killed = kill_everything(&run.env).await;
        over.set(true);
        killed
    };
    let (changed, lost) = tokio::join!(changes.send_until(&over, run, lock), killing);
    changed?;
    let lost = lost?;
    run.inject("the gateway, its database's primary and both Redis servers are killed with -9");
    let is_silent =
        async |env: &DrillEnv| Ok(env.readiness(&env.stack.info().gateway).await.is_err());
    let silent = run.env.wait_until("no response", DETECT_WITHIN, is_silent).await;
    let took = run.detect_within("the gateway's readiness and metrics do not respond", silent);
    run.detected_after(took);
    let length = run.watch_length(&[ALERT], OUTAGE)?;
    let (mut without, mut all) = (0, 0);
    while lost.elapsed() < length {
        all += 1;
        without += usize::from(run.env.dashboard().await.status.is_none());
        sleep(PAUSE).await;
    }
    let held = without == all && all > 0;
    run.user(
        "no request gets a response: desktops work offline",
        held,
        format!("{without} of {all}"),
    );
    Ok(lost)
}

async fn kill_everything(env: &DrillEnv) -> anyhow::Result<Instant> {
    let process = |name| env.stack.process(name);
    let (gateway, database) = (process(GATEWAY)?, process(POSTGRES)?);
    let (session_tier, cache_tier) = (process(SESSION_TIER)?, process(CACHE_TIER)?);
    let lost = Instant::now();
    tokio::try_join!(database.kill(), gateway.kill(), session_tier.kill(), cache_tier.kill())?;
    Ok(lost)
}

/// Promotes the standbys, and starts what has none. The cache tier starts empty.
async fn restore(run: &mut DrillRun, standbys: &mut Standbys) -> anyhow::Result<()> {
    standbys.database.promote().await?;
    standbys.session.promote().await?;
    run.inject("both standbys are promoted behind their addresses");
    run.env.stack.restart(CACHE_TIER).await?;
    run.env.stack.restart(GATEWAY).await?;
    Ok(())
}
