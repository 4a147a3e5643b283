//! Composes the dashboard and the workbench: many upstream calls in parallel under one deadline,
//! cached, with partial results when an upstream fails.
//!
//! Start with [`Composer`]: [`Composer::plan`] decides what a caller sees, then
//! [`Composer::compose`] or [`Composer::compose_buffered`] fetches it. [`widgets`] lists the
//! widgets with their reads, [`Snapshots`] is the cache.
//!
//! Not here: HTTP (no axum), storage (no SQL), and who may call a route.

mod admission;
mod arrivals;
pub mod availability;
pub mod compose;
pub mod diagnostics;
pub mod event_routing;
pub mod local_data;
mod meters;
pub mod property_read;
mod provenance;
pub mod read_policy;
pub mod result;
pub mod snapshots;
mod source;
pub mod widgets;
pub mod workbench;

pub use compose::{Composed, Composer, Plan, PlanError};
pub use snapshots::Snapshots;
pub use widgets::{WIDGETS, WidgetSpec};
