//! Typed clients for the services the gateway calls, over one call stack: metrics, concurrency
//! limit, circuit breaker, retries, timeouts, transport.
//!
//! Start with [`Upstreams`], which has a function per route (see [`clients`]), and with
//! [`call_stack`], which documents the order of the layers. Each call takes a [`CallContext`] with its
//! deadline and [`Credentials`].
//!
//! Not here: caches, what is made of a response, and who the caller is.

mod breaker;
mod call_health;
mod call_permit;
pub mod call_stack;
pub mod clients;
mod concurrency;
mod context;
pub mod error;
mod latency_window;
mod limits;
mod meters;
mod report;
mod request;
mod retry;
mod tenant_key;
pub mod timer_keepalive;
mod transport;

pub use call_stack::{CallStack, Reply};
pub use clients::{BaseUrls, DateRange, Upstreams};
pub use context::{CallContext, Credentials, Rights};
pub use error::CallError;
pub use limits::Limits;
pub use report::{LastCall, Latency, UpstreamReport};
pub use request::{Call, IdempotentBody};
pub use transport::{Connector, TransportError};
// For the benchmark that compares HTTP clients.
#[doc(hidden)]
pub use transport::{ExchangeError, HttpRequest, RawResponse, Transport};
