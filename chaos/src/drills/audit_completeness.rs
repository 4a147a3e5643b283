//! The gateway is killed while many keys are being issued. Every key has its audit row from before it
//! was issued, every action gets its outcome, and the hash chain is intact: counted, not assumed.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use launcher::servers::GATEWAY;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::steady_keys::check_steady;
use crate::client;
use crate::drill_env::DrillEnv;
use crate::drill_run::{Drill, DrillFuture, DrillRun};
use crate::gateway_database::GatewayDatabase;
use crate::kill_points::keys_issued;
use crate::lock_audit::{self, COMPLETENESS_METRIC, COUNTED_WITHIN, LockAuditJobs};
use crate::lock_fixture::{self, LockFixture};

/// Lock actions in all, and in flight at once.
const ACTIONS: usize = 60;
const MAX_IN_FLIGHT: usize = 8;
/// Keys issued before the kill.
const KEYS_BEFORE_KILL: usize = 20;
/// Time that lock-integration takes, so that the kill meets actions in every state.
const LATENCY_MS: u64 = 60;
/// Age at which an action is counted: five minutes in production.
const COUNTED_AFTER_S: u32 = 8;
const ANSWERED_WITHIN: Duration = Duration::from_secs(30);
const REQUEST_PAUSE: Duration = Duration::from_millis(100);

pub(super) struct AuditCompleteness;

impl Drill for AuditCompleteness {
    fn run<'a>(&'a self, run: &'a mut DrillRun) -> DrillFuture<'a> {
        Box::pin(run_drill(run))
    }
}

async fn run_drill(run: &mut DrillRun) -> anyhow::Result<()> {
    lock_audit::shorten(&mut run.env, &[GATEWAY], lock_audit::USUAL_GRACE_S).await?;
    let lock = LockFixture::find(&run.env).await?;
    check_steady(run, &lock).await;

    let keys: Vec<String> = (0..ACTIONS).map(|_| client::new_key()).collect();
    let before = keys_issued(&run.env).await?;
    let slow = json!({"upstream": "lock", "kind": "latency", "ms": LATENCY_MS});
    run.env.add_fault(&slow).await?;
    let issuing = issue_all(run, &lock, &keys);
    let (answered, restarted) = tokio::join!(issuing, kill_during(run, before));
    restarted?;
    run.env.clear_faults().await?;
    let answered = answered?;
    let found = format!("{answered} of {ACTIONS}");
    run.user("every caller gets its key, some by a repeat", answered == ACTIONS, found);
    let issued = keys_issued(&run.env).await? - before;
    run.automatic("and each key was issued once", issued == ACTIONS, issued);
    check_rows(run, &keys).await?;
    check_metric(run).await?;
    let back = run.until_whole().await;
    run.recover_within("every widget is ok", back);
    Ok(())
}

/// Requests all keys, each until it is issued. Returns how many were.
async fn issue_all(run: &DrillRun, lock: &LockFixture, keys: &[String]) -> anyhow::Result<usize> {
    let requests = stream::iter(keys).map(async |key| {
        let begun = Instant::now();
        while begun.elapsed() < ANSWERED_WITHIN {
            // While the gateway is down there is no response.
            let answer = client::send(&run.env.desktop, &lock.issue(key)?).await;
            if answer.is_ok_and(|answer| answer.status == 201) {
                return anyhow::Ok(1);
            }
            sleep(REQUEST_PAUSE).await;
        }
        Ok(0)
    });
    let answered: Vec<_> = requests.buffer_unordered(MAX_IN_FLIGHT).collect().await;
    answered.into_iter().sum()
}

/// Kills the gateway once some keys were issued, and starts it again.
async fn kill_during(run: &DrillRun, before: usize) -> anyhow::Result<()> {
    let is_under_way =
        async |env: &DrillEnv| Ok(keys_issued(env).await? >= before + KEYS_BEFORE_KILL);
    run.env.wait_until("the first keys", ANSWERED_WITHIN, is_under_way).await?;
    let gateway = run.env.stack.process(GATEWAY)?;
    gateway.kill().await?;
    run.inject("the gateway is killed with -9 while keys are being issued");
    gateway.restart().await.map(drop)
}

/// Compares the keys that lock-integration issued with the audit rows, by idempotency key.
async fn check_rows(run: &DrillRun, keys: &[String]) -> anyhow::Result<()> {
    let (database, jobs) =
        (GatewayDatabase::connect(&run.env).await?, LockAuditJobs::new(&run.env)?);
    let open = lock_audit::open_actions(&database, 0).await?;
    run.detect("the kill left actions without an outcome", open > 0, open);
    run.run_runbooks().await?;
    let completed = lock_audit::complete(&run.env, run.objective).await;
    run.automatic_within("the reconciler completes them", completed);
    let ledger = lock_fixture::audit_phases(&run.env).await?;
    let has_rows = |key: &&String| ledger.get(*key).is_some_and(|phases| is_complete(phases));
    let complete = keys.iter().filter(has_rows).count();
    let odd = keys.iter().find(|key| !has_rows(key));
    let odd = odd.map(|key| format!(", one has {:?}", ledger.get(key)));
    let found = format!("{complete} of {ACTIONS}{}", odd.unwrap_or_default());
    run.automatic("every key has the rows of each of its actions", complete == ACTIONS, found);
    let verified = jobs.verify().await?;
    run.automatic("the hash chain is intact", verified["broken"] == json!([]), &verified);
    Ok(())
}

/// Waits until the actions are old enough to be counted, by a gateway that counts them sooner.
async fn check_metric(run: &mut DrillRun) -> anyhow::Result<()> {
    lock_audit::shorten(&mut run.env, &[GATEWAY], COUNTED_AFTER_S).await?;
    let is_complete = async |env: &DrillEnv| lock_audit::is_shown(env, true, false).await;
    let shown = run.env.wait_until("a complete audit", COUNTED_WITHIN, is_complete).await;
    run.detect_within(
        format!("{COMPLETENESS_METRIC} counts them, and shows that none is missing"),
        shown,
    );
    Ok(())
}

/// Whether as many rows say how an action ended as say that one was requested, and one a success.
fn is_complete(phases: &[String]) -> bool {
    let count = |wanted: &str| phases.iter().filter(|phase| *phase == wanted).count();
    let ended = count("success") + count("failure");
    count("requested") == ended && count("success") > 0
}
