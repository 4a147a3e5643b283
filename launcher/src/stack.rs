//! Starts the whole stack in order, keeps `stack.json` up to date, and stops in reverse order.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use contracts::clock::Clock;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::builder::{Build, programs, workspace_root};
use crate::data_dir::{DataDir, DataDirLock};
use crate::databases;
use crate::dependencies::{Dependencies, DependencyPorts, Durability};
use crate::edge_rules;
use crate::ports::{Claims, Ports, require_free};
use crate::progress::Progress;
use crate::run_as::remove_any;
use crate::secrets::{Secrets, signing_key};
use crate::seed;
use crate::servers::{
    GATEWAY, ListenerKind, SECOND_GATEWAY, SERVICES, STAND_INS, ServerPorts, Wiring, http,
    public_url,
};
use crate::service_accounts;
use crate::stack_info::{self, StackInfo};
use crate::supervisor::{Notice, Process, Supervisor};
use crate::tls::Tls;

mod standby;

pub use standby::{POSTGRES_STANDBY, SESSION_STANDBY};

const READY_WITHIN: Duration = Duration::from_secs(30);
const API_BASE_PATH: &str = "/api/bff/backoffice/v1";

/// Default port of the gateway.
pub const DEFAULT_PORT: u16 = 8083;

#[derive(Debug, Clone)]
pub struct StackOptions {
    /// Data folder. Two stacks need two folders.
    pub folder: PathBuf,
    /// `None` chooses any free port.
    pub gateway_port: Option<u16>,
    /// Starts a second instance of the gateway, on the same stores and keys.
    pub second_gateway: Option<ListenerKind>,
    /// Whether the gateway reaches the services through the stand-ins, whose faults then apply to them.
    pub faults_on_services: bool,
    pub build: Build,
    /// Whether a child that ends by itself is restarted.
    pub keep_alive: bool,
    /// Additional environment variables (full names), by child.
    pub environment: BTreeMap<String, BTreeMap<String, String>>,
    /// Determines which days the demo data covers.
    pub clock: Clock,
}

impl Default for StackOptions {
    fn default() -> Self {
        Self {
            folder: workspace_root().join(".local"),
            gateway_port: Some(DEFAULT_PORT),
            second_gateway: None,
            faults_on_services: false,
            build: Build::Dev,
            keep_alive: true,
            environment: BTreeMap::new(),
            clock: Clock::system(),
        }
    }
}

/// A running stack. Dropping it kills every child; [`Stack::stop`] shuts down gracefully.
#[derive(Debug)]
pub struct Stack {
    info: StackInfo,
    processes: BTreeMap<String, Process>,
    dependencies: Dependencies,
    notices: UnboundedReceiver<Notice>,
    folder: DataDir,
    // Dropped in order: the children end before the folder is unlocked.
    supervisor: Supervisor,
    claims: Vec<Claims>,
    lock: DataDirLock,
}

impl Stack {
    /// Returns once every child is ready and `stack.json` is written.
    pub async fn start(options: StackOptions, progress: &Progress) -> anyhow::Result<Self> {
        let folder = DataDir::open(&options.folder)?;
        let lock = folder.lock()?;
        folder.require_space()?;
        remove_any(&folder.stack_file())?;
        if let Some(port) = options.gateway_port {
            require_free(port)?;
        }
        let programs = programs(&options.build).await?;
        let secrets = Secrets::load_or_make(&folder)?;
        let mut ports = Ports::open(&folder);
        let dependency_ports = DependencyPorts::choose(&mut ports)?;
        let server_ports = ServerPorts::choose(
            &mut ports,
            options.gateway_port,
            options.second_gateway,
            options.faults_on_services,
        )?;
        let claims = ports.release()?;
        let (supervisor, notices) = Supervisor::start()?;
        let (ports, durability) = (dependency_ports, Durability::Full);
        let dependencies =
            Dependencies::start(&folder, &supervisor, ports, &secrets, durability, progress)
                .await?;
        let wiring = Wiring {
            tls: Tls::load_or_make(&folder, &options.clock)?,
            request_token_key: signing_key(&folder, "request-token")?,
            iam_key: signing_key(&folder, "iam")?,
            oidc_key: signing_key(&folder, "oidc")?,
            accounts: service_accounts::load_or_make(&folder)?,
            edge_rules: edge_rules::load_or_make(&folder)?,
            postgres_urls: databases::provision(&dependencies.admin_url, &secrets, progress)
                .await?,
            session_url: dependencies.session_url.clone(),
            cache_url: dependencies.cache_url.clone(),
            extra: options.environment.clone(),
            folder: folder.clone(),
            ports: server_ports,
            programs,
        };
        seed::write(&dependencies.admin_url, &options.clock, progress).await?;
        let processes = launch_servers(&supervisor, &wiring, progress).await?;
        let info = describe(&wiring, &dependencies, &processes, &options.clock)?;
        let claims = vec![claims];
        let stack =
            Self { info, processes, dependencies, notices, folder, supervisor, claims, lock };
        for process in stack.processes() {
            process.keep_alive(options.keep_alive).await?;
        }
        stack.info.write(&stack.folder.stack_file())?;
        Ok(stack)
    }

    pub fn info(&self) -> &StackInfo {
        &self.info
    }

    /// Data folder of the stack.
    pub fn folder(&self) -> &DataDir {
        &self.folder
    }

    /// Finds a process by name: bff, bff-2, inventory, housekeeping, staff, stand-ins, postgres,
    /// redis-session, redis-session-standby, postgres-standby or redis-cache.
    pub fn process(&self, name: &str) -> anyhow::Result<&Process> {
        self.processes()
            .find(|process| process.name() == name)
            .with_context(|| format!("the stack has no process {name}"))
    }

    /// All processes: the servers, then Postgres and Redis.
    pub fn processes(&self) -> impl Iterator<Item = &Process> {
        self.processes.values().chain(self.dependencies.processes())
    }

    /// Waits for the next notice about a child, and updates `stack.json`.
    pub async fn next_notice(&mut self) -> anyhow::Result<Option<Notice>> {
        let Some(notice) = self.notices.recv().await else { return Ok(None) };
        if let Notice::Restarted { name, pid, .. } = &notice {
            self.info.set_pid(name, *pid);
            self.info.write(&self.folder.stack_file())?;
        }
        Ok(Some(notice))
    }

    /// Stops a child gracefully, starts it again and waits until it is ready.
    pub async fn restart(&mut self, name: &str) -> anyhow::Result<u32> {
        let process = self.process(name)?.clone();
        let pid = process.restart().await?;
        process.wait_ready(READY_WITHIN).await?;
        self.info.set_pid(name, pid);
        self.info.write(&self.folder.stack_file())?;
        Ok(pid)
    }

    /// Stops gateways, servers, Postgres and Redis, in this order. Leaves no process.
    pub async fn stop(self) -> anyhow::Result<()> {
        remove_any(&self.folder.stack_file())?;
        let gateways = [GATEWAY, SECOND_GATEWAY].map(|name| self.processes.get(name));
        let gateways = gateways.into_iter().flatten().map(Process::stop);
        futures_util::future::join_all(gateways).await;
        let others = self.processes.values().map(Process::stop);
        futures_util::future::join_all(others).await;
        self.dependencies.stop().await;
        drop(self.supervisor);
        drop(self.claims);
        drop(self.lock);
        Ok(())
    }
}

/// Starts all servers at once. Each waits for its own dependencies and reports readiness.
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
    dependencies: &Dependencies,
    processes: &BTreeMap<String, Process>,
    clock: &Clock,
) -> anyhow::Result<StackInfo> {
    let pid = |process: &Process| process.pid().context("a ready process runs");
    let server =
        |process: &Process, url: String| anyhow::Ok(stack_info::Server { url, pid: pid(process)? });
    let ports = &wiring.ports;
    let mut services = BTreeMap::new();
    for name in SERVICES {
        services.insert(name.to_owned(), server(&processes[name], http(ports.services[name]))?);
    }
    let gateway = |name: &str, base_url: String, internal| {
        let internal_url = http(internal);
        let (api_url, pid) = (format!("{base_url}{API_BASE_PATH}"), pid(&processes[name])?);
        anyhow::Ok(stack_info::Gateway { base_url, api_url, internal_url, pid })
    };
    let second = ports.second_gateway;
    let second = second.map(|ports| gateway(SECOND_GATEWAY, ports.url(), ports.internal));
    Ok(StackInfo {
        launcher_pid: std::process::id(),
        gateway: gateway(GATEWAY, public_url(ports.gateway), ports.gateway_internal)?,
        second_gateway: second.transpose()?,
        ca_file: wiring.tls.ca_file.clone(),
        iam: stack_info::Iam { issuer: wiring.issuer() },
        internal: internal(wiring),
        services,
        stand_ins: server(&processes[STAND_INS], http(ports.stand_ins))?,
        postgres: stack_info::Postgres {
            pid: pid(&dependencies.postgres)?,
            admin_url: dependencies.admin_url.clone(),
            urls: wiring.postgres_urls.clone(),
        },
        redis: stack_info::Redis {
            session: server(&dependencies.session, dependencies.session_url.clone())?,
            cache: server(&dependencies.cache, dependencies.cache_url.clone())?,
        },
        operators: seed::operators(clock),
    })
}

fn internal(wiring: &Wiring) -> stack_info::Internal {
    let account = |(name, secret): (&String, &String)| {
        let (email, secret) = (service_accounts::email(name), secret.clone());
        (name.clone(), stack_info::ServiceAccount { email, secret })
    };
    stack_info::Internal {
        issuer: wiring.accounts_issuer(),
        audience: wiring.audience(),
        accounts: wiring.accounts.iter().map(account).collect(),
    }
}
