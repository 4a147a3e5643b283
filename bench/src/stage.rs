//! What is measured: a release stack of its own, the desktops at it, the trivial server
//! beside it, and how late the stand-ins answer.

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
use launcher::servers::{Front, GATEWAY, SECOND_GATEWAY, SERVICES};
use launcher::stack::{Stack, StackOptions};
use reqwest::{Client, Url};
use serde_json::{Map, Value, json};

use crate::cli::{DashboardArguments, Form};
use crate::floor::Floor;
use crate::report;
use crate::seats::{Aim, Nights, Seats, require_loopback};

#[derive(Debug)]
pub(crate) struct Stage {
    // Dropped in order: nobody asks a stack that is going away.
    pub(crate) seats: Seats,
    floor: Floor,
    stack: Stack,
    http: Client,
    nights: Nights,
    /// Those asked for; all when none are named.
    widgets: Option<String>,
}

/// What a phase asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// The trivial server.
    Hello,
    /// The gateway's edge and nothing behind it.
    Session(Front),
    /// One guarded read that is passed to one upstream. Plain, to one that answers at once; over
    /// TLS, to inventory.
    Read(Front),
    Dashboard(Form),
}

/// What one dashboard is made of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Composition {
    /// Widgets that were fetched.
    pub(crate) widgets: usize,
    pub(crate) upstreams: BTreeSet<String>,
}

/// A process that is looked at during a phase.
#[derive(Debug, Clone)]
pub(crate) struct Watched {
    pub(crate) name: String,
    pub(crate) pid: u32,
}

/// Where measurements keep everything.
pub(crate) fn folder() -> PathBuf {
    workspace_root().join(".local").join("bench")
}

impl Stage {
    pub(crate) async fn open(
        arguments: &DashboardArguments,
        progress: &Progress,
    ) -> anyhow::Result<Self> {
        let load = &arguments.load;
        let folder = folder().join("stack");
        let mut floor = Floor::start(&folder).await?;
        let prompt = ("MELMASTOON_UPSTREAMS__INVENTORY".to_owned(), floor.upstream.to_string());
        let keep = ("MELMASTOON_DASHBOARD__KEEP".to_owned(), arguments.kept.to_string());
        // What tokio itself reads.
        let workers = ("TOKIO_WORKER_THREADS".to_owned(), load.workers.to_string());
        let options = StackOptions {
            folder: folder.clone(),
            gateway_port: None,
            second_gateway: Some(Front::Plain),
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
        floor.stand_before(&info.services["inventory"].url).await?;
        let seats =
            Seats::open(info, load.connections, &folder.join("desktops"), &Clock::system())?;
        let (nights, widgets) = (Nights::of(load.nights), arguments.names());
        Ok(Self { seats, floor, stack, http: http_client::plain()?, nights, widgets })
    }

    pub(crate) async fn close(self) -> anyhow::Result<()> {
        drop(self.seats);
        self.floor.stop().await?;
        self.stack.stop().await
    }

    /// Where the stack listens.
    pub(crate) fn info(&self) -> &launcher::StackInfo {
        self.stack.info()
    }

    /// What each seat asks for in a phase. Everyone is signed in anew.
    pub(crate) async fn aims(&self, target: Target) -> anyhow::Result<Arc<Vec<Aim>>> {
        self.seats.sign_in().await?;
        let aims = self.seats.seats.iter().map(async |seat| {
            let desktop = &seat.desktop;
            let property = &seat.property;
            let url = match target {
                Target::Hello => self.floor.url.clone(),
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
            let mut aim = Aim::at(seat, url, accept).await?;
            if let Target::Read(_) = target {
                aim = aim.of_other_nights(self.nights.clone());
            }
            match target {
                Target::Session(Front::Plain) | Target::Read(Front::Plain) => {
                    aim.through(&self.plain_gateway()?)
                }
                _ => Ok(aim),
            }
        });
        Ok(Arc::new(futures_util::future::try_join_all(aims).await?))
    }

    fn dashboard(&self, property: &str) -> String {
        let names = self.widgets.as_ref().map(|names| format!("&widgets={names}"));
        format!("/dashboard?propertyId={property}{}", names.unwrap_or_default())
    }

    fn plain_gateway(&self) -> anyhow::Result<Url> {
        let gateway = self.stack.info().second_gateway.as_ref();
        Ok(Url::parse(&gateway.context("the stack has no second gateway")?.base_url)?)
    }

    /// One dashboard of the first seat, looked at closely. Fails when it is not whole, thrice: the
    /// first of a gateway that has just started may lack what was late.
    pub(crate) async fn composition(&self) -> anyhow::Result<Composition> {
        let mut lacking: Vec<String> = Vec::new();
        for _ in 0..3 {
            let widgets = self.widgets().await?;
            let late = widgets.iter().filter(|(_, widget)| widget["status"] != "ok");
            lacking = late.map(|(name, _)| name.clone()).collect();
            if lacking.is_empty() {
                let sources = widgets.values().filter_map(|widget| widget["source"].as_str());
                let is_upstream = |name: &&str| Upstream::ALL.iter().any(|it| it.name() == *name);
                let upstreams = sources.filter(is_upstream).map(str::to_owned).collect();
                return Ok(Composition { widgets: widgets.len(), upstreams });
            }
        }
        bail!("These widgets are not there, so there is nothing to measure: {lacking:?}.")
    }

    async fn widgets(&self) -> anyhow::Result<Map<String, Value>> {
        let seat = self.seats.seats.first().context("there is no connection")?;
        let call = Call::get(self.dashboard(&seat.property));
        let mut answer: Value = seat.desktop.send(&call).await?.error_for_status()?.json().await?;
        match answer["widgets"].take() {
            Value::Object(widgets) => Ok(widgets),
            _ => bail!("A dashboard has no widgets."),
        }
    }

    /// Makes the stand-ins among `upstreams` answer this late, and one not at all. Answers their names.
    pub(crate) async fn delay(
        &self,
        upstreams: &BTreeSet<String>,
        ms: u32,
        hang: Option<Upstream>,
    ) -> anyhow::Result<Vec<String>> {
        let url = format!("{}/control/faults", self.stack.info().stand_ins.url);
        self.http.delete(&url).send().await?.error_for_status()?;
        let played = upstreams.iter().filter(|name| !SERVICES.contains(&name.as_str()));
        let played: Vec<String> = played.cloned().collect();
        let delayed = |name: &&String| ms > 0 && hang.is_none_or(|it| it.name() != name.as_str());
        let late = |name: &String| json!({"upstream": name, "kind": "latency", "ms": ms});
        let hung = hang.map(|it| json!({"upstream": it.name(), "kind": "hang"}));
        for fault in played.iter().filter(delayed).map(late).chain(hung) {
            self.http.put(&url).json(&fault).send().await?.error_for_status()?;
        }
        Ok(played)
    }

    /// Everything that may work during a phase, the gateways first.
    pub(crate) fn watched(&self) -> anyhow::Result<Vec<Watched>> {
        let mut watched = Vec::new();
        for process in self.stack.all() {
            let pid = process.pid().with_context(|| format!("{} has ended", process.name()))?;
            let name = match process.name() {
                GATEWAY => report::GATEWAY,
                SECOND_GATEWAY => report::PLAIN_GATEWAY,
                other => other,
            };
            watched.push(Watched { name: name.to_owned(), pid });
        }
        watched.push(Watched { name: "trivial and prompt".to_owned(), pid: self.floor.pid });
        watched.sort_by_key(|it| !it.name.starts_with(report::GATEWAY));
        Ok(watched)
    }
}
