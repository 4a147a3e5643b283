//! The primary of the database is lost and its standby is promoted behind the same address: first its
//! connections go silent, then it comes back read-only, then it is killed. Changes are refused until
//! the promotion and work again within seconds after it; no acknowledged change is lost.
//!
//! The drill does the failover itself: it promotes the standby and moves the address. Replication is
//! synchronous, as in a managed database with high availability.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use launcher::dependencies::POSTGRES;
use reqwest::Url;
use tokio::time::{Instant, sleep};

use crate::client::{self, ApiResponse};
use crate::drill_env::DrillEnv;
use crate::drill_run::{Drill, DrillFuture, DrillRun, Load};
use crate::gateway_database::GatewayDatabase;
use crate::lock_fixture::{self, LockFixture};
use crate::proxy::Proxy;

const POSTGRES_URL_SETTING: &str = "MELMASTOON_POSTGRES__URL";
/// Programs with a database of their own name.
const PROGRAMS: [&str; 4] = ["bff", "inventory", "housekeeping", "staff"];
const ALERT: &str = "BffGatewayNotReady";
const STORE_CODE: &str = "MELMASTOON.BFF.STORE_UNAVAILABLE";
const IN_STEP_WITHIN: Duration = Duration::from_secs(20);
const DETECT_WITHIN: Duration = Duration::from_secs(10);
/// Length of each state of the failing primary.
const WATCH_DURATION: Duration = Duration::from_secs(2);
/// A refusal names its cause within this time, also while connections are silent.
const ANSWER_WITHIN: Duration = Duration::from_millis(2500);
/// Changes that are acknowledged before the primary is lost.
const CHANGES_BEFORE: usize = 20;
const REQUEST_PAUSE: Duration = Duration::from_millis(50);

/// The primary, its standby, and the address that all programs use.
struct Cluster {
    proxy: Proxy,
    primary: GatewayDatabase,
    standby_url: String,
    standby: SocketAddr,
}

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
    let cluster = prepare(&mut run.env).await?;
    let lock = LockFixture::find(&run.env).await?;
    let works = async |env: &DrillEnv| {
        let answer = client::send(&env.desktop, &lock.issue(&client::new_key())?).await?;
        Ok(answer.status == 201 && env.dashboard().await.is_whole())
    };
    let steady = run.env.wait_until("a key and a whole dashboard", run.objective, works).await;
    run.steady_within("a key is issued and every widget is ok", steady);
    let in_step = async |_: &DrillEnv| is_in_step(&cluster.primary).await;
    let in_step = run.env.wait_until("the standby", IN_STEP_WITHIN, in_step).await;
    run.steady_within("the standby confirms every commit", in_step);

    let changes = Changes::default();
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
    failed.and(changed)?;
    let back = run.env.wait_until("a key and a whole dashboard", run.objective, works).await;
    run.recover_within("every widget is ok again", back);
    check_nothing_lost(run, &cluster, &changes, &lock).await
}

/// Starts the standby, makes it synchronous, and puts the proxy between all programs and the primary.
async fn prepare(env: &mut DrillEnv) -> anyhow::Result<Cluster> {
    let standby_url = env.stack.start_postgres_standby().await?;
    let primary_url = env.stack.info().postgres.admin_url.clone();
    let proxy = Proxy::start(address(&primary_url)?).await?;
    let primary = GatewayDatabase::connect_to(&primary_url).await?;
    primary.run("ALTER SYSTEM SET synchronous_standby_names = '*'").await?;
    primary.run("SELECT pg_reload_conf()").await?;
    for name in PROGRAMS {
        let mut url = Url::parse(&env.stack.info().postgres.urls[name])?;
        url.set_host(Some("127.0.0.1"))?;
        url.set_port(Some(proxy.address.port())).ok().context("a Postgres URL has a port")?;
        env.stack.process(name)?.set_env(POSTGRES_URL_SETTING, url.as_str()).await?;
        env.stack.restart(name).await?;
    }
    env.reconnect()?;
    let standby = address(&standby_url)?;
    Ok(Cluster { proxy, primary, standby_url, standby })
}

fn address(url: &str) -> anyhow::Result<SocketAddr> {
    let port = Url::parse(url)?.port().context("a Postgres URL names its port")?;
    Ok(SocketAddr::from(([127, 0, 0, 1], port)))
}

/// Whether the standby has all that the primary has flushed, as it has every commit.
async fn is_in_step(primary: &GatewayDatabase) -> anyhow::Result<bool> {
    let sql = "SELECT count(*) FROM pg_stat_replication
               WHERE sync_state = 'sync' AND flush_lsn >= pg_current_wal_flush_lsn()";
    Ok(primary.count(sql, &[]).await? == 1)
}

/// The states of the failing primary, and the promotion.
async fn fail_over(run: &DrillRun, cluster: &Cluster, changes: &Changes) -> anyhow::Result<()> {
    let (env, injected_at) = (&run.env, Instant::now());
    cluster.proxy.silence_all();
    run.inject("the primary's connections go silent, open and new ones");
    let down = env.wait_until("readiness", DETECT_WITHIN, is_noticed).await;
    let took = run.detect_within("readiness is 503 and names durable-store", down);
    run.detected_after(took);
    changes.check_refused(run, injected_at).await;

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
    changes.check_refused(run, demoted_at).await;

    // In its files only: another stack may be started on them.
    for setting in ["synchronous_standby_names", "default_transaction_read_only"] {
        cluster.primary.run(&format!("ALTER SYSTEM RESET {setting}")).await?;
    }
    env.stack.process(POSTGRES)?.kill().await?;
    let promoted_at = promote(cluster).await?;
    run.inject("the primary is killed with -9, and the standby is promoted behind the address");
    let is_acknowledged = async |_: &DrillEnv| Ok(changes.was_acknowledged_after(promoted_at));
    let back = env.wait_until("a change", run.objective, is_acknowledged).await;
    let back = back.map(|_| promoted_at.elapsed());
    run.recover_within("changes work again after the promotion", back);
    Ok(())
}

async fn promote(cluster: &Cluster) -> anyhow::Result<Instant> {
    let standby = GatewayDatabase::connect_to(&cluster.standby_url).await?;
    standby.run("SELECT pg_promote(true, 30)").await?;
    cluster.proxy.retarget(cluster.standby);
    Ok(Instant::now())
}

async fn is_noticed(env: &DrillEnv) -> anyhow::Result<bool> {
    let (status, down) = env.readiness(&env.stack.info().gateway).await?;
    Ok(status == 503 && down == ["durable-store"])
}

/// A request for a key and its response.
struct Sent {
    key: String,
    at: Instant,
    took: Duration,
    answer: ApiResponse,
}

/// The requests of a desktop that goes on changing something during the failover.
#[derive(Default)]
struct Changes(RefCell<Vec<Sent>>);

impl Changes {
    async fn send_until(
        &self,
        over: &Cell<bool>,
        run: &DrillRun,
        lock: &LockFixture,
    ) -> anyhow::Result<()> {
        while !over.get() {
            self.send(run, lock).await?;
            sleep(REQUEST_PAUSE).await;
        }
        Ok(())
    }

    async fn send(&self, run: &DrillRun, lock: &LockFixture) -> anyhow::Result<()> {
        let (key, at) = (client::new_key(), Instant::now());
        let answer = client::send(&run.env.desktop, &lock.issue(&key)?).await?;
        self.0.borrow_mut().push(Sent { key, at, took: at.elapsed(), answer });
        Ok(())
    }

    fn was_acknowledged_after(&self, at: Instant) -> bool {
        self.0.borrow().iter().any(|sent| sent.at >= at && sent.answer.status == 201)
    }

    /// Checks the requests since `since`, once there are some.
    async fn check_refused(&self, run: &DrillRun, since: Instant) {
        let of_state = |sent: &&Sent| sent.at >= since;
        let is_there =
            async |_: &DrillEnv| Ok(self.0.borrow().iter().filter(of_state).count() >= 2);
        let waited = run.env.wait_until("two requests", DETECT_WITHIN, is_there).await;
        let sent = self.0.borrow();
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
}

/// Repeats every change, and compares the acknowledged ones with the promoted server.
async fn check_nothing_lost(
    run: &DrillRun,
    cluster: &Cluster,
    changes: &Changes,
    lock: &LockFixture,
) -> anyhow::Result<()> {
    let promoted = GatewayDatabase::connect_to(&cluster.standby_url).await?;
    let sent = changes.0.take();
    let (mut acknowledged, mut kept, mut same, mut answered, mut once) = (0, 0, 0, 0, 0);
    for Sent { key, answer, .. } in &sent {
        let claim = promoted.claim_state(key).await?;
        let again = client::send(&run.env.desktop, &lock.issue(key)?).await?;
        if answer.status == 201 {
            acknowledged += 1;
            kept += usize::from(claim != "none");
            same += usize::from(again.body == answer.body);
        }
        answered += usize::from(again.status == 201);
        once += usize::from(lock_fixture::keys_issued(&run.env, key).await? == 1);
    }
    let of = |count: usize, all: usize| format!("{count} of {all}");
    let held = kept == acknowledged && acknowledged > 0;
    let what = "the promoted server has every acknowledged change";
    run.recover(what, held, of(kept, acknowledged));
    let what = "and a repeat of each gets the same response";
    run.recover(what, same == acknowledged, of(same, acknowledged));
    let all = sent.len();
    run.recover("repeats of the others are executed", answered == all, of(answered, all));
    run.recover("each change took effect once", once == all, of(once, all));
    Ok(())
}
