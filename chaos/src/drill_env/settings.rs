//! Settings of the servers that a restart changes: the gateway's cache, and the safeguards that are
//! switched off.

use launcher::builder::SABOTAGED;
use launcher::servers::SECOND_GATEWAY;

use super::options::{EnvOptions, by_server, of_gateway};
use super::{DrillEnv, GATEWAY, GUARDS_OFF, KEEP_SETTING, connect};
use crate::catalog::ServerSafeguard;

/// The settings that the servers run with.
#[derive(Debug)]
pub(super) struct Settings {
    cold: bool,
    safeguards_off: Vec<ServerSafeguard>,
    /// Whether the gateways may run with other settings than these.
    are_unknown: bool,
}

impl Settings {
    pub(super) fn of(options: &EnvOptions<'_>) -> Self {
        let safeguards_off = options.safeguards_off.to_vec();
        Self { cold: options.cold, safeguards_off, are_unknown: false }
    }
}

impl DrillEnv {
    /// Restarts the servers that do not run with these options' settings.
    pub async fn configure(&mut self, options: &EnvOptions<'_>) -> anyhow::Result<()> {
        let wanted = Settings::of(options);
        let (before, after) =
            (by_server(&self.settings.safeguards_off), by_server(&wanted.safeguards_off));
        let gateway_differs = self.settings.are_unknown || self.settings.cold != wanted.cold;
        for server in SABOTAGED {
            let differs = before.get(server) != after.get(server);
            if !(differs || server == GATEWAY && gateway_differs) {
                continue;
            }
            for name in self.instances(server) {
                if differs || self.settings.are_unknown {
                    let off = after.get(server).map(Vec::as_slice).unwrap_or_default();
                    let off = serde_json::to_string(off)?;
                    self.stack.process(name)?.set_env(GUARDS_OFF, off).await?;
                }
                if server == GATEWAY {
                    let keep = (!wanted.cold).to_string();
                    self.stack.process(name)?.set_env(KEEP_SETTING, keep).await?;
                }
                self.stack.restart(name).await?;
            }
        }
        self.safeguards_off = of_gateway(&wanted.safeguards_off);
        self.settings = wanted;
        self.reconnect()
    }

    /// Restarts the gateway with its response cache on or off.
    pub async fn keep(&mut self, keep: bool) -> anyhow::Result<()> {
        self.stack.process(GATEWAY)?.set_env(KEEP_SETTING, keep.to_string()).await?;
        self.stack.restart(GATEWAY).await?;
        self.settings.cold = !keep;
        self.reconnect()
    }

    /// Removes the upstreams' responses that the gateway has cached, from memory and the cache tier.
    pub async fn forget_responses(&mut self) -> anyhow::Result<()> {
        let mut cache_tier = connect(&self.stack.info().redis.cache.url).await?;
        redis::cmd("FLUSHALL").exec_async(&mut cache_tier).await?;
        self.stack.restart(GATEWAY).await?;
        self.reconnect()
    }

    /// Makes the next [`Self::configure`] restart the gateways in any case.
    pub fn forget_settings(&mut self) {
        self.settings.are_unknown = true;
    }

    /// Names of a server's processes.
    fn instances(&self, server: &'static str) -> Vec<&'static str> {
        let has_two = self.stack.info().second_gateway.is_some();
        let second = (server == GATEWAY && has_two).then_some(SECOND_GATEWAY);
        std::iter::once(server).chain(second).collect()
    }
}
