//! The session tier's server dies and its standby takes its place behind the same address: desks
//! read on, nothing the tier knew is lost, and the gateway is whole again within half a minute.
//!
//! The drill plays the tier's own watchman: it promotes the standby and moves the address.

use std::cell::Cell;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use launcher::desktop::Call;
use redis::InfoDict;
use redis::aio::MultiplexedConnection;
use reqwest::{Response, Url};
use tokio::time::{Instant, sleep, timeout};

use super::Form;
use crate::alerts;
use crate::house::{House, Seen, connect};
use crate::observations::{Observations, Step};
use crate::proxy::Proxy;
use crate::thief::{Answer, Stolen, Thief};

const STORE: &str = "bff_backoffice_dpop_replay_store_total";
const EVENT: &str = "bff_backoffice_session_tier_failover_total";
const ALERT: &str = "BffSessionTierFailover";
const SETTING: &str = "MELMASTOON_REDIS__SESSION_URL";
const IN_STEP_WITHIN: Duration = Duration::from_secs(20);
const DETECT_WITHIN: Duration = Duration::from_secs(20);
/// How long a watchman takes to believe that a server is dead.
const BELIEVED_AFTER: Duration = Duration::from_secs(3);
/// Until an evaluation of the rule every 5 s has seen the counter.
const ALERTED: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(40);
const ANSWER_WITHIN: Duration = Duration::from_secs(1);
/// Proofs used before the failover.
const KEPT: usize = 20;

/// The address the gateway knows, and the server that will take over.
struct Standby {
    proxy: Proxy,
    address: SocketAddr,
    connection: MultiplexedConnection,
}

pub(super) async fn run(
    form: Form,
    objective: Duration,
    house: &mut House,
    seen: &mut Observations,
) -> anyhow::Result<()> {
    let mut standby = prepare(house).await?;
    let house = &*house;
    let steady = house.until("a whole dashboard", objective, is_whole).await;
    seen.took(Step::Steady, "every widget is ok", steady);
    let kept = burn(house, seen).await?;
    let in_step = until_in_step(house, &mut standby).await;
    seen.took(Step::Steady, "the standby holds what the tier holds", in_step);
    let call = Call { within: None, ..Call::get("/sse/stream") };
    let mut stream = house.desktop.send(&call).await?.error_for_status()?;
    stream.chunk().await?;

    let failing = fail_over(form, objective, house, &mut standby, seen);
    let (during, fired) = if form == Form::Full {
        let (during, fired) =
            alerts::during(ALERT, (house.http(), house.metrics_url()), failing).await;
        (during?, Some(fired))
    } else {
        (failing.await?, None)
    };
    if let Some(fired) = fired {
        seen.took(Step::Detection, format!("{ALERT} fires on the exported metrics"), fired);
    }
    user(&during, seen);
    stays_open(&mut stream, seen).await;
    preserved(house, &kept, seen).await
}

/// Puts the proxy in the gateways' path to the tier.
async fn prepare(house: &mut House) -> anyhow::Result<Standby> {
    let mut url = Url::parse(&house.stack.info().redis.session.url)?;
    let standby = Url::parse(&house.stack.start_session_standby().await?)?;
    let proxy = Proxy::start(address(&url)?).await?;
    let port = Some(proxy.address.port());
    url.set_port(port).ok().context("a Redis URL has a port")?;
    for name in ["bff", "bff-2"] {
        house.stack.process(name)?.set_env(SETTING, url.as_str()).await?;
        house.stack.restart(name).await?;
    }
    house.reconnect()?;
    // Else a standby waits five seconds for others to join it.
    let mut tier = house.session_tier().await?;
    let mut setting = redis::cmd("CONFIG");
    setting.arg("SET").arg("repl-diskless-sync-delay").arg(0);
    setting.query_async::<()>(&mut tier).await?;
    let connection = connect(standby.as_str()).await?;
    Ok(Standby { proxy, address: address(&standby)?, connection })
}

fn address(url: &Url) -> anyhow::Result<SocketAddr> {
    let port = url.port().context("a Redis URL names its port")?;
    Ok(SocketAddr::from(([127, 0, 0, 1], port)))
}

/// Uses proofs at the first instance, so that the other knows them from the tier alone.
async fn burn(house: &House, seen: &mut Observations) -> anyhow::Result<Vec<Stolen>> {
    let thief = Thief::with(house, 1)?;
    let kept = thief.steal_many(KEPT).await?;
    let mut used = 0;
    for stolen in &kept {
        used += usize::from(thief.send(0, stolen).await == Answer::Accepted);
    }
    let expected = "proofs are used at the first instance";
    seen.expect(Step::Steady, expected, used == KEPT, format!("{used} of {KEPT}"));
    Ok(kept)
}

async fn until_in_step(house: &House, standby: &mut Standby) -> anyhow::Result<Duration> {
    let (mut tier, begun) = (house.session_tier().await?, Instant::now());
    while begun.elapsed() < IN_STEP_WITHIN {
        let ours = replication(&mut standby.connection).await?;
        let theirs = replication(&mut tier).await?;
        let is_linked = ours.get::<String>("master_link_status").as_deref() == Some("up");
        let offsets = (ours.get::<u64>("slave_repl_offset"), theirs.get("master_repl_offset"));
        if is_linked && offsets.0.is_some() && offsets.0 >= offsets.1 {
            return Ok(begun.elapsed());
        }
        sleep(PAUSE).await;
    }
    anyhow::bail!("the standby was not in step within {} s", IN_STEP_WITHIN.as_secs())
}

async fn replication(server: &mut MultiplexedConnection) -> anyhow::Result<InfoDict> {
    Ok(redis::cmd("INFO").arg("replication").query_async(server).await?)
}

/// A desk reads on all the while.
async fn fail_over(
    form: Form,
    objective: Duration,
    house: &House,
    standby: &mut Standby,
    seen: &mut Observations,
) -> anyhow::Result<Vec<Seen>> {
    let over = Cell::new(false);
    let event = async {
        let outcome = replace(objective, house, standby, seen).await;
        if form == Form::Full {
            sleep(ALERTED).await;
        }
        over.set(true);
        outcome
    };
    let reading = async {
        let mut during = Vec::new();
        while !over.get() {
            during.push(house.dashboard().await);
            sleep(PAUSE).await;
        }
        during
    };
    let (outcome, during) = tokio::join!(event, reading);
    outcome.map(|()| during)
}

async fn replace(
    objective: Duration,
    house: &House,
    standby: &mut Standby,
    seen: &mut Observations,
) -> anyhow::Result<()> {
    let before = house.metric(EVENT, &[]).await?;
    let struck = Instant::now();
    house.stack.process("redis-session")?.kill().await?;
    seen.expect(Step::Fault, "the session tier's server is killed with -9", true, "done");
    let down = house.until("the tier's check", DETECT_WITHIN, is_noticed).await;
    let took = seen.took(Step::Detection, "readiness is 503 and names session-tier", down);
    seen.detected_after(took);
    sleep(BELIEVED_AFTER.saturating_sub(struck.elapsed())).await;
    let mut promoting = redis::cmd("REPLICAOF");
    promoting.arg("NO").arg("ONE");
    promoting.query_async::<()>(&mut standby.connection).await?;
    standby.proxy.retarget(standby.address);
    let moved = format!("after {} ms", struck.elapsed().as_millis());
    seen.expect(Step::Fault, "its standby is promoted and the address leads there", true, moved);

    let noted = house.metric_everywhere(STORE, &[("store", "shared")]).await?;
    let is_back = async |house: &House| {
        let now = house.metric_everywhere(STORE, &[("store", "shared")]).await?;
        Ok(now > noted && are_ready(house).await?)
    };
    let back = house.until("the tier", objective, is_back).await.map(|_| struck.elapsed());
    let within = objective.as_secs();
    let what =
        format!("both are ready and note proofs in the tier again, {within} s from the kill");
    let took = seen.took(Step::Recovery, what, back.and_then(|took| below(took, objective)));
    seen.recovered_after(took);
    let is_told = async |house: &House| Ok(house.metric(EVENT, &[]).await? > before);
    let told = house.until("the failover's counter", DETECT_WITHIN, is_told).await;
    seen.took(Step::Detection, format!("{EVENT} says that another server answers"), told);
    Ok(())
}

fn below(took: Duration, most: Duration) -> anyhow::Result<Duration> {
    anyhow::ensure!(took < most, "it took {} ms", took.as_millis());
    Ok(took)
}

fn user(during: &[Seen], seen: &mut Observations) {
    let good = during.iter().filter(|dashboard| dashboard.status == Some(200)).count();
    seen.expect(
        Step::User,
        "reads never stop: every dashboard is 200",
        good == during.len() && good > 0,
        format!("{good} of {}", during.len()),
    );
    let mut took: Vec<Duration> = during.iter().map(|dashboard| dashboard.took).collect();
    took.sort();
    let slowest = took.last().copied().unwrap_or_default();
    let late = took.iter().filter(|took| **took > Duration::from_millis(600)).count();
    seen.expect(
        Step::User,
        format!("each within {} ms", ANSWER_WITHIN.as_millis()),
        slowest < ANSWER_WITHIN,
        format!("the slowest in {} ms, {late} above 600 ms", slowest.as_millis()),
    );
}

/// Nothing comes and nothing ends: the next heartbeat is up to 15 s away.
async fn stays_open(stream: &mut Response, seen: &mut Observations) {
    let mut ended = None;
    while let Ok(read) = timeout(Duration::from_secs(1), stream.chunk()).await {
        if !matches!(&read, Ok(Some(_))) {
            ended = Some(format!("{read:?}"));
            break;
        }
    }
    let found = ended.clone().unwrap_or_else(|| "open".to_owned());
    seen.expect(Step::User, "a stream that was open stays open", ended.is_none(), found);
}

/// What only the tier could tell the second instance, the promoted server told it.
async fn preserved(house: &House, kept: &[Stolen], seen: &mut Observations) -> anyhow::Result<()> {
    let thief = Thief::with(house, 1)?;
    let mut refused = 0;
    for stolen in kept {
        refused += usize::from(thief.send(1, stolen).await == Answer::Refused);
    }
    seen.expect(
        Step::Recovery,
        "nothing the tier knew is lost: the other instance refuses what was used before",
        refused == kept.len(),
        format!("{refused} of {}", kept.len()),
    );
    let fresh = thief.fresh(1).await?;
    let expected = "and the same sign-in goes on";
    seen.expect(Step::Recovery, expected, fresh == Answer::Accepted, format!("{fresh:?}"));
    Ok(())
}

async fn is_whole(house: &House) -> anyhow::Result<bool> {
    Ok(house.dashboard().await.is_whole())
}

async fn is_noticed(house: &House) -> anyhow::Result<bool> {
    let (status, down) = house.readiness(&house.stack.info().gateway).await?;
    Ok(status == 503 && down == ["session-tier"])
}

async fn are_ready(house: &House) -> anyhow::Result<bool> {
    for gateway in house.gateways() {
        if house.readiness(&gateway).await?.0 != 200 {
            return Ok(false);
        }
    }
    Ok(true)
}
