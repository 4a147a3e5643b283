//! Starts the stand-ins: a listener per upstream, each behind the fault layer, and the control
//! listener.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use contracts::clock::Clock;
use contracts::env::Env;
use contracts::upstream::Upstream;
use service_kit::health::Readiness;
use service_kit::lifecycle::Lifecycle;
use service_kit::request::{Observer, observed};
use service_kit::serve::{BindError, ConnectionLimits, ListenerConfig, Plain, Server};
use service_kit::{connection_metrics, request_metrics};
use tokio::net::TcpListener;

use crate::config::Config;
use crate::demo::DemoData;
use crate::effects::Effects;
use crate::event_dispatcher::EventDispatcher;
use crate::event_effects::EventEffects;
use crate::faults::Faults;
use crate::faults::inject::{InjectState, inject};
use crate::iam::Iam;
use crate::idempotency::IdempotencyStore;
use crate::listener::ListenerSwitch;
use crate::oauth::KeyError;
use crate::oidc::Oidc;
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

fn issuer_of_accounts(
    config: &Config,
    iam: &str,
    clock: &Clock,
) -> Result<Option<Arc<Oidc>>, StartError> {
    let Some(config) = &config.oidc else { return Ok(None) };
    let pem = read_key(&config.key_file)?;
    Ok(Some(Arc::new(Oidc::new(config, &pem, iam, clock.clone())?)))
}

/// State shared by all listeners.
struct AppState {
    config: Config,
    env: Env,
    metrics: Router,
    lifecycle: Lifecycle,
    switches: BTreeMap<Upstream, ListenerSwitch>,
    faults: Arc<Faults>,
    effects: Arc<Effects>,
    demo: Arc<DemoData>,
    iam: Arc<Iam>,
    oidc: Option<Arc<Oidc>>,
    dispatcher: Arc<EventDispatcher>,
    idempotency: Arc<IdempotencyStore>,
    shared: upstreams::Shared,
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
        let demo = Arc::new(DemoData::at(env.now()));
        let effects = Arc::new(Effects::default());
        let own = || format!("http://{}", addresses[&Upstream::Iam]);
        let sync_url = addresses.get(&Upstream::Sync).map(|at| format!("http://{at}"));
        let issuer = config.iam.issuer.clone().unwrap_or_else(own);
        let oidc = issuer_of_accounts(config, &issuer, &env.clock)?;
        let dispatcher = EventDispatcher::new(
            config.events.clone(),
            oidc.clone(),
            env.clock.clone(),
            lifecycle.clone(),
        );
        let dispatcher = Arc::new(dispatcher);
        let iam_dependencies = iam::Dependencies {
            env: env.clone(),
            effects: Arc::clone(&effects),
            dispatcher: Arc::clone(&dispatcher),
        };
        let settings = iam::Settings { issuer, nonces: config.iam.dpop_nonces };
        let pem = read_key(&config.iam.key_file)?;
        let iam = Arc::new(Iam::new(settings, &pem, &demo, iam_dependencies)?);
        Ok(Self {
            config: config.clone(),
            env,
            metrics,
            lifecycle,
            faults: Arc::new(Faults::new(switches.clone())),
            switches,
            effects,
            shared: upstreams::Shared::of(&demo, sync_url.unwrap_or_default()),
            demo,
            iam,
            oidc,
            dispatcher,
            idempotency: Arc::default(),
            control,
        })
    }

    fn open(&self, upstream: Upstream, listener: TcpListener, at: SocketAddr) {
        let (faults, effects) = (Arc::clone(&self.faults), Arc::clone(&self.effects));
        let app = match self.config.pass_through.get(&upstream) {
            Some(service) => upstreams::pass_through::router(service),
            None => {
                self.observed(self.routes(upstream).layer(from_fn(service_kit::deadline::enforce)))
            }
        };
        let app = app.layer(from_fn_with_state(InjectState { upstream, faults, effects }, inject));
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
            self.env.clock.clone(),
        );
        if upstream == Upstream::Iam {
            return iam::router(Arc::clone(&self.iam), callers, self.oidc.clone());
        }
        let context = upstreams::UpstreamContext {
            demo: Arc::clone(&self.demo),
            env: self.env.clone(),
            callers,
            effects: Arc::clone(&self.effects),
            idempotency: Arc::clone(&self.idempotency),
        };
        upstreams::router(upstream, context, &self.shared)
    }

    fn control(&self) -> Router {
        let router = control::router(control::Control {
            faults: Arc::clone(&self.faults),
            effects: Arc::clone(&self.effects),
            event_effects: EventEffects {
                iam: Arc::clone(&self.iam),
                tenant_statuses: Arc::clone(&self.shared.tenant_statuses),
                dispatcher: Arc::clone(&self.dispatcher),
            },
            folios: Arc::clone(&self.shared.folios),
            keys: Arc::clone(&self.shared.keys),
            cursors: Arc::clone(&self.shared.cursors),
            demo: Arc::clone(&self.demo),
            clock: self.env.clock.clone(),
        });
        let gateway = &self.config.console.gateway;
        let console = console::router(&self.demo, gateway, self.iam.issuer());
        self.observed(router.merge(console).merge(self.metrics.clone()))
    }

    fn observed(&self, router: Router) -> Router {
        let health = Readiness::new(self.lifecycle.clone()).router();
        observed(router.merge(health), self.observer())
    }

    fn observer(&self) -> Observer {
        Observer { metrics: request_metrics!("stand_ins"), env: self.env.clone() }
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
