//! Postgres and the two Redis servers of one data folder: the stack's dependencies, and all that
//! tests need.

use std::path::PathBuf;
use std::time::Duration;

use crate::binaries::Binaries;
use crate::data_dir::{DataDir, DataDirLock};
use crate::ports::{Claims, Ports};
pub use crate::postgres::Durability;
use crate::postgres::Server;
use crate::progress::Progress;
use crate::redis::Tier;
use crate::run_as::{RunAs, remove_any};
use crate::secrets::Secrets;
use crate::supervisor::{Process, Supervisor};
use crate::{postgres, redis};

const READY_WITHIN: Duration = Duration::from_secs(60);

/// Names of the three processes.
pub const POSTGRES: &str = postgres::PROCESS_NAME;
pub const REDIS_SESSION: &str = Tier::Session.name();
pub const REDIS_CACHE: &str = Tier::Cache.name();

/// Ports of the three servers on 127.0.0.1.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DependencyPorts {
    pub(crate) postgres: u16,
    pub(crate) session: u16,
    pub(crate) cache: u16,
}

impl DependencyPorts {
    pub(crate) fn choose(ports: &mut Ports) -> anyhow::Result<Self> {
        Ok(Self {
            postgres: ports.choose(POSTGRES)?,
            session: ports.choose(REDIS_SESSION)?,
            cache: ports.choose(REDIS_CACHE)?,
        })
    }
}

/// The three servers, once they are ready.
#[derive(Debug)]
pub struct Dependencies {
    pub postgres: Process,
    pub session: Process,
    pub cache: Process,
    /// URL of the administrator role, which owns every table.
    pub admin_url: String,
    pub session_url: String,
    pub cache_url: String,
}

impl Dependencies {
    pub(crate) async fn start(
        folder: &DataDir,
        supervisor: &Supervisor,
        ports: DependencyPorts,
        secrets: &Secrets,
        durability: Durability,
        progress: &Progress,
    ) -> anyhow::Result<Self> {
        let user = RunAs::choose()?;
        let user = user.as_ref();
        let programs = Binaries::find(user, progress).await?;
        let step = progress.step("Postgres and Redis");
        let redis = |tier, port| {
            redis::spec(folder, &programs.redis, user, tier, port, &secrets.redis)
                .map(|spec| supervisor.launch(spec))
        };
        let session = redis(Tier::Session, ports.session)?;
        let cache = redis(Tier::Cache, ports.cache)?;
        let (program, password) = (&programs.postgres, &secrets.postgres_admin);
        let postgres = Server { folder, program, user, port: ports.postgres, password };
        let spec = postgres.prepare(durability).await?;
        let dependencies = Self {
            postgres: supervisor.launch(spec),
            session,
            cache,
            admin_url: postgres::admin_url(ports.postgres, password),
            session_url: redis::url(ports.session, &secrets.redis),
            cache_url: redis::url(ports.cache, &secrets.redis),
        };
        for process in dependencies.processes() {
            process.wait_ready(READY_WITHIN).await?;
        }
        step.done(format!(
            "Postgres {} and Redis {}, private to this folder",
            program.version, programs.redis.version
        ));
        Ok(dependencies)
    }

    pub fn processes(&self) -> [&Process; 3] {
        [&self.postgres, &self.session, &self.cache]
    }

    /// Stops all three at once.
    pub async fn stop(&self) {
        tokio::join!(self.postgres.stop(), self.session.stop(), self.cache.stop());
    }
}

/// Private, empty dependencies for one test run. Nothing is durable.
#[derive(Debug)]
pub struct TestDependencies {
    pub dependencies: Dependencies,
    // Dropped in order: the servers end before the folder is unlocked.
    supervisor: Supervisor,
    claims: Claims,
    lock: DataDirLock,
}

impl TestDependencies {
    /// Starts the servers in `path`, after removing what an earlier run left there.
    pub async fn start(path: PathBuf, progress: &Progress) -> anyhow::Result<Self> {
        let folder = DataDir::open(&path)?;
        let lock = folder.lock()?;
        folder.require_space()?;
        postgres::end_predecessor(&folder.join(POSTGRES).join("data")).await?;
        for name in [POSTGRES, REDIS_SESSION, REDIS_CACHE] {
            remove_any(&folder.join(name))?;
        }
        let secrets = Secrets::load_or_make(&folder)?;
        let mut ports = Ports::open(&folder);
        let chosen = DependencyPorts::choose(&mut ports)?;
        let claims = ports.release()?;
        let (supervisor, _) = Supervisor::start()?;
        let durability = Durability::None;
        let dependencies =
            Dependencies::start(&folder, &supervisor, chosen, &secrets, durability, progress)
                .await?;
        Ok(Self { dependencies, supervisor, claims, lock })
    }

    pub async fn stop(self) {
        self.dependencies.stop().await;
        drop(self.supervisor);
        drop(self.claims);
        drop(self.lock);
    }
}
