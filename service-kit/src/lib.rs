//! What the servers share to start, listen, store, answer and stop.
//!
//! Entry rule: used by two servers or more. Not here: anything a single server does.

pub mod accept;
pub mod around;
pub mod caller;
pub mod config;
pub mod deadline;
pub mod etag;
pub mod extract;
pub mod health;
pub mod http_client;
pub mod identity;
pub mod lifecycle;
pub mod of_property;
pub mod periodic;
pub mod postgres;
pub mod problem;
pub mod push;
pub mod request;
pub mod row;
pub mod serve;
pub mod service;
pub mod table_maintenance;
pub mod telemetry;
pub mod testing;
