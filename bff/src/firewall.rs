//! Refuses requests before authentication: denied clients, oversized headers, exceeded rates,
//! outdated desktops. The rules are in a file that is reloaded on change.
//!
//! Not here: authentication ([`crate::edge`]). A client's unverified claims can only get it refused
//! here.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use auth::verifier::single;
use contracts::headers;
use contracts::safeguard;
use http::HeaderMap;
use metrics::counter;
use parking_lot::Mutex;
use serde::Serialize;
use service_kit::serve;

pub(crate) mod address;
pub(crate) mod file;
pub(crate) mod layers;
pub(crate) mod matching;
pub(crate) mod mode;
pub(crate) mod rates;
pub(crate) mod rule_override;
mod watch;

use address::TrustedHops;
use file::{Rules, RulesError};
use mode::Mode;
use rates::Rates;

pub(crate) use watch::{RULES_POLL, RulesReload};

/// The active rules and their counters.
#[derive(Debug)]
pub struct Firewall {
    current: ArcSwap<ActiveRules>,
    sources: Mutex<Sources>,
    hops: TrustedHops,
}

#[derive(Debug)]
struct ActiveRules {
    rules: Rules,
    rates: Rates,
}

/// Sources of rules. An override takes precedence over the file.
#[derive(Debug, Default)]
struct Sources {
    file: Rules,
    has_file: bool,
    overriding: Option<Rules>,
}

/// Source of the active rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    Defaults,
    File,
    #[serde(rename = "order")]
    Override,
}

impl Sources {
    fn effective(&self) -> &Rules {
        self.overriding.as_ref().unwrap_or(&self.file)
    }
}

impl ActiveRules {
    fn of(rules: Rules) -> Self {
        Self { rates: Rates::new(&rules.limits), rules }
    }
}

impl Firewall {
    /// `hops`: number of trusted proxies.
    pub fn new(rules: Rules, hops: usize) -> Self {
        let current = ArcSwap::from_pointee(ActiveRules::of(rules.clone()));
        let sources = Mutex::new(Sources { file: rules, ..Sources::default() });
        Self { current, sources, hops: TrustedHops(hops) }
    }

    /// Loads the file, or the defaults if none is configured.
    pub fn load(file: Option<&Path>, hops: usize) -> Result<Self, RulesError> {
        let rules = file.map_or_else(|| Ok(Rules::default()), file::read)?;
        let mut firewall = Self::new(rules, hops);
        firewall.sources.get_mut().has_file = file.is_some();
        Ok(firewall)
    }

    /// Returns a function that reads the client address from the trusted proxies' header. `None`
    /// without proxies: the peer is then the client.
    pub fn client_address(&self) -> Option<serve::ClientAddress> {
        let hops = self.hops;
        let client = move |peer, headers: &HeaderMap| hops.client(peer, headers);
        (hops.0 > 0).then(|| Arc::new(client) as serve::ClientAddress)
    }

    /// Replaces the file's rules.
    pub fn set_file_rules(&self, rules: Rules) {
        self.change(|sources| (sources.file, sources.has_file) = (rules, true));
    }

    /// Sets or removes the override.
    pub fn set_override(&self, rules: Option<Rules>) {
        self.change(|sources| sources.overriding = rules);
    }

    /// Returns the active rules' text and its source.
    pub fn active(&self) -> (Source, Arc<str>) {
        let sources = self.sources.lock();
        let source = match (&sources.overriding, sources.has_file) {
            (Some(_), _) => Source::Override,
            (None, true) => Source::File,
            (None, false) => Source::Defaults,
        };
        (source, Arc::clone(&sources.effective().text))
    }

    fn change(&self, change: impl FnOnce(&mut Sources)) {
        let mut sources = self.sources.lock();
        change(&mut sources);
        self.replace(sources.effective().clone());
    }

    /// Keeps the counters unless the limits have changed.
    fn replace(&self, rules: Rules) {
        let old = self.current.load_full();
        let rates = if old.rules.limits == rules.limits {
            old.rates.clone()
        } else {
            Rates::new(&rules.limits)
        };
        self.current.store(Arc::new(ActiveRules { rules, rates }));
    }

    fn active_rules(&self) -> Arc<ActiveRules> {
        self.current.load_full()
    }

    /// Counts a rule that matched a request, and returns whether it is enforced.
    fn applies(rule: &str, mode: Mode) -> bool {
        let obeyed = mode == Mode::Enforce || (mode == Mode::Shadow && !safeguard!(ShadowMode));
        let mode = if obeyed { Mode::Enforce.into_str() } else { mode.into_str() };
        counter!("bff_backoffice_edge_rule_total", "rule" => rule.to_owned(), "mode" => mode)
            .increment(1);
        obeyed
    }
}

/// The client's address; set in the request's extensions by [`layers::DenyLayer`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct ClientAddress(pub IpAddr);

fn app_version(headers: &HeaderMap) -> Option<&str> {
    single(headers, headers::APP_VERSION)
}
