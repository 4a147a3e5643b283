//! The primary of Postgres and its standby, behind one address that all programs use. Replication is
//! synchronous, as in a managed database with high availability.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use reqwest::Url;
use tokio::time::Instant;

use crate::drill_env::DrillEnv;
use crate::drill_run::DrillRun;
use crate::gateway_database::GatewayDatabase;
use crate::proxy::Proxy;

const URL_SETTING: &str = "MELMASTOON_POSTGRES__URL";
/// Programs with a database of their own name.
const PROGRAMS: [&str; 4] = ["bff", "inventory", "housekeeping", "staff"];
const IN_STEP_WITHIN: Duration = Duration::from_secs(20);

pub(super) struct DatabaseCluster {
    /// The address.
    pub(super) proxy: Proxy,
    pub(super) primary: GatewayDatabase,
    standby_url: String,
    standby: SocketAddr,
}

impl DatabaseCluster {
    /// Starts the standby, makes it synchronous, and puts the proxy between all programs and the primary.
    pub(super) async fn start(env: &mut DrillEnv) -> anyhow::Result<Self> {
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
            env.stack.process(name)?.set_env(URL_SETTING, url.as_str()).await?;
            env.stack.restart(name).await?;
        }
        env.reconnect()?;
        let standby = address(&standby_url)?;
        Ok(Self { proxy, primary, standby_url, standby })
    }

    pub(super) async fn check_in_step(&self, run: &DrillRun) {
        let in_step = async |_: &DrillEnv| self.is_in_step().await;
        let in_step = run.env.wait_until("the standby", IN_STEP_WITHIN, in_step).await;
        run.steady_within("the standby confirms every commit", in_step);
    }

    /// Whether the standby has all that the primary has flushed, as it has every commit.
    async fn is_in_step(&self) -> anyhow::Result<bool> {
        let sql = "SELECT count(*) FROM pg_stat_replication
                   WHERE sync_state = 'sync' AND flush_lsn >= pg_current_wal_flush_lsn()";
        Ok(self.primary.count(sql, &[]).await? == 1)
    }

    /// Resets settings in the primary's files, because another stack may be started on them.
    pub(super) async fn reset(&self, settings: &[&str]) -> anyhow::Result<()> {
        for setting in settings {
            self.primary.run(&format!("ALTER SYSTEM RESET {setting}")).await?;
        }
        Ok(())
    }

    /// Promotes the standby and moves the address.
    pub(super) async fn promote(&self) -> anyhow::Result<Instant> {
        self.connect_to_standby().await?.run("SELECT pg_promote(true, 30)").await?;
        self.proxy.retarget(self.standby);
        Ok(Instant::now())
    }

    pub(super) async fn connect_to_standby(&self) -> anyhow::Result<GatewayDatabase> {
        GatewayDatabase::connect_to(&self.standby_url).await
    }
}

fn address(url: &str) -> anyhow::Result<SocketAddr> {
    let port = Url::parse(url)?.port().context("a Postgres URL names its port")?;
    Ok(SocketAddr::from(([127, 0, 0, 1], port)))
}
