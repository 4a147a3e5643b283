//! How each of our servers is started: its environment, listener and readiness check.
//!
//! Not here: the values. Passwords, ports and files come from the stack.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use contracts::upstream::Upstream;

use crate::data_dir::DataDir;
use crate::ports::Ports;
use crate::readiness::ReadyCheck;
use crate::service_accounts::{self, EVENTS, OPERATORS, SCHEDULER};
use crate::supervisor::{ChildSpec, StopSignal};
use crate::tls::Tls;

/// Longer than any server's own drain time (`service_kit::lifecycle::DRAIN_TIMEOUT`, 10 s).
const DRAIN_TIMEOUT: Duration = Duration::from_secs(15);

pub const GATEWAY: &str = "bff";
/// Second instance of the gateway, if the stack has one.
pub const SECOND_GATEWAY: &str = "bff-2";
pub const STAND_INS: &str = "stand-ins";
pub const SERVICES: [&str; 3] = ["inventory", "housekeeping", "staff"];
const CALLERS_ISSUER: &str = "bff-backoffice";

/// The values of all servers' settings.
#[derive(Debug)]
pub(crate) struct Wiring {
    pub(crate) folder: DataDir,
    pub(crate) programs: BTreeMap<String, PathBuf>,
    pub(crate) ports: ServerPorts,
    pub(crate) tls: Tls,
    pub(crate) request_token_key: PathBuf,
    pub(crate) iam_key: PathBuf,
    pub(crate) oidc_key: PathBuf,
    /// Secrets of the service accounts.
    pub(crate) accounts: BTreeMap<String, String>,
    pub(crate) edge_rules: PathBuf,
    /// URL with the service's own role, by service.
    pub(crate) postgres_urls: BTreeMap<String, String>,
    pub(crate) session_url: String,
    pub(crate) cache_url: String,
    /// Additional environment variables, by server.
    pub(crate) extra: BTreeMap<String, BTreeMap<String, String>>,
}

#[derive(Debug, Clone)]
pub(crate) struct ServerPorts {
    pub(crate) gateway: u16,
    pub(crate) gateway_internal: u16,
    pub(crate) second_gateway: Option<GatewayPorts>,
    /// Port of the control listener.
    pub(crate) stand_ins: u16,
    pub(crate) services: BTreeMap<String, u16>,
    pub(crate) stand_in_upstreams: BTreeMap<String, u16>,
    /// Ports on which the stand-ins forward requests to a service; empty when they do not.
    pub(crate) passed_through: BTreeMap<String, u16>,
}

/// Ports of one gateway instance.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GatewayPorts {
    pub(crate) public: u16,
    pub(crate) internal: u16,
    pub(crate) kind: ListenerKind,
}

/// Protocol of a gateway's public listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListenerKind {
    Tls,
    /// Plain HTTP, as behind a load balancer that terminates TLS.
    Plain,
}

impl GatewayPorts {
    /// URL that clients send requests to.
    pub(crate) fn url(self) -> String {
        match self.kind {
            ListenerKind::Tls => public_url(self.public),
            ListenerKind::Plain => http(self.public),
        }
    }
}

impl ServerPorts {
    /// Chooses a port for every listener. `gateway`: a fixed port, or `None` for any. `second`: the
    /// listener kind of a second instance. `passes`: whether the gateway reaches the services through
    /// the stand-ins.
    pub(crate) fn choose(
        ports: &mut Ports,
        gateway: Option<u16>,
        second: Option<ListenerKind>,
        passes: bool,
    ) -> anyhow::Result<Self> {
        let ports_by_service = SERVICES.iter().filter(|_| passes).map(|name| {
            anyhow::Ok(((*name).to_owned(), ports.choose(&format!("{name}-passed-through"))?))
        });
        let passed_through = ports_by_service.collect::<anyhow::Result<_>>()?;
        // The stand-ins replace every upstream that is not one of the services.
        let (mut services, mut stand_in_upstreams) = (BTreeMap::new(), BTreeMap::new());
        for name in Upstream::all().map(Upstream::name) {
            let is_service = SERVICES.contains(&name);
            let group = if is_service { &mut services } else { &mut stand_in_upstreams };
            group.insert(name.to_owned(), ports.choose(name)?);
        }
        let second_gateway = second.map(|kind| {
            let public = ports.choose(SECOND_GATEWAY)?;
            anyhow::Ok(GatewayPorts { public, internal: ports.choose("bff-2-internal")?, kind })
        });
        Ok(Self {
            second_gateway: second_gateway.transpose()?,
            gateway: gateway.map_or_else(|| ports.choose(GATEWAY), Ok)?,
            gateway_internal: ports.choose("bff-internal")?,
            stand_ins: ports.choose(STAND_INS)?,
            services,
            stand_in_upstreams,
            passed_through,
        })
    }
}

pub(crate) fn local(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

pub(crate) fn http(port: u16) -> String {
    format!("http://{}", local(port))
}

pub(crate) fn public_url(port: u16) -> String {
    format!("https://localhost:{port}")
}

type Env = Vec<(String, OsString)>;

fn set(env: &mut Env, name: &str, value: impl Into<OsString>) {
    env.push((format!("MELMASTOON_{name}"), value.into()));
}

impl Wiring {
    pub(crate) fn issuer(&self) -> String {
        http(self.ports.stand_in_upstreams["iam"])
    }

    /// Issuer of the service accounts' tokens.
    pub(crate) fn accounts_issuer(&self) -> String {
        format!("{}/oidc", self.issuer())
    }

    /// Audience of tokens for the gateway's internal listener: its URL.
    pub(crate) fn audience(&self) -> String {
        http(self.ports.gateway_internal)
    }

    pub(crate) fn public_url(&self) -> String {
        public_url(self.ports.gateway)
    }

    /// Base URLs under which desktops may call the gateway. Every instance accepts those of all; one
    /// without TLS has none of its own.
    fn base_urls(&self) -> String {
        let second = self.ports.second_gateway.filter(|ports| ports.kind == ListenerKind::Tls);
        let second = second.map(GatewayPorts::url);
        let all: Vec<String> = std::iter::once(self.public_url()).chain(second).collect();
        format!("[\"{}\"]", all.join("\",\""))
    }

    /// The stand-ins' control listener serves the web console; browsers use either host name.
    fn console_origins(&self) -> String {
        let port = self.ports.stand_ins;
        format!("[\"http://127.0.0.1:{port}\",\"http://localhost:{port}\"]")
    }

    pub(crate) fn gateway(&self) -> anyhow::Result<ChildSpec> {
        let (public, internal) = (self.ports.gateway, self.ports.gateway_internal);
        self.gateway_on(GatewayPorts { public, internal, kind: ListenerKind::Tls })
    }

    /// The second instance: the same stores, keys and settings, and its own additional environment.
    pub(crate) fn second_gateway(&self) -> anyhow::Result<Option<ChildSpec>> {
        let Some(ports) = self.ports.second_gateway else { return Ok(None) };
        let (name, log) = (SECOND_GATEWAY.to_owned(), self.folder.log(SECOND_GATEWAY));
        let mut spec = ChildSpec { name, log, ..self.gateway_on(ports)? };
        spec.env.extend(self.extra_of(SECOND_GATEWAY));
        Ok(Some(spec))
    }

    fn extra_of(&self, name: &str) -> impl Iterator<Item = (String, OsString)> {
        let extra = self.extra.get(name).into_iter().flatten();
        extra.map(|(name, value)| (name.clone(), value.into()))
    }

    fn gateway_on(&self, own: GatewayPorts) -> anyhow::Result<ChildSpec> {
        let ports = &self.ports;
        let mut env = Env::new();
        set(&mut env, "PUBLIC__LISTEN", local(own.public));
        set(&mut env, "PUBLIC__BASE_URLS", self.base_urls());
        set(&mut env, "PUBLIC__ALLOWED_ORIGINS", self.console_origins());
        if own.kind == ListenerKind::Tls {
            set(&mut env, "PUBLIC__TLS__CERT_FILE", &self.tls.cert_file);
            set(&mut env, "PUBLIC__TLS__KEY_FILE", &self.tls.key_file);
        }
        set(&mut env, "INTERNAL__LISTEN", local(own.internal));
        set(&mut env, "EDGE__RULES_FILE", &self.edge_rules);
        set(&mut env, "IAM__ISSUER", self.issuer());
        set(&mut env, "IAM__JWKS_URL", format!("{}/jwks", self.issuer()));
        set(&mut env, "POSTGRES__URL", &self.postgres_urls[GATEWAY]);
        set(&mut env, "REDIS__SESSION_URL", &self.session_url);
        set(&mut env, "REDIS__CACHE_URL", &self.cache_url);
        set(&mut env, "REQUEST_TOKEN__KEY_FILE", &self.request_token_key);
        self.internal_callers(&mut env, self.audience());
        for (name, port) in ports.services.iter().chain(&ports.stand_in_upstreams) {
            let port = ports.passed_through.get(name).unwrap_or(port);
            set(&mut env, &format!("UPSTREAMS__{}", name.to_uppercase()), http(*port));
        }
        self.spec(GATEWAY, env, own.internal)
    }

    pub(crate) fn service(&self, name: &str) -> anyhow::Result<ChildSpec> {
        let port = self.ports.services[name];
        let mut env = Env::new();
        set(&mut env, "LISTEN", local(port));
        set(&mut env, "POSTGRES__URL", &self.postgres_urls[name]);
        self.internal_callers(&mut env, http(port));
        self.callers(&mut env);
        self.spec(name, env, port)
    }

    pub(crate) fn stand_ins(&self) -> anyhow::Result<ChildSpec> {
        let port = self.ports.stand_ins;
        let mut env = Env::new();
        set(&mut env, "CONTROL__LISTEN", local(port));
        for (name, port) in self.ports.stand_in_upstreams.iter().chain(&self.ports.passed_through) {
            set(&mut env, &format!("UPSTREAMS__{}", name.to_uppercase()), local(*port));
        }
        for name in self.ports.passed_through.keys() {
            let service = http(self.ports.services[name]);
            set(&mut env, &format!("PASS_THROUGH__{}", name.to_uppercase()), service);
        }
        set(&mut env, "IAM__KEY_FILE", &self.iam_key);
        self.issuing(&mut env);
        set(
            &mut env,
            "EVENTS__SUBSCRIBERS__BFF__URL",
            format!("{}/internal/events", self.audience()),
        );
        set(&mut env, "EVENTS__SUBSCRIBERS__BFF__AUDIENCE", self.audience());
        set(&mut env, "CONSOLE__GATEWAY", self.public_url());
        self.callers(&mut env);
        self.spec(STAND_INS, env, port)
    }

    /// Sets which service accounts may call a server's internal routes. `audience`: the server's URL.
    fn internal_callers(&self, env: &mut Env, audience: String) {
        let issuer = self.accounts_issuer();
        set(env, "INTERNAL__OIDC__JWKS_URL", format!("{issuer}/jwks"));
        set(env, "INTERNAL__OIDC__ISSUER", issuer);
        set(env, "INTERNAL__OIDC__AUDIENCE", audience);
        for (group, names) in [
            ("SCHEDULER", &[SCHEDULER][..]),
            ("EVENTS", &[EVENTS][..]),
            ("OPERATORS", &OPERATORS[..]),
        ] {
            let emails: Vec<_> = names.iter().map(|name| service_accounts::email(name)).collect();
            set(env, &format!("INTERNAL__OIDC__ACCOUNTS__{group}"), format!("{emails:?}"));
        }
    }

    /// Sets the accounts of the stand-in issuer.
    fn issuing(&self, env: &mut Env) {
        set(env, "OIDC__KEY_FILE", &self.oidc_key);
        set(env, "OIDC__DOMAIN", service_accounts::EMAIL_DOMAIN);
        for (name, secret) in &self.accounts {
            let name = name.replace('-', "_").to_uppercase();
            set(env, &format!("OIDC__ACCOUNTS__{name}"), secret);
        }
    }

    /// Sets whose request tokens a service accepts.
    fn callers(&self, env: &mut Env) {
        let keys = format!("{}/.well-known/jwks.json", http(self.ports.gateway_internal));
        set(env, "CALLERS__JWKS_URL", keys);
        set(env, "CALLERS__ISSUER", CALLERS_ISSUER);
    }

    fn spec(&self, name: &str, mut env: Env, health: u16) -> anyhow::Result<ChildSpec> {
        env.extend(self.extra_of(name));
        Ok(ChildSpec {
            name: name.to_owned(),
            program: self.programs[name].clone(),
            args: vec![],
            env,
            dir: self.folder.root().to_owned(),
            exclusive_dir: None,
            log: self.folder.log(name),
            run_as: None,
            stop: StopSignal::Terminate,
            drain: DRAIN_TIMEOUT,
            ready: ReadyCheck::http(format!("{}/health/ready", http(health)))?,
        })
    }
}
