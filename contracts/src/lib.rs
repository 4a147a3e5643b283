//! Wire types of the platform: ids, problems, events, money, and the bodies the
//! services exchange. The one place where a name on the wire is decided.
//!
//! Not here: I/O of any kind, and rules of a single service.

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
pub mod problem;
pub mod role;
pub mod safeguard;
pub mod sync;
pub mod text;
pub mod upstream;
pub mod workbench;
