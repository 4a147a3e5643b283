//! Standbys of the session tier and of Postgres, for failover drills. `./up` starts none, because they
//! would protect nothing on one machine.

use anyhow::Context;
use url::Url;

use super::{READY_WITHIN, Stack};
use crate::binaries::Binaries;
use crate::ports::Ports;
use crate::postgres::{self, Server};
use crate::progress::Progress;
use crate::redis::{self, Tier};
use crate::run_as::RunAs;
use crate::secrets::Secrets;

pub const SESSION_STANDBY: &str = "redis-session-standby";
pub const POSTGRES_STANDBY: &str = postgres::STANDBY_NAME;

impl Stack {
    /// Starts a replica of the session tier and returns its URL. It is not promoted automatically.
    pub async fn start_session_standby(&mut self) -> anyhow::Result<String> {
        let user = RunAs::choose()?;
        let programs = Binaries::find(user.as_ref(), &Progress::quiet()).await?;
        let password = Secrets::load_or_make(&self.folder)?.redis;
        let of = Url::parse(&self.dependencies.session_url)?.port();
        let of = of.context("the session tier's URL names its port")?;
        let tier = Tier::SessionStandby { of };
        let mut ports = Ports::open(&self.folder);
        let port = ports.choose(SESSION_STANDBY)?;
        self.claims.push(ports.release()?);
        let program = &programs.redis;
        let spec = redis::spec(&self.folder, program, user.as_ref(), tier, port, &password)?;
        let process = self.supervisor.launch(spec);
        process.wait_ready(READY_WITHIN).await?;
        self.processes.insert(SESSION_STANDBY.to_owned(), process);
        Ok(redis::url(port, &password))
    }

    /// Starts a standby of Postgres and returns the administrator's URL. It is neither promoted nor made
    /// synchronous automatically.
    pub async fn start_postgres_standby(&mut self) -> anyhow::Result<String> {
        let user = RunAs::choose()?;
        let programs = Binaries::find(user.as_ref(), &Progress::quiet()).await?;
        let password = Secrets::load_or_make(&self.folder)?.postgres_admin;
        let primary = Url::parse(&self.dependencies.admin_url)?.port();
        let primary = primary.context("the administrator's URL names its port")?;
        let mut ports = Ports::open(&self.folder);
        let port = ports.choose(POSTGRES_STANDBY)?;
        self.claims.push(ports.release()?);
        let (folder, program, user) = (&self.folder, &programs.postgres, user.as_ref());
        let server = Server { folder, program, user, port, password: &password };
        let spec = server.prepare_standby(primary).await?;
        let process = self.supervisor.launch(spec);
        process.wait_ready(READY_WITHIN).await?;
        self.processes.insert(POSTGRES_STANDBY.to_owned(), process);
        Ok(postgres::admin_url(port, &password))
    }
}
