//! A gateway dies after lock-integration issued a key and before its audit row says so, and no
//! scheduler reconciles. The missing row freezes the lock routes on every instance, until the row is
//! written and two platform operators end the freeze.

use std::time::Duration;

use launcher::servers::{GATEWAY, SECOND_GATEWAY};
use tokio::time::Instant;

use crate::client;
use crate::drill_env::{DrillEnv, EnvOptions};
use crate::drill_run::{Drill, DrillFuture, DrillRun};
use crate::gateway_database::GatewayDatabase;
use crate::kill_points::{KeyRequest, KillPoint, keys_issued};
use crate::lock_audit::{self, COMPLETENESS_METRIC, COUNTED_WITHIN, FROZEN_METRIC, LockAuditJobs};
use crate::lock_fixture::{self, LockFixture};
use crate::observations::Step;

const GAP_ALERT: &str = "BffLockAuditGap";
const FREEZE_ALERT: &str = "BffLockProxyFrozen";
const CHAIN_ALERT: &str = "BffLockAuditChainBroken";
const FROZEN_CODE: &str = "MELMASTOON.BFF.LOCK_PROXY_FROZEN";
const SECOND_PERSON_CODE: &str = "MELMASTOON.BFF.ADMIN_SECOND_PERSON_REQUIRED";
/// Age at which a missing row is a gap: five minutes in production.
const GRACE_S: u32 = 8;
const GAP_WITHIN: Duration = Duration::from_secs(20);
/// Each instance counts every five seconds.
const DETECT_WITHIN: Duration = Duration::from_secs(8);

pub(super) struct LockAuditGap;

impl Drill for LockAuditGap {
    fn environment<'a>(&self, options: EnvOptions<'a>) -> EnvOptions<'a> {
        EnvOptions { second_gateway: true, ..options }
    }

    fn run<'a>(&'a self, run: &'a mut DrillRun) -> DrillFuture<'a> {
        Box::pin(run_drill(run))
    }
}

async fn run_drill(run: &mut DrillRun) -> anyhow::Result<()> {
    lock_audit::shorten(&mut run.env, &[GATEWAY, SECOND_GATEWAY], GRACE_S).await?;
    let lock = LockFixture::find(&run.env).await?;
    let steady = run.env.wait_until("a key and a whole dashboard", run.objective, async |env| {
        works(&lock, env).await
    });
    run.steady_within("a key is issued and every widget is ok", steady.await);
    let is_complete = async |env: &DrillEnv| lock_audit::is_shown(env, true, false).await;
    let steady = run.env.wait_until("a complete audit", COUNTED_WITHIN, is_complete).await;
    run.steady_within("no row is missing and nothing is frozen, on both instances", steady);

    let key = client::new_key();
    let request = KeyRequest { env: &run.env, lock: &lock, key: &key };
    request.kill_at(KillPoint::AfterEffect).await?;
    run.env.stack.restart(GATEWAY).await?;
    run.env.reconnect()?;
    let database = GatewayDatabase::connect(&run.env).await?;
    let is_gap = async |_: &DrillEnv| Ok(lock_audit::open_actions(&database, GRACE_S).await? > 0);
    run.env.wait_until("an action without its row", GAP_WITHIN, is_gap).await?;
    run.inject("a killed gateway left a key without its audit row, and no scheduler reconciles");
    let observing = observe_freeze(run, &lock);
    run.raised_during(&[GAP_ALERT, FREEZE_ALERT], Instant::now(), observing).await??;
    end_freeze(run, &lock).await?;
    check_killed_request(run, &lock, &key).await?;
    lose_rows(run, &lock, &key).await
}

async fn observe_freeze(run: &DrillRun, lock: &LockFixture) -> anyhow::Result<()> {
    let is_shown = async |env: &DrillEnv| lock_audit::is_shown(env, false, true).await;
    let shown = run.env.wait_until("the gap", DETECT_WITHIN, is_shown).await;
    let what = format!("{COMPLETENESS_METRIC} and {FROZEN_METRIC} of both instances show it");
    let took = run.detect_within(what, shown);
    run.detected_after(took);

    let before = keys_issued(&run.env).await?;
    let refused = client::send(&run.env.desktop, &lock.issue(&client::new_key())?).await?;
    let held = refused.status == 503 && refused.code() == FROZEN_CODE && refused.retry_after;
    run.automatic("the next lock action is 503 LOCK_PROXY_FROZEN with Retry-After", held, &refused);
    let issued = keys_issued(&run.env).await? - before;
    run.automatic("and nothing is sent to lock-integration", issued == 0, issued);
    let whole = run.until_whole().await;
    run.user_within("every widget is still ok", whole);
    let verified = LockAuditJobs::new(&run.env)?.verify().await?;
    let what = "the hash chain is intact: the row was never written";
    run.automatic(what, verified["broken"] == serde_json::json!([]), &verified);
    Ok(())
}

/// What the runbook tells the platform operators to do.
async fn end_freeze(run: &DrillRun, lock: &LockFixture) -> anyhow::Result<()> {
    let (jobs, begun) = (LockAuditJobs::new(&run.env)?, Instant::now());
    let ran = jobs.reconcile().await?;
    run.recover("the reconciler writes the missing row", ran["success"] == 1, &ran);
    let is_frozen_still = async |env: &DrillEnv| lock_audit::is_shown(env, true, true).await;
    let closed = run.env.wait_until("a complete audit", COUNTED_WITHIN, is_frozen_still).await;
    let what = "no row is missing any more, and the routes stay frozen";
    run.within(Step::Recovery, what, closed);
    let request = jobs.request_unfreeze().await?;
    let (status, body) = jobs.approve(&request, "operator-a").await?;
    let held = status == 403 && body["code"] == SECOND_PERSON_CODE;
    run.recover("one person alone cannot end the freeze", held, status);
    run.act_by_runbook("bff-backoffice/lock-audit-gap").await?;
    let works = async |env: &DrillEnv| works(lock, env).await;
    let back = run.env.wait_until("a key", run.objective, works).await.map(|_| begun.elapsed());
    run.recover_within("keys are issued again", back);
    let is_over = async |env: &DrillEnv| lock_audit::is_shown(env, true, false).await;
    let over = run.env.wait_until("no freeze", COUNTED_WITHIN, is_over).await;
    let what = "and both instances show that nothing is frozen and no row is missing";
    run.within(Step::Recovery, what, over);
    Ok(())
}

/// The desktop repeats the request that the dead gateway did not answer.
async fn check_killed_request(run: &DrillRun, lock: &LockFixture, key: &str) -> anyhow::Result<()> {
    let answer = client::send(&run.env.desktop, &lock.issue(key)?).await?;
    run.recover("a repeat of the killed request gets its key", answer.status == 201, &answer);
    let issued = lock_fixture::keys_issued(&run.env, key).await?;
    run.recover("which was issued once", issued == 1, issued);
    let phases = lock_fixture::phases_of_key(&run.env, key).await?;
    let held = phases == ["requested", "success", "requested", "success"];
    run.recover("and both attempts have both rows", held, format!("{phases:?}"));
    Ok(())
}

/// An administrator deletes every row of a key. The counts cannot see it, the hash chain does.
async fn lose_rows(run: &DrillRun, lock: &LockFixture, key: &str) -> anyhow::Result<()> {
    let (database, jobs) =
        (GatewayDatabase::connect(&run.env).await?, LockAuditJobs::new(&run.env)?);
    let first = "SELECT min(sequence) FROM bff.lock_action_proxy_audit WHERE idempotency_key = $1";
    let first = database.count(first, &[&key]).await?;
    let deleted_at = Instant::now();
    // The rows are kept aside, as a backup keeps them.
    database
        .run(&format!(
            "BEGIN;
             SET LOCAL session_replication_role = replica;
             CREATE TABLE public.deleted_rows AS
                 SELECT * FROM bff.lock_action_proxy_audit WHERE idempotency_key = '{key}';
             DELETE FROM bff.lock_action_proxy_audit WHERE idempotency_key = '{key}';
             COMMIT"
        ))
        .await?;
    run.inject("an administrator deletes the rows of a key");
    let verifying = jobs.verify();
    let verified = run.raised_during(&[CHAIN_ALERT], deleted_at, verifying).await??;
    let fault = &verified["broken"][0]["broken"];
    let held = fault["sequence"] == first && fault["what"] == "missing";
    run.detect("the verification names the first deleted row as missing", held, &verified);
    let is_unseen = async |env: &DrillEnv| lock_audit::is_shown(env, true, false).await;
    let unseen = run.env.wait_until("a complete audit", COUNTED_WITHIN, is_unseen).await;
    run.within(Step::Detection, "the counts alone do not show it", unseen);
    let answer = client::send(&run.env.desktop, &lock.issue(&client::new_key())?).await?;
    run.user("keys are still issued", answer.status == 201, &answer);

    let begun = Instant::now();
    database
        .run(
            "INSERT INTO bff.lock_action_proxy_audit SELECT * FROM public.deleted_rows;
             DROP TABLE public.deleted_rows",
        )
        .await?;
    let verified = jobs.verify().await?;
    let held = verified["broken"] == serde_json::json!([]);
    run.recover("with the rows of the backup the chain is intact", held, &verified);
    run.recovered_after(Some(begun.elapsed()));
    Ok(())
}

async fn works(lock: &LockFixture, env: &DrillEnv) -> anyhow::Result<bool> {
    let answer = client::send(&env.desktop, &lock.issue(&client::new_key())?).await?;
    Ok(answer.status == 201 && env.dashboard().await.is_whole())
}
