//! Postgres and the two Redis servers, private to one data folder: what the stack
//! stands on, and all that tests need.

use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;

use crate::folder::{DataFolder, FolderLock};
use crate::ports::{Claims, Ports};
pub use crate::postgres::Durability;
use crate::programs::Programs;
use crate::progress::Progress;
use crate::redis::Tier;
use crate::run_as::{RunAs, remove_any};
use crate::secrets::Secrets;
use crate::supervisor::{Notice, Process, Supervisor};
use crate::{postgres, redis};

const READY_WITHIN: Duration = Duration::from_secs(60);

/// Names of the three processes.
pub const POSTGRES: &str = postgres::NAME;
pub const REDIS_SESSION: &str = "redis-session";
pub const REDIS_CACHE: &str = "redis-cache";

/// Ports of the three servers on 127.0.0.1.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BackingPorts {
    pub(crate) postgres: u16,
    pub(crate) session: u16,
    pub(crate) cache: u16,
}

impl BackingPorts {
    pub(crate) fn choose(ports: &mut Ports) -> anyhow::Result<Self> {
        Ok(Self {
            postgres: ports.choose(POSTGRES)?,
            session: ports.choose(REDIS_SESSION)?,
            cache: ports.choose(REDIS_CACHE)?,
        })
    }
}

/// The three servers, ready.
#[derive(Debug)]
pub struct Backing {
    pub postgres: Process,
    pub session: Process,
    pub cache: Process,
    /// As the administrator, who owns every table.
    pub admin_url: String,
    pub session_url: String,
    pub cache_url: String,
    pub summary: String,
}

impl Backing {
    pub(crate) async fn start(
        folder: &DataFolder,
        supervisor: &Supervisor,
        ports: BackingPorts,
        secrets: &Secrets,
        durability: Durability,
        progress: &Progress,
    ) -> anyhow::Result<Self> {
        let user = RunAs::choose()?;
        let user = user.as_ref();
        let programs = Programs::find(user, progress).await?;
        let step = progress.step("Postgres and Redis");
        let redis = |tier, port| {
            redis::spec(folder, &programs.redis, user, tier, port, &secrets.redis)
                .map(|spec| supervisor.launch(spec))
        };
        let session = redis(Tier::Session, ports.session)?;
        let cache = redis(Tier::Cache, ports.cache)?;
        let password = &secrets.postgres_admin;
        let program = &programs.postgres;
        let spec =
            postgres::prepare(folder, program, user, ports.postgres, password, durability).await?;
        let backing = Self {
            postgres: supervisor.launch(spec),
            session,
            cache,
            admin_url: postgres::admin_url(ports.postgres, password),
            session_url: redis::url(ports.session, &secrets.redis),
            cache_url: redis::url(ports.cache, &secrets.redis),
            summary: format!(
                "Postgres {} and Redis {}, private to this folder",
                program.version, programs.redis.version
            ),
        };
        for process in backing.processes() {
            process.wait_ready(READY_WITHIN).await?;
        }
        step.done(&backing.summary);
        Ok(backing)
    }

    pub fn processes(&self) -> [&Process; 3] {
        [&self.postgres, &self.session, &self.cache]
    }

    /// All three at once.
    pub async fn stop(&self) {
        tokio::join!(self.postgres.stop(), self.session.stop(), self.cache.stop());
    }
}

/// A backing of its own for a run of tests: an empty data folder, nothing durable.
#[derive(Debug)]
pub struct TestBacking {
    pub backing: Backing,
    notices: UnboundedReceiver<Notice>,
    // Fields are dropped in order: the servers end before others may use the folder.
    supervisor: Supervisor,
    claims: Claims,
    lock: FolderLock,
}

impl TestBacking {
    /// Whatever an earlier run left in `path` is removed.
    pub async fn start(path: PathBuf, progress: &Progress) -> anyhow::Result<Self> {
        let folder = DataFolder::open(&path)?;
        let lock = folder.lock()?;
        folder.require_space()?;
        postgres::end_leftover(&folder).await?;
        for name in [POSTGRES, REDIS_SESSION, REDIS_CACHE] {
            remove_any(&folder.join(name))?;
        }
        let secrets = Secrets::load_or_make(&folder)?;
        let mut ports = Ports::open(&folder);
        let chosen = BackingPorts::choose(&mut ports)?;
        let claims = ports.release()?;
        let (supervisor, notices) = Supervisor::start()?;
        let durability = Durability::None;
        let backing =
            Backing::start(&folder, &supervisor, chosen, &secrets, durability, progress).await?;
        Ok(Self { backing, notices, supervisor, claims, lock })
    }

    /// The next thing that happened to one of the servers; tests go on regardless.
    pub async fn next_notice(&mut self) -> Option<Notice> {
        self.notices.recv().await
    }

    pub async fn stop(self) {
        self.backing.stop().await;
        drop(self.supervisor);
        drop(self.claims);
        drop(self.lock);
    }
}
