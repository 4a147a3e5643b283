//! What is refused before anybody is asked who they are: denied callers, too many headers, too
//! many requests, desktops that are too old. The rules stand in a file that may change while
//! the gateway runs.
//!
//! Not here: who is calling ([`crate::edge`]). Nothing a caller claims about itself lets it in
//! here, it can only be refused for it.

use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use contracts::headers;
use contracts::safeguard;
use http::HeaderMap;
use metrics::counter;
use serde::Serialize;
use service_kit::serve;

pub mod address;
pub mod file;
pub mod layers;
pub mod matching;
pub mod mode;
pub mod rates;
pub mod rule_override;
mod watch;

use address::TrustedHops;
use file::{Rules, RulesError};
use mode::Mode;
use rates::Rates;

pub use watch::watch;

/// The rules in force, and what they have counted so far.
#[derive(Debug)]
pub struct EdgeRules {
    current: ArcSwap<InForce>,
    sources: Mutex<Sources>,
    hops: TrustedHops,
}

#[derive(Debug)]
struct InForce {
    rules: Rules,
    rates: Rates,
}

/// Where rules may come from. What was ordered goes before the file.
#[derive(Debug, Default)]
struct Sources {
    file: Rules,
    has_file: bool,
    ordered: Option<Rules>,
}

/// Where the rules in force come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    Defaults,
    File,
    Order,
}

impl Sources {
    fn chosen(&self) -> &Rules {
        self.ordered.as_ref().unwrap_or(&self.file)
    }
}

impl InForce {
    fn of(rules: Rules) -> Self {
        Self { rates: Rates::new(&rules.limits), rules }
    }
}

impl EdgeRules {
    /// `hops`: how many proxies in front of the gateway are ours.
    pub fn new(rules: Rules, hops: usize) -> Self {
        let current = ArcSwap::from_pointee(InForce::of(rules.clone()));
        let sources = Mutex::new(Sources { file: rules, ..Sources::default() });
        Self { current, sources, hops: TrustedHops(hops) }
    }

    /// Those of the file, or the defaults when none is configured.
    pub fn load(file: Option<&Path>, hops: usize) -> Result<Self, RulesError> {
        let rules = file.map_or_else(|| Ok(Rules::default()), file::read)?;
        let mut edge = Self::new(rules, hops);
        edge.sources.get_mut().unwrap_or_else(PoisonError::into_inner).has_file = file.is_some();
        Ok(edge)
    }

    /// Tells a client's address as the trusted proxies do. None without proxies: then the peer of
    /// a connection is the client.
    pub fn client_address(&self) -> Option<serve::ClientAddress> {
        let hops = self.hops;
        let client = move |peer, headers: &HeaderMap| hops.client(peer, headers);
        (hops.0 > 0).then(|| Arc::new(client) as serve::ClientAddress)
    }

    /// Takes what the file says now.
    pub fn take_file(&self, rules: Rules) {
        self.change(|sources| (sources.file, sources.has_file) = (rules, true));
    }

    /// Takes what was ordered, or that nothing is any more.
    pub fn take_order(&self, rules: Option<Rules>) {
        self.change(|sources| sources.ordered = rules);
    }

    /// The text in force, and where it comes from.
    pub fn told(&self) -> (Source, Arc<str>) {
        let sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        let source = match (&sources.ordered, sources.has_file) {
            (Some(_), _) => Source::Order,
            (None, true) => Source::File,
            (None, false) => Source::Defaults,
        };
        (source, Arc::clone(&sources.chosen().text))
    }

    fn change(&self, change: impl FnOnce(&mut Sources)) {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut sources);
        self.replace(sources.chosen().clone());
    }

    /// What was counted so far goes on, unless the limits have changed.
    fn replace(&self, rules: Rules) {
        let old = self.current.load_full();
        let rates = if old.rules.limits == rules.limits {
            old.rates.clone()
        } else {
            Rates::new(&rules.limits)
        };
        self.current.store(Arc::new(InForce { rules, rates }));
    }

    fn in_force(&self) -> Arc<InForce> {
        self.current.load_full()
    }

    /// Counts a rule that applied to a request, and says whether it is to be obeyed.
    fn applies(rule: &str, mode: Mode) -> bool {
        let obeyed = mode == Mode::Enforce || (mode == Mode::Shadow && !safeguard!(ShadowMode));
        let mode = if obeyed { Mode::Enforce } else { mode };
        counter!("bff_backoffice_edge_rule_total", "rule" => rule.to_owned(), "mode" => mode.name())
            .increment(1);
        obeyed
    }
}

/// Where a request came from; in its extensions once the first layer has seen it.
#[derive(Debug, Clone, Copy)]
pub struct ClientAddress(pub IpAddr);

/// The one value of a header that stands exactly once.
pub(crate) fn single<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

fn app_version(headers: &HeaderMap) -> Option<&str> {
    single(headers, headers::APP_VERSION)
}
