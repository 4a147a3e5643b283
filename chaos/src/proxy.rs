//! Fault proxy that drills put in front of a server.

pub use service_kit::testing::proxy::Proxy;
