//! What a drill needs of its environment, and which environments are alike.

use std::collections::BTreeMap;
use std::path::PathBuf;

use contracts::safeguard::Safeguard;
use launcher::builder::{Build, SERVERS};

use super::{GATEWAY, GUARDS_OFF, KEEP_SETTING};
use crate::catalog::ServerSafeguard;
use crate::prometheus::Scale;

/// Options of a drill's environment.
#[derive(Debug, Clone)]
pub struct EnvOptions<'a> {
    pub folder: PathBuf,
    pub build: Build,
    /// Starts two instances of the gateway.
    pub second_gateway: bool,
    /// Disables the gateway's cache, so that every dashboard is cold.
    pub cold: bool,
    /// Makes faults of the stand-ins apply to the services too.
    pub faults_on_services: bool,
    /// Safeguards that the servers are run without.
    pub safeguards_off: &'a [ServerSafeguard],
    /// Where the gateway and the services send their traces.
    pub collector: Option<String>,
    /// Evaluates the alert rules, with their durations divided by this scale.
    pub alerts: Option<Scale>,
}

pub(super) fn by_server(safeguards: &[ServerSafeguard]) -> BTreeMap<&'static str, Vec<Safeguard>> {
    let mut servers: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for ServerSafeguard { server, safeguard } in safeguards {
        servers.entry(*server).or_default().push(*safeguard);
    }
    servers
}

pub(super) fn of_gateway(safeguards: &[ServerSafeguard]) -> Vec<Safeguard> {
    by_server(safeguards).remove(GATEWAY).unwrap_or_default()
}

impl<'a> EnvOptions<'a> {
    pub fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            build: Build::Dev,
            second_gateway: false,
            cold: false,
            faults_on_services: false,
            safeguards_off: &[],
            collector: None,
            alerts: None,
        }
    }

    /// Without these safeguards, in a build that allows it.
    #[must_use]
    pub fn without(self, safeguards_off: &'a [ServerSafeguard]) -> Self {
        Self { safeguards_off, build: Build::Sabotage, ..self }
    }

    pub(super) fn environment(&self) -> anyhow::Result<BTreeMap<String, BTreeMap<String, String>>> {
        let mut environment: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
        for (server, safeguards) in by_server(self.safeguards_off) {
            let value = serde_json::to_string(&safeguards)?;
            let server = environment.entry(server.to_owned()).or_default();
            server.insert(GUARDS_OFF.to_owned(), value);
        }
        if self.cold {
            let gateway = environment.entry(GATEWAY.to_owned()).or_default();
            gateway.insert(KEEP_SETTING.to_owned(), "false".to_owned());
        }
        for server in SERVERS.iter().filter(|_| self.collector.is_some()) {
            let value = self.collector.clone().unwrap_or_default();
            let server = environment.entry((*server).to_owned()).or_default();
            server.insert("MELMASTOON_TELEMETRY__OTLP_ENDPOINT".to_owned(), value);
        }
        Ok(environment)
    }
}

/// What an environment is for as long as it runs. Drills whose environments are of one kind can use the
/// same one in turn; everything else is a setting, which a restart of a server changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct EnvKind {
    second_gateway: bool,
    faults_on_services: bool,
    /// Built with servers whose safeguards can be switched off.
    sabotage: bool,
}

impl EnvKind {
    /// `None` for an environment that only its own drill can use.
    pub fn of(options: &EnvOptions<'_>) -> Option<Self> {
        // Every option is named, so that a new one must be considered here.
        let EnvOptions {
            folder: _,
            build,
            second_gateway,
            cold: _,
            faults_on_services,
            safeguards_off: _,
            collector,
            alerts: _,
        } = options;
        let kind = Self {
            second_gateway: *second_gateway,
            faults_on_services: *faults_on_services,
            sabotage: *build == Build::Sabotage,
        };
        collector.is_none().then_some(kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_server_gets_its_own_safeguards() {
        let names = ["shadow", "housekeeping:roles", "housekeeping:identity"];
        let safeguards = names.map(|name| name.parse().unwrap());
        let of_housekeeping = vec![Safeguard::SupervisorRole, Safeguard::ServiceIdentity];
        assert_eq!(
            by_server(&safeguards),
            [("bff", vec![Safeguard::ShadowMode]), ("housekeeping", of_housekeeping)].into()
        );
        assert_eq!(of_gateway(&safeguards), [Safeguard::ShadowMode]);
    }

    #[test]
    fn settings_that_a_restart_changes_do_not_make_another_kind() {
        let plain = || EnvOptions::new(PathBuf::new());
        let kind = |options: EnvOptions<'_>| EnvKind::of(&options);
        assert_eq!(kind(plain()), kind(EnvOptions { cold: true, ..plain() }));
        assert_ne!(kind(plain()), kind(EnvOptions { second_gateway: true, ..plain() }));
        assert_ne!(kind(plain()), kind(EnvOptions { faults_on_services: true, ..plain() }));
        assert_ne!(kind(plain()), kind(plain().without(&[])));
        assert_eq!(kind(EnvOptions { collector: Some(String::new()), ..plain() }), None);
    }
}
