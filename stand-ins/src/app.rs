//! Wires the stand-ins: one listener per upstream, each behind the fault layer, and the control
//! listener.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use contracts::clock::{Clock, Entropy};
use contracts::upstream::Upstream;
use service_kit::health::Readiness;
use service_kit::lifecycle::Lifecycle;
use service_kit::request::{Observer, observed};
use service_kit::serve::{BindError, ConnectionLimits, ListenerConfig, Plain, Server};
use service_kit::{connection_metrics, request_metrics};
use tokio::net::TcpListener;

use crate::config::{Config, ConfigProblem};
use crate::demo::House;
use crate::faults::Faults;
use crate::faults::inject::{Point, inject};
use crate::iam::{Iam, KeyError, Oidc};
use crate::ledger::Ledger;
use crate::listener::Gate;
use crate::platform::Platform;
use crate::relay::Relay;
use crate::shelf::Shelf;
use crate::{console, control, iam, listener, upstreams};

/// What a program or a test hands in.
#[derive(Debug)]
pub struct Parts {
    pub clock: Clock,
    pub entropy: Entropy,
    /// `GET /metrics`, where the program has one.
    pub metrics: Router,
    pub lifecycle: Lifecycle,
}

/// Where everything listens.
#[derive(Debug, Clone)]
pub struct Running {
    pub control: SocketAddr,
    pub upstreams: BTreeMap<Upstream, SocketAddr>,
    /// Issuer of access tokens.
    pub issuer: String,
}

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Config(#[from] ConfigProblem),
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error(
        "{path} cannot be read: {source}. Set MELMASTOON_IAM__KEY_FILE and, where there are service accounts, MELMASTOON_OIDC__KEY_FILE to PEM files."
    )]
    KeyFile { path: PathBuf, source: std::io::Error },
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("a port that was just opened has no address")]
    Address(#[source] std::io::Error),
}

/// Starts everything and returns; the lifecycle stops it.
pub async fn start(config: &Config, parts: Parts) -> Result<Running, StartError> {
    config.check()?;
    let control_listener = service_kit::serve::bind(config.control.listen).await?;
    let control = address(&control_listener)?;
    let mut listeners = BTreeMap::new();
    for (&upstream, &at) in &config.upstreams {
        listeners.insert(upstream, service_kit::serve::bind(at).await?);
    }
    let addresses =
        listeners.iter().map(|(&upstream, listener)| Ok((upstream, address(listener)?)));
    let addresses: BTreeMap<_, _> = addresses.collect::<Result<_, StartError>>()?;
    let stage = Stage::new(config, parts, &addresses, control)?;
    for (upstream, listener) in listeners {
        stage.open(upstream, listener, addresses[&upstream]);
    }
    let server = Server::new(stage.control(), stage.listening("control"));
    server.serve(control_listener, Plain, &stage.lifecycle);
    Ok(Running { control, upstreams: addresses, issuer: stage.iam.issuer().to_owned() })
}

fn address(listener: &TcpListener) -> Result<SocketAddr, StartError> {
    listener.local_addr().map_err(StartError::Address)
}

fn read_key(path: &Path) -> Result<Vec<u8>, StartError> {
    std::fs::read(path).map_err(|source| StartError::KeyFile { path: path.to_owned(), source })
}

fn issuer_of_accounts(
    config: &Config,
    iam: &str,
    clock: &Clock,
) -> Result<Option<Arc<Oidc>>, StartError> {
    let Some(config) = &config.oidc else { return Ok(None) };
    let pem = read_key(&config.key_file)?;
    Ok(Some(Arc::new(Oidc::new(config, &pem, iam, clock.clone())?)))
}

/// What all listeners share.
struct Stage {
    config: Config,
    clock: Clock,
    entropy: Entropy,
    metrics: Router,
    lifecycle: Lifecycle,
    gates: BTreeMap<Upstream, Gate>,
    faults: Arc<Faults>,
    ledger: Arc<Ledger>,
    house: Arc<House>,
    iam: Arc<Iam>,
    oidc: Option<Arc<Oidc>>,
    relay: Arc<Relay>,
    shelf: Arc<Shelf>,
    shared: upstreams::Shared,
    control: SocketAddr,
}

impl Stage {
    fn new(
        config: &Config,
        parts: Parts,
        addresses: &BTreeMap<Upstream, SocketAddr>,
        control: SocketAddr,
    ) -> Result<Self, StartError> {
        let Parts { clock, entropy, metrics, lifecycle } = parts;
        let gates: BTreeMap<_, _> = addresses.keys().map(|&name| (name, Gate::new())).collect();
        let house = Arc::new(House::at(clock.now()));
        let ledger = Arc::new(Ledger::default());
        let own = || format!("http://{}", addresses[&Upstream::Iam]);
        let sync_url = addresses.get(&Upstream::Sync).map(|at| format!("http://{at}"));
        let issuer = config.iam.issuer.clone().unwrap_or_else(own);
        let oidc = issuer_of_accounts(config, &issuer, &clock)?;
        let relay =
            Relay::new(config.events.clone(), oidc.clone(), clock.clone(), lifecycle.clone());
        let relay = Arc::new(relay);
        let world = iam::World {
            clock: clock.clone(),
            entropy: entropy.clone(),
            ledger: Arc::clone(&ledger),
            relay: Arc::clone(&relay),
        };
        let settings = iam::Settings { issuer, nonces: config.iam.dpop_nonces };
        let pem = read_key(&config.iam.key_file)?;
        let iam = Arc::new(Iam::new(settings, &pem, &house, world)?);
        Ok(Self {
            config: config.clone(),
            clock,
            entropy,
            metrics,
            lifecycle,
            faults: Arc::new(Faults::new(gates.clone())),
            gates,
            ledger,
            shared: upstreams::Shared::of(&house, sync_url.unwrap_or_default()),
            house,
            iam,
            oidc,
            relay,
            shelf: Arc::default(),
            control,
        })
    }

    fn open(&self, upstream: Upstream, listener: TcpListener, at: SocketAddr) {
        let (faults, ledger) = (Arc::clone(&self.faults), Arc::clone(&self.ledger));
        let app = match self.config.pass_through.get(&upstream) {
            Some(service) => upstreams::pass_through::router(service),
            None => {
                self.observed(self.routes(upstream).layer(from_fn(service_kit::deadline::enforce)))
            }
        };
        let app = app.layer(from_fn_with_state(Point { upstream, faults, ledger }, inject));
        // Outside of the faults, so that a browser may read what a fault answers.
        let app =
            if upstream == Upstream::Iam { app.layer(iam::cors(&self.origins())) } else { app };
        let server = Server::new(app, self.listening(upstream.name()));
        listener::serve(listener, at, server, self.gates[&upstream].clone(), &self.lifecycle);
    }

    fn routes(&self, upstream: Upstream) -> Router {
        let callers =
            service_kit::caller::callers(&self.config.callers, upstream.name(), self.clock.clone());
        if upstream == Upstream::Iam {
            return iam::router(Arc::clone(&self.iam), callers, self.oidc.clone());
        }
        let scene = upstreams::Scene {
            house: Arc::clone(&self.house),
            clock: self.clock.clone(),
            entropy: self.entropy.clone(),
            callers,
            ledger: Arc::clone(&self.ledger),
            shelf: Arc::clone(&self.shelf),
        };
        upstreams::router(upstream, scene, &self.shared)
    }

    fn control(&self) -> Router {
        let router = control::router(control::Control {
            faults: Arc::clone(&self.faults),
            ledger: Arc::clone(&self.ledger),
            platform: Platform {
                iam: Arc::clone(&self.iam),
                tenancies: Arc::clone(&self.shared.tenancies),
                relay: Arc::clone(&self.relay),
            },
            folios: Arc::clone(&self.shared.folios),
            keys: Arc::clone(&self.shared.keys),
            cursors: Arc::clone(&self.shared.cursors),
            house: Arc::clone(&self.house),
            clock: self.clock.clone(),
        });
        let gateway = &self.config.console.gateway;
        let console = console::router(&self.house, gateway, self.iam.issuer());
        self.observed(router.merge(console).merge(self.metrics.clone()))
    }

    fn observed(&self, router: Router) -> Router {
        let health = Readiness::new(self.lifecycle.clone()).router();
        observed(router.merge(health), self.observer())
    }

    fn observer(&self) -> Observer {
        let (clock, entropy) = (self.clock.clone(), self.entropy.clone());
        Observer { metrics: request_metrics!("stand_ins"), clock, entropy }
    }

    fn listening(&self, name: &'static str) -> ListenerConfig {
        // A port that a fault closes takes its idle connections with it at once.
        let limits = ConnectionLimits { drain_idle_ms: 0, ..self.config.connections };
        let metrics = connection_metrics!("stand_ins");
        ListenerConfig { name, limits, metrics, observer: self.observer() }
    }

    /// Web origins of the console.
    fn origins(&self) -> Vec<String> {
        let port = self.control.port();
        let own =
            || ["127.0.0.1", "localhost"].map(|host| format!("http://{host}:{port}")).to_vec();
        self.config.iam.allowed_origins.clone().unwrap_or_else(own)
    }
}
