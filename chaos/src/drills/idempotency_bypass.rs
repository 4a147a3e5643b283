//! The outcome of a change is not stored, and a worker loses its claim to another: then nothing but
//! the shared idempotency key prevents a second effect of a repeat. Each change takes effect once,
//! every repeat is counted, and on-call can stop all changes while reads go on.

use std::time::Duration;

use anyhow::Context;
use contracts::clock::Clock;
use launcher::desktop::Desktop;
use launcher::servers::{GATEWAY, SECOND_GATEWAY};
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::client::{self, ApiResponse};
use crate::drill_env::{DrillEnv, EnvOptions};
use crate::drill_run::{Drill, DrillFuture, DrillRun};
use crate::gateway_database::{GatewayDatabase, HeldClaims};
use crate::kill_points::keys_issued;
use crate::lock_audit;
use crate::lock_fixture::LockFixture;
use crate::observations::Step;

const ALERT: &str = "BffMutationNotSettled";
const SETTLED_METRIC: &str = "bff_backoffice_mutation_settled_total";
const DEDUP_METRIC: &str = "bff_backoffice_idempotency_dedup_total";
const BLOCKED_CODE: &str = "MELMASTOON.BFF.EDGE_BLOCKED";
const ISSUE_ROUTE: &str = "POST /api/v1/locks/{id}/keys";
/// Stops every change of room keys; a rule for each prefix stops the others.
const HALT_RULES: &str = "[[deny]]\nname = \"changes\"\nmode = \"enforce\"\n\
                          path_prefix = \"/api/bff/backoffice/v1/locks\"\n";
/// Longer than the gateway needs from its claim to the statement that stores the outcome.
const SLOW_MS: u64 = 800;
const DETECT_WITHIN: Duration = Duration::from_secs(10);
/// The lease of a claim lasts five seconds.
const LEASE_WITHIN: Duration = Duration::from_secs(10);
const REQUEST_PAUSE: Duration = Duration::from_millis(200);

pub(super) struct IdempotencyBypass;

impl Drill for IdempotencyBypass {
    fn environment<'a>(&self, options: EnvOptions<'a>) -> EnvOptions<'a> {
        EnvOptions { second_gateway: true, ..options }
    }

    fn run<'a>(&'a self, run: &'a mut DrillRun) -> DrillFuture<'a> {
        Box::pin(run_drill(run))
    }
}

async fn run_drill(run: &mut DrillRun) -> anyhow::Result<()> {
    let instances = [GATEWAY, SECOND_GATEWAY];
    lock_audit::shorten(&mut run.env, &instances, lock_audit::USUAL_GRACE_S).await?;
    let lock = LockFixture::find(&run.env).await?;
    check_works(run, &lock, Step::Steady).await;
    let losing = lose_outcome(run, &lock);
    run.raised_during(&[ALERT], Instant::now(), losing).await??;
    lose_claim(run, &lock).await?;
    halt_changes(run, &lock).await?;
    check_works(run, &lock, Step::Recovery).await;
    let completed = lock_audit::complete(&run.env, run.objective).await;
    run.within(Step::Recovery, "every lock action has its outcome in the audit", completed);
    Ok(())
}

async fn check_works(run: &DrillRun, lock: &LockFixture, step: Step) {
    let works = async |env: &DrillEnv| {
        let answer = client::send(&env.desktop, &lock.issue(&client::new_key())?).await?;
        Ok(answer.status == 201 && env.dashboard().await.is_whole())
    };
    let took = run.env.wait_until("a key and a whole dashboard", run.objective, works).await;
    let took = run.within(step, "a key is issued and every widget is ok", took);
    if step == Step::Recovery {
        run.recovered_after(took);
    }
}

/// One change and what the gateways counted before it.
struct Change {
    key: String,
    effects: usize,
    /// Requests that the gateways recognized as repeats.
    repeats_counted: f64,
}

impl Change {
    async fn begin(env: &DrillEnv) -> anyhow::Result<Self> {
        let repeats_counted = repeats_counted(env).await?;
        Ok(Self { key: client::new_key(), effects: keys_issued(env).await?, repeats_counted })
    }

    /// Checks that the change took effect once, and that these repeats were all recognized.
    async fn check(&self, run: &DrillRun, repeats: usize) -> anyhow::Result<()> {
        let counted = repeats_counted(&run.env).await? - self.repeats_counted;
        let all = (counted - repeats as f64).abs() < 0.5;
        let what = format!("{DEDUP_METRIC} counts every repeat");
        run.detect(what, all, format!("{counted:.0} of {repeats}"));
        let effects = keys_issued(&run.env).await? - self.effects;
        run.automatic("the change took effect once", effects == 1, effects);
        Ok(())
    }
}

/// The gateway's database does not store the outcome in time.
async fn lose_outcome(run: &DrillRun, lock: &LockFixture) -> anyhow::Result<()> {
    let (env, change) = (&run.env, Change::begin(&run.env).await?);
    let (unstored, begun) = (settled(env, "unstored").await?, Instant::now());
    slow_down(env).await?;
    let issue = lock.issue(&change.key)?;
    let holding = async {
        until_claimed(env, &change.key).await?;
        let held = HeldClaims::take(env).await?;
        run.inject("a lock in the database keeps the outcome of a change from being stored");
        let is_unstored = async |env: &DrillEnv| Ok(settled(env, "unstored").await? > unstored);
        let counted = env.wait_until("the counter", DETECT_WITHIN, is_unstored).await;
        held.release().await?;
        anyhow::Ok(counted.map(|_| begun.elapsed()))
    };
    let (first, counted) = tokio::join!(client::send(&env.desktop, &issue), holding);
    env.clear_faults().await?;
    let took = run.detect_within(format!("{SETTLED_METRIC} counts it as unstored"), counted?);
    run.detected_after(took);
    let first = first?;
    run.user("the caller gets the response of the change", first.status == 201, &first);
    let mut repeats = Repeats { desktop: &env.desktop, sent: 0 };
    let again = repeats.until_answered(lock, &change.key).await?;
    let held = again.status == 201 && !again.replayed && again.body == first.body;
    run.user("a repeat gets the same response, from lock-integration", held, &again);
    let stored = repeats.send(lock, &change.key).await?;
    let held = stored.replayed && stored.body == first.body;
    run.user("and the next one gets it as stored", held, &stored);
    change.check(run, repeats.sent).await
}

/// The first instance is paused after its claim, and the second takes the change over.
async fn lose_claim(run: &DrillRun, lock: &LockFixture) -> anyhow::Result<()> {
    let (env, change) = (&run.env, Change::begin(&run.env).await?);
    let late = settled(env, "late").await?;
    let second = second_desktop(env)?;
    slow_down(env).await?;
    let (first, issue) = (env.stack.process(GATEWAY)?, lock.issue(&change.key)?);
    let mut repeats = Repeats { desktop: &second, sent: 0 };
    let taking_over = async {
        until_claimed(env, &change.key).await?;
        first.pause().await?;
        run.inject("the instance with the claim is paused for longer than its lease");
        env.clear_faults().await?;
        let answer = repeats.until_answered(lock, &change.key).await;
        first.resume().await?;
        answer
    };
    let (paused, taken) = tokio::join!(client::send(&env.desktop, &issue), taking_over);
    let taken = taken?;
    let held = taken.status == 201 && !taken.replayed;
    run.user("a repeat at the other instance gets the response", held, &taken);
    let is_late = async |env: &DrillEnv| Ok(settled(env, "late").await? > late);
    let counted = env.wait_until("the counter", DETECT_WITHIN, is_late).await;
    run.detect_within(format!("{SETTLED_METRIC} counts the paused worker as late"), counted);
    let stored = repeats.send(lock, &change.key).await?;
    let held = stored.replayed && stored.body == taken.body;
    let found = format!("{stored}, the paused one {:?}", paused.map(|answer| answer.status));
    run.automatic("the late worker does not replace the stored response", held, found);
    change.check(run, repeats.sent).await
}

/// On-call stops the changes, as the runbook says.
async fn halt_changes(run: &DrillRun, lock: &LockFixture) -> anyhow::Result<()> {
    let before = keys_issued(&run.env).await?;
    run.env.write_edge_rules(HALT_RULES)?;
    run.inject("on-call stops the changes with an edge rule");
    let is_blocked = async |env: &DrillEnv| {
        let answer = client::send(&env.desktop, &lock.issue(&client::new_key())?).await?;
        Ok(answer.status == 403 && answer.code() == BLOCKED_CODE)
    };
    let blocked = run.env.wait_until("a blocked change", DETECT_WITHIN, is_blocked).await;
    run.user_within("changes are 403 EDGE_BLOCKED", blocked);
    let whole = run.until_whole().await;
    run.user_within("and reads go on: every widget is ok", whole);
    let stopped = keys_issued(&run.env).await?;
    let answer = client::send(&run.env.desktop, &lock.issue(&client::new_key())?).await?;
    let held = answer.status == 403 && keys_issued(&run.env).await? == stopped;
    let found = format!("{answer}, {} issued before the rule was in force", stopped - before);
    run.automatic("no change takes effect any more", held, found);
    run.env.write_edge_rules("")
}

/// Repeats of a change at one desktop.
struct Repeats<'a> {
    desktop: &'a Desktop,
    sent: usize,
}

impl Repeats<'_> {
    async fn send(&mut self, lock: &LockFixture, key: &str) -> anyhow::Result<ApiResponse> {
        self.sent += 1;
        client::send(self.desktop, &lock.issue(key)?).await
    }

    /// Repeats while another worker holds the claim.
    async fn until_answered(
        &mut self,
        lock: &LockFixture,
        key: &str,
    ) -> anyhow::Result<ApiResponse> {
        let begun = Instant::now();
        loop {
            let answer = self.send(lock, key).await?;
            if answer.status != 409 || begun.elapsed() > LEASE_WITHIN {
                return Ok(answer);
            }
            sleep(REQUEST_PAUSE).await;
        }
    }
}

/// A desktop of the same operator at the second instance.
fn second_desktop(env: &DrillEnv) -> anyhow::Result<Desktop> {
    let mut info = env.stack.info().clone();
    info.gateway = info.second_gateway.clone().context("there are two instances")?;
    let username = &env.desktop.operator().username;
    Desktop::open(&info, username, &env.folder.join("desktop"), Clock::system())
}

async fn slow_down(env: &DrillEnv) -> anyhow::Result<()> {
    let slow = json!({"upstream": "lock", "route": ISSUE_ROUTE, "kind": "latency", "ms": SLOW_MS});
    env.add_fault(&slow).await
}

async fn until_claimed(env: &DrillEnv, key: &str) -> anyhow::Result<()> {
    let database = GatewayDatabase::connect(env).await?;
    let is_claimed = async |_: &DrillEnv| Ok(database.claim_state(key).await? == "claimed");
    env.wait_until("the claim", DETECT_WITHIN, is_claimed).await.map(drop)
}

async fn settled(env: &DrillEnv, outcome: &str) -> anyhow::Result<f64> {
    env.counter_everywhere(SETTLED_METRIC, &[("outcome", outcome)]).await
}

/// Requests that were recognized as repeats, by all instances.
async fn repeats_counted(env: &DrillEnv) -> anyhow::Result<f64> {
    let all = env.counter_everywhere(DEDUP_METRIC, &[]).await?;
    Ok(all - env.counter_everywhere(DEDUP_METRIC, &[("outcome", "first")]).await?)
}
