//! The typed clients, a file per upstream: one function per route. Its file in
//! `contracts::upstream` says what the route answers.

mod ai;
mod analytics;
mod audit;
mod billing;
mod housekeeping;
mod iam;
mod inventory;
mod lock;
mod maintenance;
mod notification;
mod pricing;
mod property;
mod reservation;
mod staff;
mod sync;
mod tenant;

use contracts::upstream::Upstream;

use crate::BaseUrls;
use crate::call_stack::CallStack;
use crate::error::CallError;
use crate::limits::Limits;
use crate::report::UpstreamReport;
use crate::transport::{Connector, TransportError};

type Called<T> = Result<T, CallError>;

/// All upstreams of the gateway.
#[derive(Debug)]
pub struct Upstreams {
    stacks: std::collections::BTreeMap<Upstream, CallStack>,
}

impl Upstreams {
    /// Connections are kept per upstream.
    pub fn new(
        base_urls: &BaseUrls,
        limits: fn(Upstream) -> Limits,
    ) -> Result<Self, TransportError> {
        let connector = Connector::new()?;
        let stack = |(upstream, base): (&Upstream, &url::Url)| {
            let limits = limits(*upstream);
            (*upstream, CallStack::new(*upstream, base.clone(), connector.clone(), limits))
        };
        Ok(Self { stacks: base_urls.iter().map(stack).collect() })
    }

    /// How each upstream stands, for people who look.
    pub fn report(&self) -> Vec<UpstreamReport> {
        self.stacks.values().map(CallStack::report).collect()
    }

    fn stack(&self, upstream: Upstream) -> Called<&CallStack> {
        self.stacks.get(&upstream).ok_or(CallError::NotConfigured)
    }
}
