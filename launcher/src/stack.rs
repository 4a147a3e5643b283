//! Starts the whole stack in order, keeps `stack.json` true, and stops it in reverse.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use contracts::clock::Clock;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::backing::{Backing, BackingPorts, Durability};
use crate::builder::{Build, programs, workspace_root};
use crate::databases;
use crate::edge_rules;
use crate::folder::{DataFolder, FolderLock};
use crate::info::{self, StackInfo};
use crate::ports::{Claims, Ports, require_free};
use crate::progress::Progress;
use crate::secrets::{Secrets, signing_key};
use crate::seed;
use crate::servers::{
    Front, GATEWAY, SECOND_GATEWAY, SERVICES, STAND_INS, ServerPorts, Wiring, http, public_url,
};
use crate::service_accounts::{self, ServiceAccounts};
use crate::supervisor::{Notice, Process, Supervisor};
use crate::tls::Tls;

mod standby;

pub use standby::SESSION_STANDBY;

const READY_WITHIN: Duration = Duration::from_secs(30);
const API: &str = "/api/bff/backoffice/v1";

/// The port of the gateway when nothing else is asked.
pub const USUAL_PORT: u16 = 8083;

#[derive(Debug, Clone)]
pub struct StackOptions {
    /// Everything the stack keeps. Two stacks need two folders.
    pub folder: PathBuf,
    /// `None`: any free one.
    pub gateway_port: Option<u16>,
    /// One more instance of the gateway, on the same stores and keys.
    pub second_gateway: Option<Front>,
    /// Whether the gateway reaches the services through the stand-ins, whose faults then hit them.
    pub faults_on_services: bool,
    pub build: Build,
    /// Whether a child that ends by itself is started again.
    pub keep_alive: bool,
    /// Further environment variables (full names), by child.
    pub environment: BTreeMap<String, BTreeMap<String, String>>,
    /// Decides which days the demo data covers.
    pub clock: Clock,
}

impl Default for StackOptions {
    fn default() -> Self {
        Self {
            folder: workspace_root().join(".local"),
            gateway_port: Some(USUAL_PORT),
            second_gateway: None,
            faults_on_services: false,
            build: Build::Dev,
            keep_alive: true,
            environment: BTreeMap::new(),
            clock: Clock::system(),
        }
    }
}

/// A running stack. Dropping it kills every child; [`Stack::stop`] is the polite way.
#[derive(Debug)]
pub struct Stack {
    info: StackInfo,
    processes: BTreeMap<String, Process>,
    backing: Backing,
    notices: UnboundedReceiver<Notice>,
    folder: DataFolder,
    // Fields are dropped in order: the children end before others may use the folder.
    supervisor: Supervisor,
    claims: Vec<Claims>,
    lock: FolderLock,
}

impl Stack {
    /// Returns when every child has answered its ready check and `stack.json` is there.
    pub async fn start(options: StackOptions, progress: &Progress) -> anyhow::Result<Self> {
        let folder = DataFolder::open(&options.folder)?;
        let lock = folder.lock()?;
        folder.require_space()?;
        remove_stack_file(&folder)?;
        if let Some(port) = options.gateway_port {
            require_free(port)?;
        }
        let programs = programs(&options.build).await?;
        let secrets = Secrets::load_or_make(&folder)?;
        let mut ports = Ports::open(&folder);
        let backing_ports = BackingPorts::choose(&mut ports)?;
        let also = (options.second_gateway, options.faults_on_services);
        let server_ports = ServerPorts::choose(&mut ports, options.gateway_port, also)?;
        let claims = ports.release()?;
        let (supervisor, notices) = Supervisor::start()?;
        let durability = Durability::Full;
        let backing =
            Backing::start(&folder, &supervisor, backing_ports, &secrets, durability, progress)
                .await?;
        let wiring = Wiring {
            tls: Tls::load_or_make(&folder, &options.clock)?,
            request_token_key: signing_key(&folder, "request-token")?,
            iam_key: signing_key(&folder, "iam")?,
            oidc_key: signing_key(&folder, "oidc")?,
            accounts: ServiceAccounts::load_or_make(&folder)?,
            edge_rules: edge_rules::load_or_make(&folder)?,
            postgres_urls: databases::provision(&backing.admin_url, &secrets, progress).await?,
            session_url: backing.session_url.clone(),
            cache_url: backing.cache_url.clone(),
            extra: options.environment.clone(),
            folder: folder.clone(),
            ports: server_ports,
            programs,
        };
        seed::write(&backing.admin_url, &options.clock, progress).await?;
        let processes = launch_servers(&supervisor, &wiring, progress).await?;
        let info = describe(&wiring, &backing, &processes, &options.clock)?;
        let claims = vec![claims];
        let stack = Self { info, processes, backing, notices, folder, supervisor, claims, lock };
        for process in stack.all() {
            process.keep_alive(options.keep_alive).await?;
        }
        stack.info.write(&stack.folder.stack_file())?;
        Ok(stack)
    }

    pub fn info(&self) -> &StackInfo {
        &self.info
    }

    /// By name: bff, bff-2, inventory, housekeeping, staff, stand-ins, postgres, redis-session,
    /// redis-session-standby, redis-cache.
    pub fn process(&self, name: &str) -> anyhow::Result<&Process> {
        self.all()
            .find(|process| process.name() == name)
            .with_context(|| format!("the stack has no process {name}"))
    }

    /// Servers first, then what they stand on.
    pub fn all(&self) -> impl Iterator<Item = &Process> {
        self.processes.values().chain(self.backing.processes())
    }

    /// Waits for the next thing that happens to a child, and keeps `stack.json` true.
    pub async fn next_notice(&mut self) -> anyhow::Result<Option<Notice>> {
        let Some(notice) = self.notices.recv().await else { return Ok(None) };
        if let Notice::Restarted { name, pid, .. } = &notice {
            self.info.set_pid(name, *pid);
            self.info.write(&self.folder.stack_file())?;
        }
        Ok(Some(notice))
    }

    /// Ends a child politely, starts it again and waits until it is ready.
    pub async fn restart(&mut self, name: &str) -> anyhow::Result<u32> {
        let process = self.process(name)?.clone();
        let pid = process.restart().await?;
        process.wait_ready(READY_WITHIN).await?;
        self.info.set_pid(name, pid);
        self.info.write(&self.folder.stack_file())?;
        Ok(pid)
    }

    /// In reverse order of the start: gateways, servers, Postgres and Redis. Leaves no process.
    pub async fn stop(self) -> anyhow::Result<()> {
        remove_stack_file(&self.folder)?;
        let gateways = [GATEWAY, SECOND_GATEWAY].map(|name| self.processes.get(name));
        let gateways = gateways.into_iter().flatten().map(Process::stop);
        futures_util::future::join_all(gateways).await;
        let others = self.processes.values().map(Process::stop);
        futures_util::future::join_all(others).await;
        self.backing.stop().await;
        drop(self.supervisor);
        drop(self.claims);
        drop(self.lock);
        Ok(())
    }
}

fn remove_stack_file(folder: &DataFolder) -> anyhow::Result<()> {
    crate::run_as::remove_any(&folder.stack_file())
}

/// All at once: each waits for what it needs by itself, and says when it is ready.
async fn launch_servers(
    supervisor: &Supervisor,
    wiring: &Wiring,
    progress: &Progress,
) -> anyhow::Result<BTreeMap<String, Process>> {
    let step = progress.step("Stand-ins, inventory, housekeeping, staff and the gateway");
    let mut specs = vec![wiring.stand_ins()?];
    for name in SERVICES {
        specs.push(wiring.service(name)?);
    }
    specs.push(wiring.gateway()?);
    specs.extend(wiring.second_gateway()?);
    let processes: Vec<Process> = specs.into_iter().map(|spec| supervisor.launch(spec)).collect();
    let ready = processes.iter().map(|process| process.wait_ready(READY_WITHIN));
    futures_util::future::try_join_all(ready).await?;
    step.done("Stand-ins, inventory, housekeeping, staff and the gateway are ready");
    Ok(processes.into_iter().map(|process| (process.name().to_owned(), process)).collect())
}

fn describe(
    wiring: &Wiring,
    backing: &Backing,
    processes: &BTreeMap<String, Process>,
    clock: &Clock,
) -> anyhow::Result<StackInfo> {
    let pid = |process: &Process| process.pid().context("a ready process runs");
    let server =
        |name: &str, url: String| anyhow::Ok(info::Server { url, pid: pid(&processes[name])? });
    let ports = &wiring.ports;
    let mut services = BTreeMap::new();
    for name in SERVICES {
        services.insert(name.to_owned(), server(name, http(ports.services[name]))?);
    }
    let gateway = |name: &str, base_url: String, internal| {
        let internal_url = http(internal);
        let (api_url, pid) = (format!("{base_url}{API}"), pid(&processes[name])?);
        anyhow::Ok(info::Gateway { base_url, api_url, internal_url, pid })
    };
    let second = ports.second_gateway;
    let second = second.map(|ports| gateway(SECOND_GATEWAY, ports.url(), ports.internal));
    Ok(StackInfo {
        launcher_pid: std::process::id(),
        gateway: gateway(GATEWAY, public_url(ports.gateway), ports.gateway_internal)?,
        second_gateway: second.transpose()?,
        ca_file: wiring.tls.ca_file.clone(),
        iam: info::Iam { issuer: wiring.issuer() },
        internal: internal(wiring),
        services,
        stand_ins: server(STAND_INS, http(ports.stand_ins))?,
        postgres: info::Postgres {
            pid: pid(&backing.postgres)?,
            admin_url: backing.admin_url.clone(),
            urls: wiring.postgres_urls.clone(),
        },
        redis: info::Redis {
            session: info::Server { url: backing.session_url.clone(), pid: pid(&backing.session)? },
            cache: info::Server { url: backing.cache_url.clone(), pid: pid(&backing.cache)? },
        },
        operators: seed::operators(clock),
    })
}

fn internal(wiring: &Wiring) -> info::Internal {
    let account = |(name, secret): (&str, &str)| {
        let (email, secret) = (service_accounts::email(name), secret.to_owned());
        (name.to_owned(), info::ServiceAccount { email, secret })
    };
    info::Internal {
        issuer: wiring.accounts_issuer(),
        audience: wiring.audience(),
        accounts: wiring.accounts.all().map(account).collect(),
    }
}
