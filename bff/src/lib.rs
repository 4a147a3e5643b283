//! The gateway: the one server the hotel desktop talks to.
//!
//! The modules follow the path of a request, from top to bottom: `http` (listeners, layers,
//! routers), `handlers`, then what they use: `mutation` for changes, `locks`, `reads`,
//! `stream` and `sync`; below these the `edge` with its checks, the `firewall`,
//! `sessions` and `background`. A module names only modules below it; a test in `contracts`
//! checks that.
//!
//! Start with `http::router` for the routes, `http::middleware` for the layer stack, and
//! `wiring` for how the state is built. Not here: dashboards (`composer`), verification of tokens
//! and proofs (`auth`), upstream calls (`upstream-clients`).

mod admin;
mod background;
mod caller_context;
pub mod config;
mod edge;
mod firewall;
mod handlers;
mod http;
mod locks;
mod mutation;
mod paths;
mod problems;
mod reads;
mod sessions;
mod state;
mod stream;
mod sync;
#[cfg(test)]
mod tests;
pub mod wiring;
