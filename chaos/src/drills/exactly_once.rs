//! The gateway is killed at each of five points of a change. After a restart, a repeat under the same
//! idempotency key gets the response, and the change has taken effect exactly once.

use std::time::Duration;

use launcher::servers::GATEWAY;
use tokio::time::{Instant, sleep};

use super::steady_keys::check_steady;
use crate::client::{self, ApiResponse};
use crate::drill_run::{Drill, DrillFuture, DrillRun};
use crate::kill_points::{KeyRequest, KillPoint, keys_issued};
use crate::lock_audit;
use crate::lock_fixture::LockFixture;
use crate::observations::Step;

const DEDUP_METRIC: &str = "bff_backoffice_idempotency_dedup_total";
const REQUEST_PAUSE: Duration = Duration::from_millis(100);
/// A repeat has to wait until the dead process's lease has expired.
const IN_FLIGHT: (u16, &str) = (409, "MELMASTOON.BFF.IDEMPOTENCY_IN_FLIGHT");

/// A change whose gateway was killed.
struct KilledChange {
    point: KillPoint,
    key: String,
    /// Effects until the kill.
    effects: usize,
}

pub(super) struct ExactlyOnce;

impl Drill for ExactlyOnce {
    fn run<'a>(&'a self, run: &'a mut DrillRun) -> DrillFuture<'a> {
        Box::pin(run_drill(run))
    }
}

async fn run_drill(run: &mut DrillRun) -> anyhow::Result<()> {
    lock_audit::shorten(&mut run.env, &[GATEWAY], lock_audit::USUAL_GRACE_S).await?;
    let lock = LockFixture::find(&run.env).await?;
    check_steady(run, &lock).await;
    let mut changes = Vec::new();
    for point in KillPoint::ALL {
        let (key, before) = (client::new_key(), keys_issued(&run.env).await?);
        KeyRequest { env: &run.env, lock: &lock, key: &key }.kill_at(point).await?;
        run.inject(format!("the gateway is killed with -9 {}", point.name()));
        let killed_at = Instant::now();
        run.env.stack.restart(GATEWAY).await?;
        run.env.reconnect()?;
        let back = run.until_whole().await.map(|_| killed_at.elapsed());
        run.recover_within("every widget is ok", back);
        let effects = keys_issued(&run.env).await? - before;
        changes.push(KilledChange { point, key, effects });
    }
    let (taken_over, replayed) = (dedup(run, "taken_over").await?, dedup(run, "replayed").await?);
    for change in &changes {
        repeat(run, &lock, change).await?;
    }
    let (taken_over, replayed) =
        (dedup(run, "taken_over").await? - taken_over, dedup(run, "replayed").await? - replayed);
    // Each change is sent twice after its gateway was killed. The first time, one finds no claim, three
    // find one without a response, and one finds the response. The second time, all five find it.
    let held = (taken_over - 3.0).abs() < 0.5 && (replayed - 6.0).abs() < 0.5;
    let found = format!("{taken_over:.0} taken over, {replayed:.0} replayed");
    run.detect(format!("{DEDUP_METRIC} counts every repeat by its kind"), held, found);
    run.run_runbooks().await?;
    let completed = lock_audit::complete(&run.env, run.objective).await;
    run.within(Step::Recovery, "every lock action has its outcome in the audit", completed);
    Ok(())
}

async fn repeat(run: &DrillRun, lock: &LockFixture, change: &KilledChange) -> anyhow::Result<()> {
    let KilledChange { point, key, effects } = change;
    let (killed, before) = (point.name(), keys_issued(&run.env).await?);
    let answer = until_answered(run, lock, key).await?;
    let stored = answer.replayed == (*point == KillPoint::AfterStore);
    let held = answer.status == 201 && stored;
    run.user(format!("killed {killed}: a repeat gets the response"), held, &answer);
    let again = client::send(&run.env.desktop, &lock.issue(key)?).await?;
    let held = again.replayed && again.body == answer.body;
    run.automatic(format!("killed {killed}: the next one gets the same, as stored"), held, &again);
    let all = effects + keys_issued(&run.env).await? - before;
    run.automatic(format!("killed {killed}: the change took effect once"), all == 1, all);
    Ok(())
}

/// Repeats while the dead process's lease lasts.
async fn until_answered(
    run: &DrillRun,
    lock: &LockFixture,
    key: &str,
) -> anyhow::Result<ApiResponse> {
    let begun = Instant::now();
    loop {
        let answer = client::send(&run.env.desktop, &lock.issue(key)?).await?;
        let is_in_flight = (answer.status, answer.code()) == IN_FLIGHT;
        if !is_in_flight || begun.elapsed() > run.objective {
            return Ok(answer);
        }
        sleep(REQUEST_PAUSE).await;
    }
}

async fn dedup(run: &DrillRun, outcome: &str) -> anyhow::Result<f64> {
    run.env.counter(DEDUP_METRIC, &[("outcome", outcome)]).await
}
