//! Composes the dashboard: many upstream calls, one answer, on time, whatever they do.
//!
//! Not here: HTTP (no axum), storage (no SQL), and who may call the route.

pub mod compose;
mod fetch;
mod guards;
pub mod widgets;

pub use compose::{Composer, Plan, UnknownWidget};
pub use widgets::{WIDGETS, WidgetSpec};
