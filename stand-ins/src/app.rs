//! Starts the stand-ins: a listener per upstream, each behind the fault layer, and the control
//! listener.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use contracts::env::Env;
use contracts::upstream::Upstream;
use service_kit::health::Readiness;
use service_kit::lifecycle::Lifecycle;
use service_kit::request::{Observer, observed};
use service_kit::serve::{BindError, ConnectionLimits, ListenerConfig, Plain, Server};
use service_kit::{connection_metrics, request_metrics};
use tokio::net::TcpListener;

use crate::config::Config;
use crate::event_dispatcher::EventDispatcher;
use crate::faults::Faults;
use crate::faults::inject::{InjectState, inject};
use crate::iam::Iam;
use crate::listener::ListenerSwitch;
use crate::oauth::KeyError;
use crate::oidc::Oidc;
use crate::upstreams::{Platform, UpstreamState};
use crate::{console, control, iam, listener, upstreams};

/// What the program or a test provides.
#[derive(Debug)]
pub struct Dependencies {
    pub env: Env,
    /// `GET /metrics`, where the program has one.
    pub metrics: Router,
    pub lifecycle: Lifecycle,
}

/// The addresses of the listeners.
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

/// Starts every listener and returns. They stop with the lifecycle.
pub async fn start(config: &Config, dependencies: Dependencies) -> Result<Running, StartError> {
    let control_listener = service_kit::serve::bind(config.control.listen).await?;
    let control = address(&control_listener)?;
    let mut listeners = BTreeMap::new();
    for (&upstream, &at) in &config.upstreams {
        listeners.insert(upstream, service_kit::serve::bind(at).await?);
    }
    let addresses =
        listeners.iter().map(|(&upstream, listener)| Ok((upstream, address(listener)?)));
    let addresses: BTreeMap<_, _> = addresses.collect::<Result<_, StartError>>()?;
    let state = AppState::new(config, dependencies, &addresses, control)?;
    for (upstream, listener) in listeners {
        state.open(upstream, listener, addresses[&upstream]);
    }
    let server = Server::new(state.control(), state.listening("control"));
    server.serve(control_listener, Plain, &state.lifecycle);
    Ok(Running { control, upstreams: addresses, issuer: state.iam.issuer().to_owned() })
}

fn address(listener: &TcpListener) -> Result<SocketAddr, StartError> {
    listener.local_addr().map_err(StartError::Address)
}

fn read_key(path: &Path) -> Result<Vec<u8>, StartError> {
    std::fs::read(path).map_err(|source| StartError::KeyFile { path: path.to_owned(), source })
}

/// State shared by all listeners.
struct AppState {
    config: Config,
    metrics: Router,
    lifecycle: Lifecycle,
    switches: BTreeMap<Upstream, ListenerSwitch>,
    faults: Arc<Faults>,
    platform: Arc<Platform>,
    iam: Arc<Iam>,
    oidc: Option<Arc<Oidc>>,
    dispatcher: Arc<EventDispatcher>,
    control: SocketAddr,
}

impl AppState {
    fn new(
        config: &Config,
        dependencies: Dependencies,
        addresses: &BTreeMap<Upstream, SocketAddr>,
        control: SocketAddr,
    ) -> Result<Self, StartError> {
        let Dependencies { env, metrics, lifecycle } = dependencies;
        let switches: BTreeMap<_, _> =
            addresses.keys().map(|&name| (name, ListenerSwitch::new())).collect();
        let own = || format!("http://{}", addresses[&Upstream::Iam]);
        let sync_url = addresses.get(&Upstream::Sync).map(|at| format!("http://{at}"));
        let issuer = config.iam.issuer.clone().unwrap_or_else(own);
        let oidc = config.oidc.as_ref().map(|oidc| {
            let pem = read_key(&oidc.key_file)?;
            Ok::<_, StartError>(Arc::new(Oidc::new(oidc, &pem, &issuer, env.clock.clone())?))
        });
        let oidc = oidc.transpose()?;
        let dispatcher = EventDispatcher::new(
            config.events.clone(),
            oidc.clone(),
            env.clock.clone(),
            lifecycle.clone(),
        );
        let dispatcher = Arc::new(dispatcher);
        let platform = Arc::new(Platform::new(env, sync_url.unwrap_or_default()));
        let pem = read_key(&config.iam.key_file)?;
        let (shared, events) = (Arc::clone(&platform), Arc::clone(&dispatcher));
        let iam = Arc::new(Iam::new(&config.iam, issuer, &pem, shared, events)?);
        Ok(Self {
            config: config.clone(),
            metrics,
            lifecycle,
            faults: Arc::new(Faults::new(switches.clone())),
            switches,
            platform,
            iam,
            oidc,
            dispatcher,
            control,
        })
    }

    fn open(&self, upstream: Upstream, listener: TcpListener, at: SocketAddr) {
        let (faults, platform) = (Arc::clone(&self.faults), Arc::clone(&self.platform));
        let app = match self.config.pass_through.get(&upstream) {
            Some(service) => upstreams::pass_through::router(service),
            None => {
                self.observed(self.routes(upstream).layer(from_fn(service_kit::deadline::enforce)))
            }
        };
        let app = app.layer(from_fn_with_state(InjectState { upstream, faults, platform }, inject));
        // Outside of the fault layer, so that a browser may read responses made by a fault.
        let app =
            if upstream == Upstream::Iam { app.layer(iam::cors(&self.origins())) } else { app };
        let server = Server::new(app, self.listening(upstream.name()));
        listener::serve(listener, at, server, self.switches[&upstream].clone(), &self.lifecycle);
    }

    fn routes(&self, upstream: Upstream) -> Router {
        let callers = service_kit::caller::callers(
            &self.config.callers,
            upstream.name(),
            self.platform.env.clock.clone(),
        );
        if upstream == Upstream::Iam {
            return iam::router(Arc::clone(&self.iam), callers, self.oidc.clone());
        }
        let platform = Arc::clone(&self.platform);
        upstreams::router(upstream, UpstreamState { platform, callers })
    }

    fn control(&self) -> Router {
        let router = control::router(control::Control {
            faults: Arc::clone(&self.faults),
            platform: Arc::clone(&self.platform),
            iam: Arc::clone(&self.iam),
            dispatcher: Arc::clone(&self.dispatcher),
        });
        let gateway = &self.config.console.gateway;
        let console = console::router(&self.platform.demo, gateway, self.iam.issuer());
        self.observed(router.merge(console).merge(self.metrics.clone()))
    }

    fn observed(&self, router: Router) -> Router {
        let health = Readiness::new(self.lifecycle.clone()).router();
        observed(router.merge(health), self.observer())
    }

    fn observer(&self) -> Observer {
        Observer { metrics: request_metrics!("stand_ins"), env: self.platform.env.clone() }
    }

    fn listening(&self, name: &'static str) -> ListenerConfig {
        // When a fault closes the port, idle connections close at once.
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
