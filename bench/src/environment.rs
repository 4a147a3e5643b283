//! The measured environment: a release stack, its clients, the baseline process, and the response
//! delays of the stand-ins.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, bail};
use contracts::clock::Clock;
use contracts::upstream::Upstream;
use launcher::builder::{Build, workspace_root};
use launcher::desktop::Call;
use launcher::http_client;
use launcher::progress::Progress;
use launcher::servers::{GATEWAY, ListenerKind, SECOND_GATEWAY, SERVICES};
use launcher::stack::{Stack, StackOptions};
use reqwest::{Client, Url};
use serde_json::{Map, Value, json};

use crate::baseline::Baseline;
use crate::clients::{Clients, Nights, RequestTemplate, require_loopback};
use crate::options::{DashboardArguments, Form, Target};
use crate::report;

#[derive(Debug)]
pub(crate) struct Environment {
    // Dropped in order: the clients before the stack.
    pub(crate) clients: Clients,
    baseline: Baseline,
    stack: Stack,
    http: Client,
    nights: Nights,
    /// Requested widgets; `None` for all.
    widgets: Option<String>,
}

/// What one dashboard consists of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Composition {
    /// Number of widgets.
    pub(crate) widgets: usize,
    pub(crate) upstreams: BTreeSet<String>,
}

/// A process that is sampled during a phase.
#[derive(Debug, Clone)]
pub(crate) struct MeasuredProcess {
    pub(crate) name: String,
    pub(crate) pid: u32,
}

/// Data folder of all measurements.
pub(crate) fn folder() -> PathBuf {
    workspace_root().join(".local").join("bench")
}

impl Environment {
    pub(crate) async fn open(
        arguments: &DashboardArguments,
        progress: &Progress,
    ) -> anyhow::Result<Self> {
        let load = &arguments.load;
        let folder = folder().join("stack");
        let mut baseline = Baseline::start(&folder).await?;
        let prompt = ("MELMASTOON_UPSTREAMS__INVENTORY".to_owned(), baseline.upstream.to_string());
        let keep = ("MELMASTOON_DASHBOARD__KEEP".to_owned(), arguments.kept.to_string());
        // Read by tokio.
        let workers = ("TOKIO_WORKER_THREADS".to_owned(), load.workers.to_string());
        let options = StackOptions {
            folder: folder.clone(),
            gateway_port: None,
            second_gateway: Some(ListenerKind::Plain),
            environment: BTreeMap::from([
                (GATEWAY.to_owned(), BTreeMap::from([keep.clone(), workers.clone()])),
                (SECOND_GATEWAY.to_owned(), BTreeMap::from([keep, workers, prompt])),
            ]),
            build: load.programs.clone().map_or(Build::Release, |folder| Build::Done { folder }),
            keep_alive: false,
            ..StackOptions::default()
        };
        let stack = Stack::start(options, progress).await?;
        let info = stack.info();
        for url in [&info.gateway.base_url, &info.stand_ins.url] {
            require_loopback(&Url::parse(url)?)?;
        }
        baseline.set_origin(&info.services["inventory"].url).await?;
        let clients =
            Clients::open(info, load.connections, &folder.join("desktops"), &Clock::system())?;
        let (nights, widgets) = (Nights::of(load.nights), arguments.names());
        Ok(Self { clients, baseline, stack, http: http_client::plain()?, nights, widgets })
    }

    pub(crate) async fn close(self) -> anyhow::Result<()> {
        drop(self.clients);
        self.baseline.stop().await?;
        self.stack.stop().await
    }

    /// Addresses of the stack.
    pub(crate) fn info(&self) -> &launcher::StackInfo {
        self.stack.info()
    }

    /// Signs everyone in again and returns the request of each connection for a phase.
    pub(crate) async fn templates(
        &self,
        target: Target,
    ) -> anyhow::Result<Arc<Vec<RequestTemplate>>> {
        self.clients.sign_in().await?;
        let templates = self.clients.connections.iter().map(async |connection| {
            let desktop = &connection.desktop;
            let property = &connection.property;
            let url = match target {
                Target::Hello => self.baseline.url.clone(),
                Target::Session(_) => desktop.url("/session")?,
                Target::Read(_) => {
                    desktop.url(&format!("/inventory/availability?propertyId={property}"))?
                }
                Target::Dashboard(_) => desktop.url(&self.dashboard(property))?,
            };
            let accept = match target {
                Target::Dashboard(Form::Ndjson) => "application/x-ndjson",
                _ => "application/json",
            };
            let mut template = RequestTemplate::new(connection, url, accept).await?;
            if let Target::Read(_) = target {
                template.nights = Some(self.nights.clone());
            }
            match target {
                Target::Session(ListenerKind::Plain) | Target::Read(ListenerKind::Plain) => {
                    template.sent_to(&self.plain_gateway()?)
                }
                _ => Ok(template),
            }
        });
        Ok(Arc::new(futures_util::future::try_join_all(templates).await?))
    }

    fn dashboard(&self, property: &str) -> String {
        let names = self.widgets.as_ref().map(|names| format!("&widgets={names}"));
        format!("/dashboard?propertyId={property}{}", names.unwrap_or_default())
    }

    fn plain_gateway(&self) -> anyhow::Result<Url> {
        let gateway = self.stack.info().second_gateway.as_ref();
        Ok(Url::parse(&gateway.context("the stack has no second gateway")?.base_url)?)
    }

    /// Inspects one dashboard of the first connection. Fails if three in a row are not whole; the first
    /// ones of a gateway that has just started may miss a deadline.
    pub(crate) async fn composition(&self) -> anyhow::Result<Composition> {
        let mut not_ok: Vec<String> = Vec::new();
        for _ in 0..3 {
            let widgets = self.widgets().await?;
            let late = widgets.iter().filter(|(_, widget)| widget["status"] != "ok");
            not_ok = late.map(|(name, _)| name.clone()).collect();
            if not_ok.is_empty() {
                let sources = widgets.values().filter_map(|widget| widget["source"].as_str());
                let is_upstream =
                    |name: &&str| Upstream::all().any(|upstream| upstream.name() == *name);
                let upstreams = sources.filter(is_upstream).map(str::to_owned).collect();
                return Ok(Composition { widgets: widgets.len(), upstreams });
            }
        }
        bail!("These widgets are not ok, so there is nothing to measure: {not_ok:?}.")
    }

    async fn widgets(&self) -> anyhow::Result<Map<String, Value>> {
        let connection = self.clients.connections.first().context("there is no connection")?;
        let call = Call::get(self.dashboard(&connection.property));
        let mut answer: Value =
            connection.desktop.send(&call).await?.error_for_status()?.json().await?;
        match answer["widgets"].take() {
            Value::Object(widgets) => Ok(widgets),
            _ => bail!("The dashboard has no widgets."),
        }
    }

    /// Delays the stand-ins among `upstreams` by `ms`, makes `hang` never respond, and returns the names
    /// of the stand-ins.
    pub(crate) async fn set_delays(
        &self,
        upstreams: &BTreeSet<String>,
        ms: u32,
        hang: Option<Upstream>,
    ) -> anyhow::Result<Vec<String>> {
        let url = format!("{}/control/faults", self.stack.info().stand_ins.url);
        self.http.delete(&url).send().await?.error_for_status()?;
        let played = upstreams.iter().filter(|name| !SERVICES.contains(&name.as_str()));
        let played: Vec<String> = played.cloned().collect();
        let delayed =
            |name: &&String| ms > 0 && hang.is_none_or(|upstream| upstream.name() != name.as_str());
        let late = |name: &String| json!({"upstream": name, "kind": "latency", "ms": ms});
        let hung = hang.map(|upstream| json!({"upstream": upstream.name(), "kind": "hang"}));
        for fault in played.iter().filter(delayed).map(late).chain(hung) {
            self.http.put(&url).json(&fault).send().await?.error_for_status()?;
        }
        Ok(played)
    }

    /// All processes that may use CPU time during a phase, the gateways first.
    pub(crate) fn measured_processes(&self) -> anyhow::Result<Vec<MeasuredProcess>> {
        let mut processes = Vec::new();
        for process in self.stack.processes() {
            let pid = process.pid().with_context(|| format!("{} has ended", process.name()))?;
            let name = match process.name() {
                GATEWAY => report::GATEWAY,
                SECOND_GATEWAY => report::PLAIN_GATEWAY,
                other => other,
            };
            processes.push(MeasuredProcess { name: name.to_owned(), pid });
        }
        processes
            .push(MeasuredProcess { name: "baseline server".to_owned(), pid: self.baseline.pid });
        processes.sort_by_key(|process| !process.name.starts_with(report::GATEWAY));
        Ok(processes)
    }
}
