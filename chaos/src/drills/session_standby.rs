//! A standby of the session tier's server, behind one address that the gateways use.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use redis::InfoDict;
use redis::aio::MultiplexedConnection;
use reqwest::Url;
use tokio::time::{Instant, sleep};

use crate::drill_env::{DrillEnv, connect};
use crate::drill_run::DrillRun;
use crate::proxy::Proxy;

const URL_SETTING: &str = "MELMASTOON_REDIS__SESSION_URL";
const IN_STEP_WITHIN: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(40);

pub(super) struct SessionStandby {
    /// The address.
    proxy: Proxy,
    address: SocketAddr,
    connection: MultiplexedConnection,
}

impl SessionStandby {
    /// Starts the standby and puts the proxy between these gateways and the tier.
    pub(super) async fn start(env: &mut DrillEnv, gateways: &[&str]) -> anyhow::Result<Self> {
        let mut url = Url::parse(&env.stack.info().redis.session.url)?;
        let standby = Url::parse(&env.stack.start_session_standby().await?)?;
        let proxy = Proxy::start(address(&url)?).await?;
        let port = Some(proxy.address.port());
        url.set_port(port).ok().context("a Redis URL has a port")?;
        for name in gateways {
            env.stack.process(name)?.set_env(URL_SETTING, url.as_str()).await?;
            env.stack.restart(name).await?;
        }
        env.reconnect()?;
        // Otherwise replication waits five seconds for further replicas.
        let mut tier = env.session_tier().await?;
        let mut setting = redis::cmd("CONFIG");
        setting.arg("SET").arg("repl-diskless-sync-delay").arg(0);
        setting.query_async::<()>(&mut tier).await?;
        let connection = connect(standby.as_str()).await?;
        Ok(Self { proxy, address: address(&standby)?, connection })
    }

    pub(super) async fn check_in_step(&mut self, run: &DrillRun) {
        let in_step = self.until_in_step(&run.env).await;
        run.steady_within("the standby holds what the tier holds", in_step);
    }

    async fn until_in_step(&mut self, env: &DrillEnv) -> anyhow::Result<Duration> {
        let (mut tier, begun) = (env.session_tier().await?, Instant::now());
        while begun.elapsed() < IN_STEP_WITHIN {
            let ours = replication(&mut self.connection).await?;
            let theirs = replication(&mut tier).await?;
            let is_linked = ours.get::<String>("master_link_status").as_deref() == Some("up");
            let offsets = (ours.get::<u64>("slave_repl_offset"), theirs.get("master_repl_offset"));
            if is_linked && offsets.0.is_some() && offsets.0 >= offsets.1 {
                return Ok(begun.elapsed());
            }
            sleep(PAUSE).await;
        }
        anyhow::bail!("the standby had not caught up within {} s", IN_STEP_WITHIN.as_secs())
    }

    /// Promotes the standby and moves the address.
    pub(super) async fn promote(&mut self) -> anyhow::Result<()> {
        let mut promoting = redis::cmd("REPLICAOF");
        promoting.arg("NO").arg("ONE");
        promoting.query_async::<()>(&mut self.connection).await?;
        self.proxy.retarget(self.address);
        Ok(())
    }
}

fn address(url: &Url) -> anyhow::Result<SocketAddr> {
    let port = url.port().context("a Redis URL names its port")?;
    Ok(SocketAddr::from(([127, 0, 0, 1], port)))
}

async fn replication(server: &mut MultiplexedConnection) -> anyhow::Result<InfoDict> {
    Ok(redis::cmd("INFO").arg("replication").query_async(server).await?)
}
