//! Options of the commands and what they name: targets and response formats. Imports no other
//! module of this crate.

use std::num::NonZeroU32;
use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Args, ValueEnum};
use composer::widgets::{self, WIDGETS, WidgetSpec};
use contracts::upstream::Upstream;
use launcher::servers::ListenerKind;
use serde::Serialize;

/// What a phase requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// The baseline server.
    Hello,
    /// `GET /session`: the gateway's edge without any upstream.
    Session(ListenerKind),
    /// One read proxied to one upstream: the canned upstream on the plain listener, inventory over TLS.
    Read(ListenerKind),
    Dashboard(Form),
}

impl Target {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Hello => "baseline server",
            Self::Session(ListenerKind::Plain) => "GET /session, plain",
            Self::Session(ListenerKind::Tls) => "GET /session, TLS",
            Self::Read(ListenerKind::Plain) => "one proxied read, plain",
            Self::Read(ListenerKind::Tls) => "one proxied read, TLS",
            Self::Dashboard(Form::Json) => "GET /dashboard, JSON",
            Self::Dashboard(Form::Ndjson) => "GET /dashboard, NDJSON",
        }
    }
}

/// When requests are sent.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pace {
    /// Open loop: evenly, this many a second.
    Open { rate: u32 },
    /// Closed loop: each client after its previous response.
    Closed { clients: u32 },
}

/// Widgets whose upstreams are all stand-ins, so that `--upstream-ms` applies to each. None is added,
/// so that figures remain comparable.
static DEFAULT_WIDGETS: &[&WidgetSpec] = &[
    &widgets::RATE_SNAPSHOT,
    &widgets::MAINTENANCE_SUMMARY,
    &widgets::ARRIVALS,
    &widgets::DEPARTURES,
    &widgets::IN_HOUSE,
    &widgets::FOLIO_SUMMARY,
    &widgets::ALERTS,
    &widgets::AI_SUGGESTIONS,
    &widgets::KPIS,
    &widgets::PROPERTY_CARD,
];

fn names(widgets: &'static [&WidgetSpec]) -> impl Iterator<Item = &'static str> {
    widgets.iter().map(|widget| widget.name)
}

/// Response format of a dashboard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Form {
    Json,
    Ndjson,
}

/// Options of `bench dashboard`.
#[derive(Debug, Clone, Args, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DashboardArguments {
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) load: LoadArguments,
    /// Response formats to measure, one after the other.
    #[arg(long, value_delimiter = ',', default_value = "json")]
    pub(crate) form: Vec<Form>,
    /// Widgets to request. The upstreams of the default ten are all stand-ins.
    #[arg(long, value_delimiter = ',', default_values = names(DEFAULT_WIDGETS))]
    #[arg(value_parser = PossibleValuesParser::new(names(WIDGETS).chain(["all"])))]
    pub(crate) widgets: Vec<String>,
    /// Response delay of the stand-ins. The three real services are not delayed.
    #[arg(long, value_name = "MS", default_value = "20", value_parser = clap::value_parser!(u32).range(0..=10_000))]
    pub(crate) upstream_ms: u32,
    /// A stand-in upstream that accepts every request and never responds.
    #[arg(long, value_name = "UPSTREAM", value_parser = upstream)]
    pub(crate) hang: Option<Upstream>,
    /// Serve dashboards from cached responses, as in production. Otherwise every dashboard is cold.
    #[arg(long)]
    pub(crate) kept: bool,
}

#[derive(Debug, Clone, Args, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LoadArguments {
    /// Requests a second, sent on schedule whether or not earlier ones have completed (open loop).
    #[arg(long, default_value = "100", conflicts_with = "closed")]
    pub(crate) rate: NonZeroU32,
    /// Instead of a rate: this many clients, each waiting for its response before the next request.
    #[arg(long, value_name = "CLIENTS")]
    pub(crate) closed: Option<NonZeroU32>,
    /// Seconds that each dashboard format is measured; the baselines take half as long.
    #[arg(long, default_value = "10", value_parser = clap::value_parser!(u32).range(1..=600))]
    pub(crate) seconds: u32,
    /// Seconds of warm-up load before each measurement.
    #[arg(long, default_value = "3", value_parser = clap::value_parser!(u32).range(1..=60))]
    pub(crate) warmup: u32,
    /// Connections to the gateway, shared out among the operators. Without HTTP/2, requests in flight
    /// may need more.
    #[arg(long, default_value = "10", value_parser = clap::value_parser!(u32).range(1..=200))]
    pub(crate) connections: u32,
    /// Additional requests a second from the first tenant; only the other tenants are measured.
    #[arg(long, value_name = "RATE")]
    pub(crate) flood: Option<NonZeroU32>,
    /// Worker threads of a gateway. The default is that of an instance with one core.
    #[arg(long, default_value = "1", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) workers: u16,
    /// Nights per read; the response has half a kilobyte for each.
    #[arg(long, default_value = "1", value_parser = clap::value_parser!(u16).range(1..=14))]
    pub(crate) nights: u16,
    /// Seed of the order in which connections send.
    #[arg(long, default_value = "1")]
    pub(crate) seed: u64,
    /// Folder of servers that are already built, to compare two builds.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) programs: Option<PathBuf>,
    /// Name of the result file, .local/bench/<NAME>.json.
    #[arg(long, default_value = "last", value_parser = file_name)]
    pub(crate) name: String,
}

impl LoadArguments {
    pub(crate) fn pace(&self) -> Pace {
        match self.closed {
            Some(clients) => Pace::Closed { clients: clients.get() },
            None => Pace::Open { rate: self.rate.get() },
        }
    }
}

impl From<LoadArguments> for DashboardArguments {
    /// Measures the baselines only, uncached.
    fn from(load: LoadArguments) -> Self {
        Self { load, form: vec![], widgets: vec![], upstream_ms: 0, hang: None, kept: false }
    }
}

impl DashboardArguments {
    /// Value of the `widgets` query parameter; `None` for all widgets.
    pub(crate) fn names(&self) -> Option<String> {
        (self.widgets != ["all"]).then(|| self.widgets.join(","))
    }
}

fn upstream(text: &str) -> Result<Upstream, String> {
    Upstream::parse(text)
        .ok_or_else(|| "use one of the dashboard's upstreams: pricing, ai, …".to_owned())
}

fn file_name(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !text.is_empty() && text.chars().all(fits) {
        return Ok(text.to_owned());
    }
    Err("use letters, digits, - and _".to_owned())
}

impl Form {
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Json => "JSON",
            Self::Ndjson => "NDJSON",
        }
    }
}

#[derive(Debug, Clone, Args, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FloodArguments {
    /// Number of rounds; each has a phase without the flood and one with it.
    #[arg(long, default_value = "12", value_parser = clap::value_parser!(u32).range(1..=60))]
    pub(crate) rounds: u32,
    /// `GET /session` requests a second from the measured address.
    #[arg(long, default_value = "50")]
    pub(crate) rate: NonZeroU32,
    /// Seconds of each phase.
    #[arg(long, default_value = "8", value_parser = clap::value_parser!(u32).range(1..=600))]
    pub(crate) seconds: u32,
    /// Connections of the flood that send nothing.
    #[arg(long, default_value = "500")]
    pub(crate) silent: u32,
    /// Connections of the flood that send their request body slowly.
    #[arg(long, default_value = "500")]
    pub(crate) slow_bodies: u32,
    /// `GET /health/ready` requests a second of the flood.
    #[arg(long, default_value = "200")]
    pub(crate) health_rate: NonZeroU32,
    /// Allowed increase of the median of the phases' 99th percentiles, percent.
    #[arg(long, default_value = "10")]
    pub(crate) allowed: f64,
    /// Worker threads of a gateway. The default is that of an instance with one core.
    #[arg(long, default_value = "1", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) workers: u16,
    /// Folder of servers that are already built.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) programs: Option<PathBuf>,
}

impl FloodArguments {
    /// Load options of the measured address.
    pub(crate) fn load(&self) -> LoadArguments {
        LoadArguments {
            rate: self.rate,
            closed: None,
            seconds: self.seconds,
            warmup: 1,
            connections: 10,
            flood: None,
            workers: self.workers,
            nights: 1,
            seed: 1,
            programs: self.programs.clone(),
            name: "flood".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_in_its_folder() {
        assert!(file_name("cold-1").is_ok());
        assert!(file_name("../x").is_err() && file_name("").is_err());
    }
}
