//! The gateway's name: first its primary name server does not respond, and the secondary one is asked.
//! Then the record itself is wrong, at both servers: no new connection finds the gateway, desktops work
//! offline and the uptime probe fails, although the gateway is ready. A restored record is used as soon
//! as the wrong one has expired.
//!
//! An open connection needs no name; the drill's desktop keeps none.

use std::net::Ipv4Addr;
use std::time::Duration;

use contracts::clock::Clock;
use launcher::desktop::Desktop;
use launcher::http_client;
use tokio::time::Instant;

use crate::client;
use crate::drill_env::DrillEnv;
use crate::drill_run::{Drill, DrillFuture, DrillRun, EnvAfter};
use crate::lock_fixture::{self, LockFixture};
use crate::name_servers::{NameResponse, TTL};
use crate::sync_client;
use crate::uptime_probe::METRIC;

const ALERT: &str = "BffUnreachableByName";
/// The last address may be cached for its time to live.
const DETECT_WITHIN: Duration = Duration::from_secs(10);
/// Nothing listens there.
const WRONG_ADDRESS: NameResponse = NameResponse::Address(Ipv4Addr::new(127, 0, 0, 2));

pub(super) struct Dns;

impl Drill for Dns {
    fn leaves(&self) -> EnvAfter {
        EnvAfter::Unchanged
    }

    fn run<'a>(&'a self, run: &'a mut DrillRun) -> DrillFuture<'a> {
        Box::pin(run_drill(run))
    }
}

/// The operator's desktop, which resolves the gateway's name for each request.
struct ByName {
    desktop: Desktop,
    lock: LockFixture,
}

impl ByName {
    async fn open(env: &DrillEnv) -> anyhow::Result<Self> {
        let (info, folder) = (env.stack.info(), env.folder.join("desktop"));
        let username = &env.desktop.operator().username;
        let http = http_client::resolving(&info.ca_file, env.uptime.names.resolver())?;
        let desktop = Desktop::open(info, username, &folder, Clock::system())?.with_http(http);
        Ok(Self { desktop, lock: LockFixture::find(env).await? })
    }

    async fn is_whole(&self, env: &DrillEnv) -> anyhow::Result<bool> {
        Ok(env.dashboard_at(&self.desktop, &env.property).await.is_whole())
    }
}

async fn run_drill(run: &mut DrillRun) -> anyhow::Result<()> {
    let whole = run.until_whole().await;
    run.steady_within("every widget is ok", whole);
    let by_name = ByName::open(&run.env).await?;
    let is_whole = async |env: &DrillEnv| by_name.is_whole(env).await;
    let whole = run.env.wait_until("a whole dashboard", run.objective, is_whole).await;
    run.steady_within("every widget is ok by name", whole);
    let reached = run.env.is_reached_by_name().await?;
    run.steady(format!("{METRIC} is 1"), reached, reached);

    lose_primary(run, &by_name).await?;
    let fault = Instant::now();
    let observing = lose_record(run, &by_name, WRONG_ADDRESS, "leads to an address of nobody");
    let key = run.raised_during(&[ALERT], fault, observing).await??;
    restore_record(run, &by_name, &key).await?;
    let key = lose_record(run, &by_name, NameResponse::Missing, "does not exist").await?;
    restore_record(run, &by_name, &key).await
}

async fn lose_primary(run: &DrillRun, by_name: &ByName) -> anyhow::Result<()> {
    let names = &run.env.uptime.names;
    let before = names.secondary_queries();
    names.silence_primary();
    run.inject("the primary name server does not respond");
    let (mut whole, mut all) = (0, 0);
    // Until the cached address has expired, so that the name is resolved again.
    let begun = Instant::now();
    while begun.elapsed() < TTL * 2 {
        all += 1;
        whole += usize::from(by_name.is_whole(&run.env).await?);
    }
    run.user("every dashboard is whole", whole == all, format!("{whole} of {all}"));
    let asked = names.secondary_queries() - before;
    run.automatic("the secondary name server is asked", asked > 0, format!("{asked} queries"));
    let reached = run.env.is_reached_by_name().await?;
    run.automatic(format!("{METRIC} is still 1"), reached, reached);
    names.restore();
    Ok(())
}

/// Returns the idempotency key of a change that the desktop could not send.
async fn lose_record(
    run: &DrillRun,
    by_name: &ByName,
    response: NameResponse,
    how: &str,
) -> anyhow::Result<String> {
    run.env.uptime.names.set(response);
    run.inject(format!("the gateway's name {how}, at both name servers"));
    let is_lost = async |env: &DrillEnv| {
        Ok(env.dashboard_at(&by_name.desktop, &env.property).await.status.is_none())
    };
    let lost = run.env.wait_until("no response", DETECT_WITHIN, is_lost).await;
    run.user_within("no new connection reaches the gateway", lost);
    let is_noticed = async |env: &DrillEnv| Ok(!env.is_reached_by_name().await?);
    let noticed = run.env.wait_until(METRIC, DETECT_WITHIN, is_noticed).await;
    let took = run.detect_within(format!("{METRIC} is 0"), noticed);
    run.detected_after(took);
    let ready = run.env.readiness(&run.env.stack.info().gateway).await?;
    let held = ready == (200, vec![]);
    run.detect("the gateway itself is ready", held, format!("{ready:?}"));

    let key = client::new_key();
    let sent = client::send(&by_name.desktop, &by_name.lock.issue(&key)?).await;
    let said = sent.map_or_else(|error| format!("{error:#}"), |answer| answer.to_string());
    let held = said.contains("The gateway does not respond");
    run.user("a change cannot be sent, and the desktop says so", held, said);
    let issued = lock_fixture::keys_issued(&run.env, &key).await?;
    run.user("and has no effect", issued == 0, issued);
    Ok(key)
}

/// Restores the record. The desktop comes back online and sends the change of before.
async fn restore_record(run: &DrillRun, by_name: &ByName, key: &str) -> anyhow::Result<()> {
    run.env.uptime.names.restore();
    let begun = Instant::now();
    let is_whole = async |env: &DrillEnv| by_name.is_whole(env).await;
    let back = run.env.wait_until("a whole dashboard", run.objective, is_whole).await;
    run.recover_within("every widget is ok by name again", back);
    let reached = run.env.wait_until(METRIC, run.objective, DrillEnv::is_reached_by_name).await;
    let reached = reached.map(|_| begun.elapsed());
    run.recover_within(format!("{METRIC} is 1 again"), reached);
    let handshake = sync_client::send_handshake(&by_name.desktop).await;
    let held = handshake.status == 200;
    run.recover("the desktop reconnects with a handshake", held, handshake.summary());
    let answer = client::send(&by_name.desktop, &by_name.lock.issue(key)?).await?;
    run.recover("and its change of before is executed", answer.status == 201, &answer);
    let issued = lock_fixture::keys_issued(&run.env, key).await?;
    run.recover("once", issued == 1, issued);
    Ok(())
}
