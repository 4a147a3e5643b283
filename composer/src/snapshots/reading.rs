//! The outcome of a read.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use upstream_clients::CallError;

use super::snapshot::Snapshot;
use crate::source::Source;

/// Shared by all readers of one call.
pub type ReadError = Arc<CallError>;

#[derive(Debug, Clone)]
pub struct Reading {
    pub snapshot: Arc<Snapshot>,
    pub source: Source,
    /// How long this read waited.
    pub took: Duration,
}

impl Reading {
    pub(super) fn of(snapshot: &Arc<Snapshot>, source: Source, began: Instant) -> Self {
        Self { snapshot: Arc::clone(snapshot), source, took: began.elapsed() }
    }
}
