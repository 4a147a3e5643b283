//! The call stack against real sockets that misbehave in the ways sockets do.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod answers;
mod connections;
mod faults;
mod hedges;
mod house;
mod http2;
mod protection;
mod tls;
