//! Composes dashboard and workbench: many upstream calls, one answer, on time, whatever they do.
//!
//! Not here: HTTP (no axum), storage (no SQL), and who may call the route.

pub mod changes;
pub mod compose;
pub mod fetch;
mod load;
mod meters;
pub mod own;
pub mod report;
pub mod rules;
pub mod snapshots;
pub mod widgets;
pub mod workbench;

pub use compose::{Composed, Composer, NoPlan, Plan};
pub use snapshots::Snapshots;
pub use widgets::{WIDGETS, WidgetSpec};
