//! Wire types of the platform: ids, problems, events, money, and the bodies that services exchange.
//!
//! Not here: I/O, and rules of a single service.
//!
//! Start with [`upstream`] for bodies between services, [`dashboard`] and [`workbench`] for what the
//! desktop receives, [`problem`] for errors, and [`id`] for ids. [`clock`] has the injected clock and
//! random numbers.

pub mod clock;
pub mod dashboard;
pub mod deadline;
pub mod env;
pub mod event;
pub mod headers;
pub mod id;
pub mod json;
pub mod lists;
pub mod locks;
pub mod money;
pub mod phone;
pub mod problem;
pub mod role;
pub mod rules;
pub mod safeguard;
pub mod sync;
pub mod text;
pub mod upstream;
pub mod workbench;
