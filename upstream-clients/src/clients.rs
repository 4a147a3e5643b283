//! The typed clients: one function per route, in tables ([`reads`], [`commands`]), or in the file of
//! its upstream if it fits none. `contracts::upstream` has the response types.

mod commands;
mod iam;
mod lock;
mod reads;
mod sync;

use std::collections::BTreeMap;

use contracts::upstream::Upstream;
use url::Url;

pub use self::reads::DateRange;
use crate::call_stack::CallStack;
use crate::error::CallError;
use crate::limits::Limits;
use crate::report::UpstreamReport;
use crate::transport::{Connector, TransportError};

/// Where each upstream listens.
pub type BaseUrls = BTreeMap<Upstream, Url>;

type CallResult<T> = Result<T, CallError>;

/// All upstreams of the gateway.
#[derive(Debug)]
pub struct Upstreams {
    stacks: BTreeMap<Upstream, CallStack>,
}

impl Upstreams {
    /// Opens no connection yet; connections are pooled per upstream.
    pub fn new(
        base_urls: &BaseUrls,
        limits: fn(Upstream) -> Limits,
    ) -> Result<Self, TransportError> {
        let connector = Connector::new()?;
        let stack = |(upstream, base): (&Upstream, &Url)| {
            let limits = limits(*upstream);
            (*upstream, CallStack::new(*upstream, base.clone(), connector.clone(), limits))
        };
        Ok(Self { stacks: base_urls.iter().map(stack).collect() })
    }

    /// The state of each upstream, for diagnostics.
    pub fn report(&self) -> Vec<UpstreamReport> {
        self.stacks.values().map(CallStack::report).collect()
    }

    fn stack(&self, upstream: Upstream) -> CallResult<&CallStack> {
        self.stacks.get(&upstream).ok_or(CallError::NotConfigured)
    }
}
