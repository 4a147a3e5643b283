//! Building blocks of the servers: configuration, listeners, request handling, Postgres, health,
//! telemetry and shutdown.
//!
//! Only code that two or more servers use belongs here. Not here: anything that a single server does.
//!
//! Start with [`service::Service`], from which a domain service is made; [`serve`] listens,
//! [`serve::Server`] serves a router, and [`postgres`] opens transactions. [`testing`] has the harness
//! for the tests of services.

pub mod accept;
pub mod background;
pub mod caller;
pub mod config;
pub mod connection;
pub mod deadline;
pub mod etag;
pub mod extract;
pub mod health;
pub mod http_client;
pub mod idempotency_key;
pub mod identity;
pub mod layer;
pub mod lifecycle;
pub mod pg_row;
pub mod postgres;
pub mod problem;
pub mod program;
pub mod property_read;
pub mod pubsub_push;
pub mod request;
pub mod serve;
pub mod service;
pub mod table_maintenance;
pub mod telemetry;
pub mod testing;
