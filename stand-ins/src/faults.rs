//! Fault injection: the faults that are set, and how they match requests.
//!
//! The first fault that matches a request is applied, so that `times` makes sequences. `/health/*` is
//! exempt, except that a closed port refuses it too.

pub(crate) mod inject;
mod precise_delay;
mod wire;

use std::collections::BTreeMap;

use contracts::id::TenantId;
use contracts::problem::Problem;
use contracts::rules::invalid;
use contracts::upstream::Upstream;
use garde::{Path, Report, Validate};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use service_kit::problem::ApiError;

use crate::listener::ListenerSwitch;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// Responds with `status`; the request has no effect.
    Status,
    /// Waits `ms`, then handles the request as usual.
    Latency,
    /// Reads the request and never responds.
    Hang,
    /// The port is closed.
    Refuse,
    /// Reads the request and resets the connection.
    Reset,
    /// Sends half of the announced body, then closes the connection.
    HalfBody,
    /// Sends a body of 100 MB.
    HugeBody,
    /// Sends the usual body, one byte a second.
    Drip,
    /// Sends a body that breaks the contract.
    Drift,
    /// The request takes effect; the connection closes without a response.
    LostAnswer,
}

/// A fault, as it is set and listed.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Fault {
    pub(crate) upstream: Upstream,
    /// `GET /api/v1/alerts`: method and path, or the path's template. Every route when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) route: Option<String>,
    /// Only for callers of this tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tenant_id: Option<TenantId>,
    pub(crate) kind: Kind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ms: Option<u64>,
    /// Requests it still applies to; all when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) times: Option<u32>,
}

const MAX_LATENCY_MS: u64 = 600_000;

impl Fault {
    fn matches(&self, request: &Target<'_>) -> bool {
        self.upstream == request.upstream
            && self.kind != Kind::Refuse
            && self.route.as_deref().is_none_or(|route| request.is(route))
            && self.tenant_id.is_none_or(|tenant| request.tenant == Some(tenant))
    }
}

impl Validate for Fault {
    type Context = ();

    fn validate_into(&self, (): &(), path: &mut dyn FnMut() -> Path, report: &mut Report) {
        let mut refuse = |member: &str, sentence: &str| {
            report.append(path().join(member), invalid(sentence));
        };
        let narrowed = self.route.is_some() || self.tenant_id.is_some() || self.times.is_some();
        if self.tenant_id.is_some() && self.upstream == Upstream::Iam {
            refuse("tenant_id", "Requests to iam carry no tenant. Leave tenantId out.");
        }
        if self.kind == Kind::Refuse && narrowed {
            refuse(
                "kind",
                "A closed port refuses every request. Leave out route, tenantId and times, or use another kind.",
            );
        }
        match (self.kind, self.status) {
            (Kind::Status, Some(status)) if !(400..600).contains(&status) => {
                refuse("status", "Give a status from 400 to 599.");
            }
            (kind, Some(_)) if kind != Kind::Status => {
                refuse("status", "Only the kind `status` has one. Leave it out.");
            }
            _ => {}
        }
        match (self.kind, self.ms) {
            (Kind::Latency, ms) if !ms.is_some_and(|ms| (1..=MAX_LATENCY_MS).contains(&ms)) => {
                refuse("ms", "Give the latency in milliseconds, from 1 to 600000.");
            }
            (kind, Some(_)) if kind != Kind::Latency => {
                refuse("ms", "Only the kind `latency` has one. Leave it out.");
            }
            _ => {}
        }
        if self.times == Some(0) {
            refuse("times", "Give 1 or more, or leave it out.");
        }
    }
}

/// The parts of a request that faults match on.
#[derive(Debug)]
pub(crate) struct Target<'a> {
    pub(crate) upstream: Upstream,
    pub(crate) method: &'a str,
    /// Template of the matched route.
    pub(crate) template: Option<&'a str>,
    pub(crate) path: &'a str,
    pub(crate) tenant: Option<TenantId>,
}

impl Target<'_> {
    fn is(&self, route: &str) -> bool {
        let Some((method, path)) = route.split_once(' ') else { return false };
        method == self.method && (Some(path) == self.template || path == self.path)
    }

    /// Name of the route in request counts.
    pub(crate) fn name(&self) -> String {
        format!("{} {}", self.method, self.template.unwrap_or(self.path))
    }
}

/// The faults that are set, and the switches of the ports they close.
#[derive(Debug)]
pub(crate) struct Faults {
    set: Mutex<Vec<Fault>>,
    switches: BTreeMap<Upstream, ListenerSwitch>,
    /// Serializes changes of ports.
    changing: tokio::sync::Mutex<()>,
}

impl Faults {
    pub(crate) fn new(switches: BTreeMap<Upstream, ListenerSwitch>) -> Self {
        Self { set: Mutex::default(), switches, changing: tokio::sync::Mutex::default() }
    }

    /// Adds a fault, and returns once it is in force.
    pub(crate) async fn add(&self, fault: Fault) -> Result<(), ApiError> {
        let Some(switch) = self.switches.get(&fault.upstream) else {
            let detail = "There is no stand-in for this upstream. GET /control/faults lists those that exist.";
            return Err(Problem::field("body.upstream", "UNKNOWN", detail).into());
        };
        let _one = self.changing.lock().await;
        let refuses = fault.kind == Kind::Refuse;
        self.set.lock().push(fault);
        if refuses {
            switch.set(false).await;
        }
        Ok(())
    }

    /// Removes all faults, and returns once every port is open.
    pub(crate) async fn clear(&self) {
        let _one = self.changing.lock().await;
        self.set.lock().clear();
        for switch in self.switches.values() {
            switch.set(true).await;
        }
    }

    pub(crate) fn list(&self) -> Vec<Fault> {
        self.set.lock().clone()
    }

    pub(crate) fn upstreams(&self) -> Vec<Upstream> {
        self.switches.keys().copied().collect()
    }

    /// The fault that applies to the request, with its `times` counted down.
    fn take(&self, request: &Target<'_>) -> Option<Fault> {
        let mut set = self.set.lock();
        let at = set.iter().position(|fault| fault.matches(request))?;
        let fault = set[at].clone();
        match set[at].times.as_mut() {
            Some(1) => drop(set.remove(at)),
            Some(times) => *times -= 1,
            None => {}
        }
        Some(fault)
    }
}
