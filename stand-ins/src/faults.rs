//! Failures on command: which are set, and what a set one does to a request.
//!
//! The first fault that fits a request is applied, so that `times` makes sequences.
//! `/health/*` is never touched, except that a refusing upstream refuses it too.

pub(crate) mod inject;
mod late;
mod wire;

use std::collections::BTreeMap;
use std::sync::Mutex;

use contracts::id::TenantId;
use contracts::problem::Problem;
use contracts::upstream::Upstream;
use serde::{Deserialize, Serialize};
use service_kit::problem::ApiError;

use crate::ledger::lock;
use crate::listener::Gate;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// Answers `status`; nothing happens.
    Status,
    /// Waits `ms`, then answers as usual, however late that is.
    Latency,
    /// Reads the request and never answers.
    Hang,
    /// The port is closed.
    Refuse,
    /// Reads the request and resets the connection.
    Reset,
    /// Half of the promised body, then the end of the connection.
    HalfBody,
    /// A body of 100 MB.
    HugeBody,
    /// The usual body, a byte a second.
    Drip,
    /// A body that breaks the contract.
    Drift,
    /// The effect happens, the answer is lost with the connection.
    LostAnswer,
}

/// One fault as it is asked for and listed.
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
    /// How many requests it still hits; all when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) times: Option<u32>,
}

const LONGEST_LATENCY_MS: u64 = 600_000;

impl Fault {
    fn check(&self) -> Result<(), ApiError> {
        let wrong = |field: &str, detail: &'static str| {
            Err(Problem::field(format!("body.{field}"), "INVALID", detail).into())
        };
        let narrowed = self.route.is_some() || self.tenant_id.is_some() || self.times.is_some();
        match self.kind {
            Kind::Refuse if narrowed => wrong(
                "kind",
                "A closed port refuses everyone. Leave out route, tenantId and times, or take another kind.",
            ),
            Kind::Latency if !self.ms.is_some_and(|ms| (1..=LONGEST_LATENCY_MS).contains(&ms)) => {
                wrong("ms", "Give the latency in milliseconds, from 1 to 600000.")
            }
            Kind::Status if !self.status.is_none_or(|status| (400..600).contains(&status)) => {
                wrong("status", "Give a status from 400 to 599.")
            }
            _ if self.status.is_some() && self.kind != Kind::Status => {
                wrong("status", "Only the kind `status` has one. Leave it out.")
            }
            _ if self.ms.is_some() && self.kind != Kind::Latency => {
                wrong("ms", "Only the kind `latency` has it. Leave it out.")
            }
            _ if self.times == Some(0) => wrong("times", "Give 1 or more, or leave it out."),
            _ if self.tenant_id.is_some() && self.upstream == Upstream::Iam => {
                wrong("tenantId", "Who calls iam is not known before it answers. Leave it out.")
            }
            _ => Ok(()),
        }
    }

    fn fits(&self, request: &Target<'_>) -> bool {
        self.upstream == request.upstream
            && self.kind != Kind::Refuse
            && self.route.as_deref().is_none_or(|route| request.is(route))
            && self.tenant_id.is_none_or(|tenant| request.tenant == Some(tenant))
    }
}

/// What a request aims at.
#[derive(Debug)]
pub(crate) struct Target<'a> {
    pub(crate) upstream: Upstream,
    pub(crate) method: &'a str,
    /// Template of the route, where one matched.
    pub(crate) template: Option<&'a str>,
    pub(crate) path: &'a str,
    pub(crate) tenant: Option<TenantId>,
}

impl Target<'_> {
    fn is(&self, route: &str) -> bool {
        let Some((method, path)) = route.split_once(' ') else { return false };
        method == self.method && (Some(path) == self.template || path == self.path)
    }

    /// The route's name in counts.
    pub(crate) fn name(&self) -> String {
        format!("{} {}", self.method, self.template.unwrap_or(self.path))
    }
}

/// The faults that are set, and the ports they close.
#[derive(Debug)]
pub(crate) struct Faults {
    set: Mutex<Vec<Fault>>,
    gates: BTreeMap<Upstream, Gate>,
    /// One change of ports at a time.
    changing: tokio::sync::Mutex<()>,
}

impl Faults {
    pub(crate) fn new(gates: BTreeMap<Upstream, Gate>) -> Self {
        Self { set: Mutex::default(), gates, changing: tokio::sync::Mutex::default() }
    }

    /// Adds a fault. Answers when it is in force.
    pub(crate) async fn add(&self, fault: Fault) -> Result<(), ApiError> {
        fault.check()?;
        let Some(gate) = self.gates.get(&fault.upstream) else {
            let detail =
                "This upstream is not stood in for here. GET /control/faults lists those that are.";
            return Err(Problem::field("body.upstream", "UNKNOWN", detail).into());
        };
        let _one = self.changing.lock().await;
        let refuses = fault.kind == Kind::Refuse;
        lock(&self.set).push(fault);
        if refuses {
            gate.set(false).await;
        }
        Ok(())
    }

    /// Takes all of them back. Answers when every port is open.
    pub(crate) async fn clear(&self) {
        let _one = self.changing.lock().await;
        lock(&self.set).clear();
        for gate in self.gates.values() {
            gate.set(true).await;
        }
    }

    pub(crate) fn list(&self) -> Vec<Fault> {
        lock(&self.set).clone()
    }

    pub(crate) fn upstreams(&self) -> Vec<Upstream> {
        self.gates.keys().copied().collect()
    }

    /// The fault this request meets, counted down.
    fn take(&self, request: &Target<'_>) -> Option<Fault> {
        let mut set = lock(&self.set);
        let at = set.iter().position(|fault| fault.fits(request))?;
        let fault = set[at].clone();
        match set[at].times.as_mut() {
            Some(1) => drop(set.remove(at)),
            Some(times) => *times -= 1,
            None => {}
        }
        Some(fault)
    }
}
