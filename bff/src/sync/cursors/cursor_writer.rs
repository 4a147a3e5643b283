//! Caches the cursor of a handshake in a task of its own. The desktop waits for it only briefly, so
//! that an unavailable or busy Postgres does not keep it offline.

use contracts::safeguard;
use std::time::Duration;

use metrics::counter;
use service_kit::postgres::StoreError;
use service_kit::problem::chain;
use tokio::time::{sleep, timeout};
use tracing::Instrument;

use super::{CursorReport, advance, reset};
use crate::state::Gateway;

/// How long a handshake waits, so that the desktop's next request finds the cursor.
const CALLER_WAIT: Duration = Duration::from_millis(500);
/// Delays between attempts. Later attempts are pointless: the reconcile job finds the difference.
const RETRY_DELAYS: [Duration; 4] = [
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(3),
    Duration::from_secs(5),
];

/// Writes the cursor. Returns when it is written, or after [`CALLER_WAIT`].
pub(crate) async fn write_cursor(gateway: &Gateway, report: CursorReport) {
    let task = gateway.clone();
    let work = async move {
        if !put_with_retries(&task, &report).await {
            counter!("bff_backoffice_sync_cursor_unnoted_total").increment(1);
        }
    };
    let writing = gateway.lifecycle.spawn(work.in_current_span());
    if timeout(CALLER_WAIT, writing).await.is_err() {
        tracing::info!("Responded to a handshake before its cursor was cached.");
    }
}

/// Returns false after the last attempt: the reconcile job finds the difference, the next handshake
/// corrects it.
async fn put_with_retries(gateway: &Gateway, report: &CursorReport) -> bool {
    for delay in RETRY_DELAYS.into_iter().map(Some).chain([None]) {
        let error = match put(gateway, report).await {
            Ok(()) => return true,
            Err(error) => error,
        };
        let again = delay.filter(|_| error.is_unavailable() && !gateway.lifecycle.is_stopping());
        let Some(delay) = again else {
            tracing::error!(error = %chain(&error), "Failed to cache a handshake's cursor.");
            return false;
        };
        tracing::debug!(error = %chain(&error), "Failed to cache a handshake's cursor; trying again.");
        tokio::select! {
            () = gateway.lifecycle.stopping() => {}
            () = sleep(delay) => {}
        }
    }
    false
}

async fn put(gateway: &Gateway, report: &CursorReport) -> Result<(), StoreError> {
    if safeguard!(CursorAuthority) {
        return reset(&gateway.database, report, &gateway.env).await;
    }
    advance(&gateway.database, report, &gateway.env).await
}
