//! Synthetic uptime probe of the gateway, by its name and over a new connection for each scrape: what a
//! blackbox exporter is in production (`ops/prometheus.yml`).

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use launcher::StackInfo;
use launcher::http_client;
use reqwest::Client;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::name_servers::NameServers;

/// 1 if the gateway responded with 200, else 0.
pub const METRIC: &str = "probe_success";
const PATH: &str = "/probe";
/// Shorter than a scrape's limit, which is its interval.
const TIMEOUT: Duration = Duration::from_millis(800);

/// A running probe, and the name servers that it asks.
#[derive(Debug)]
pub struct UptimeProbe {
    pub names: NameServers,
    pub address: SocketAddr,
    #[expect(dead_code, reason = "held, not read")]
    running: JoinSet<()>,
}

#[derive(Debug, Clone)]
struct Target {
    http: Client,
    url: String,
}

impl UptimeProbe {
    pub async fn start(info: &StackInfo) -> anyhow::Result<Self> {
        let names = NameServers::start(Ipv4Addr::LOCALHOST).await?;
        let http = http_client::resolving(&info.ca_file, names.resolver())?;
        let target = Target { http, url: format!("{}/health/live", info.gateway.api_url) };
        let router = Router::new().route(PATH, get(probe)).with_state(target);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let (address, mut running) = (listener.local_addr()?, JoinSet::new());
        running.spawn(async move { drop(axum::serve(listener, router).await) });
        Ok(Self { names, address, running })
    }

    /// Where it exports its result.
    pub fn url(&self) -> String {
        format!("http://{}{PATH}", self.address)
    }
}

async fn probe(State(target): State<Target>) -> String {
    let answer = target.http.get(&target.url).timeout(TIMEOUT).send().await;
    let succeeded = answer.is_ok_and(|answer| answer.status() == 200);
    format!("# TYPE {METRIC} gauge\n{METRIC} {}\n", u8::from(succeeded))
}
