//! The private Postgres: creates its cluster, describes how to start it, and ends a server that a
//! killed launcher left running.
//!
//! Not here: databases, roles and tables, which `migrations` creates.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Command;
use tokio::time::{sleep, timeout};

use crate::binaries::Binary;
use crate::data_dir::{DataDir, write_private};
use crate::readiness::ReadyCheck;
use crate::run_as::{RunAs, give_to, owned_dir, remove_any};
use crate::supervisor::{ChildSpec, StopSignal};
use crate::user_error::UserError;

pub(crate) const PROCESS_NAME: &str = "postgres";
pub(crate) const STANDBY_NAME: &str = "postgres-standby";
const ADMIN_ROLE: &str = "melmastoon_admin";
const DRAIN_TIMEOUT: Duration = Duration::from_secs(15);

/// Whether a commit reaches the disk before it is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    Full,
    /// For tests: faster, but lost in a crash.
    None,
}

pub(crate) fn admin_url(port: u16, password: &str) -> String {
    format!("postgres://{ADMIN_ROLE}:{password}@127.0.0.1:{port}/postgres")
}

/// The program, user, port and password of a server.
pub(crate) struct Server<'a> {
    pub(crate) folder: &'a DataDir,
    pub(crate) program: &'a Binary,
    pub(crate) user: Option<&'a RunAs>,
    pub(crate) port: u16,
    pub(crate) password: &'a str,
}

impl Server<'_> {
    /// Creates the cluster if it is missing, ends an earlier server that still runs on it, and returns
    /// how to start the new one.
    pub(crate) async fn prepare(&self, durability: Durability) -> anyhow::Result<ChildSpec> {
        let dir = owned_dir(self.folder, PROCESS_NAME, self.user)?;
        let data = dir.join("data");
        check_version(self.folder, &data, self.program)?;
        if !data.join("PG_VERSION").is_file() {
            self.init(&dir, &data).await?;
        }
        end_predecessor(&data).await?;
        Ok(self.spec(PROCESS_NAME, dir, durability))
    }

    /// Copies the running server on port `primary`, and returns how to start the copy as its standby.
    pub(crate) async fn prepare_standby(&self, primary: u16) -> anyhow::Result<ChildSpec> {
        let dir = owned_dir(self.folder, STANDBY_NAME, self.user)?;
        let data = dir.join("data");
        end_predecessor(&data).await?;
        remove_any(&data)?;
        let mut command = as_user(self.user, &self.program.path.join("pg_basebackup"));
        command
            .args(["--host=127.0.0.1", "--checkpoint=fast", "--wal-method=stream", "--no-sync"])
            .args(["--write-recovery-conf", "--no-password"])
            .args([format!("--port={primary}"), format!("--username={ADMIN_ROLE}")])
            .arg("--pgdata")
            .arg(&data)
            .envs(self.program.env.iter().map(|(name, value)| (name, value)))
            .env("PGPASSWORD", self.password)
            .current_dir(&dir);
        let output =
            command.stdin(Stdio::null()).output().await.context("running pg_basebackup")?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            bail!("pg_basebackup could not copy the database: {}", said.trim());
        }
        Ok(self.spec(STANDBY_NAME, dir, Durability::Full))
    }

    /// Runs `initdb` in a draft folder first, so that an interrupted run leaves no partial cluster.
    async fn init(&self, dir: &Path, data: &Path) -> anyhow::Result<()> {
        let draft = dir.join("draft");
        remove_any(&draft)?;
        remove_any(data)?;
        let password_file = dir.join("password");
        write_private(&password_file, self.password.as_bytes())?;
        give_to(self.user, &password_file)?;
        let mut command = as_user(self.user, &self.program.path.join("initdb"));
        command
            .args(["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync"])
            .args(["--no-instructions", &format!("--username={ADMIN_ROLE}")])
            .arg("--pwfile")
            .arg(&password_file)
            .arg("--pgdata")
            .arg(&draft)
            .envs(self.program.env.iter().map(|(name, value)| (name, value)))
            .current_dir(dir);
        let output = command.stdin(Stdio::null()).output().await.context("running initdb")?;
        remove_any(&password_file)?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            if said.contains("No space left on device") {
                return Err(UserError::DiskFull.into());
            }
            bail!("initdb could not make the database: {}", said.trim());
        }
        Ok(fs::rename(draft, data)?)
    }

    /// Describes the server on `dir/data`.
    fn spec(&self, name: &str, dir: PathBuf, durability: Durability) -> ChildSpec {
        let data = dir.join("data");
        ChildSpec {
            name: name.to_owned(),
            program: self.program.path.join("postgres"),
            args: arguments(&data, self.port, durability),
            env: self.program.env.clone(),
            dir,
            exclusive_dir: Some(data),
            log: self.folder.log(name),
            run_as: self.user.cloned(),
            stop: StopSignal::Interrupt,
            drain: DRAIN_TIMEOUT,
            ready: ReadyCheck::Postgres { url: admin_url(self.port, self.password) },
        }
    }
}

fn check_version(folder: &DataDir, data: &Path, program: &Binary) -> anyhow::Result<()> {
    let Ok(made_by) = fs::read_to_string(data.join("PG_VERSION")) else { return Ok(()) };
    let made_by = made_by.trim().to_owned();
    let found = program.version.clone();
    if found.split('.').next() == Some(&made_by) {
        return Ok(());
    }
    Err(UserError::OtherPostgres { folder: folder.root().to_owned(), made_by, found }.into())
}

fn as_user(user: Option<&RunAs>, program: &Path) -> Command {
    let Some(user) = user else { return Command::new(program) };
    let mut command = Command::new("setpriv");
    command.args(user.setpriv_args()).arg("--").arg(program);
    command
}

fn arguments(data: &Path, port: u16, durability: Durability) -> Vec<OsString> {
    let safe = if durability == Durability::Full { "on" } else { "off" };
    let settings = [
        format!("port={port}"),
        "listen_addresses=127.0.0.1".to_owned(),
        // No socket file: /tmp and /run belong to servers that may already run.
        "unix_socket_directories=".to_owned(),
        "max_connections=200".to_owned(),
        "shared_buffers=128MB".to_owned(),
        "wal_level=replica".to_owned(),
        "max_wal_size=256MB".to_owned(),
        format!("fsync={safe}"),
        format!("synchronous_commit={safe}"),
        format!("full_page_writes={safe}"),
        "jit=off".to_owned(),
        "timezone=UTC".to_owned(),
        "log_timezone=UTC".to_owned(),
        "logging_collector=off".to_owned(),
        "log_line_prefix=%m [%p] %d ".to_owned(),
    ];
    let mut arguments: Vec<OsString> = vec!["-D".into(), data.into()];
    for setting in settings {
        arguments.extend(["-c".into(), setting.into()]);
    }
    arguments
}

/// Ends an earlier server. A killed launcher leaves one that is still shutting down, or a stale pid
/// file whose pid another process may have taken.
pub(crate) async fn end_predecessor(data: &Path) -> anyhow::Result<()> {
    let pid_file = data.join("postmaster.pid");
    let Ok(text) = fs::read_to_string(&pid_file) else { return Ok(()) };
    let pid = text.lines().next().and_then(|line| line.trim().parse::<i32>().ok());
    let Some(pid) = pid.and_then(Pid::from_raw) else { return remove_any(&pid_file) };
    for signal in [Signal::INT, Signal::QUIT, Signal::KILL] {
        if !serves(pid, data) {
            break;
        }
        // It may end between the check and the signal.
        let _ = kill_process(pid, signal);
        let _ = kill_process(pid, Signal::CONT);
        let gone = async {
            while serves(pid, data) {
                sleep(Duration::from_millis(10)).await;
            }
        };
        // If it still runs then, the next signal is stronger.
        let _ = timeout(Duration::from_secs(5), gone).await;
    }
    remove_any(&pid_file)
}

/// Whether `pid` is a Postgres on this data directory.
fn serves(pid: Pid, data: &Path) -> bool {
    let path = PathBuf::from(format!("/proc/{}/cmdline", pid.as_raw_nonzero()));
    let command = fs::read(path).unwrap_or_default();
    command.split(|byte| *byte == 0).any(|word| word == data.as_os_str().as_encoded_bytes())
}
