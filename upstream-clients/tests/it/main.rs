//! Runs the call stack against real sockets that fail in realistic ways.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod connections;
mod faults;
mod http2;
mod protection;
mod responses;
mod test_server;
mod tls;
