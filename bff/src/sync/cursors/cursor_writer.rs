//! Notes what a handshake was told, in a task of its own: its desktop waits a moment for that, and is
//! kept offline neither by a durable store that is away nor by one that all desktops want at once.

use contracts::safeguard;
use std::time::Duration;

use metrics::counter;
use service_kit::postgres::StoreError;
use service_kit::problem::chain;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};
use tracing::Instrument;

use super::{Noted, advance, reset};
use crate::state::Gateway;

/// So long the desktop waits, so that what it asks next finds the cursor.
const WAITS: Duration = Duration::from_millis(500);
/// Between tries. Later ones make no sense: the job will have found it.
const PAUSES: [Duration; 4] = [
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(3),
    Duration::from_secs(5),
];

/// Returns when it is noted, or when the desktop has waited long enough.
pub async fn note(gateway: &Gateway, noted: Noted) {
    let (tell, told) = oneshot::channel();
    let task = gateway.clone();
    let work = async move {
        if !put_at_last(&task, &noted).await {
            counter!("bff_backoffice_sync_cursor_unnoted_total").increment(1);
        }
        // Nobody may be waiting any more.
        let _ = tell.send(());
    };
    gateway.lifecycle.spawn(work.in_current_span());
    if timeout(WAITS, told).await.is_err() {
        tracing::info!("A handshake was answered before its cursor was cached.");
    }
}

/// False when it was tried often enough: the job finds the difference, the next handshake ends it.
async fn put_at_last(gateway: &Gateway, noted: &Noted) -> bool {
    for pause in PAUSES.into_iter().map(Some).chain([None]) {
        let error = match put(gateway, noted).await {
            Ok(()) => return true,
            Err(error) => error,
        };
        let again = pause.filter(|_| error.is_unavailable() && !gateway.lifecycle.is_stopping());
        let Some(pause) = again else {
            tracing::error!(error = %chain(&error), "A handshake's cursor was not cached.");
            return false;
        };
        tracing::debug!(error = %chain(&error), "A handshake's cursor is not cached yet.");
        tokio::select! {
            () = gateway.lifecycle.stopping() => {}
            () = sleep(pause) => {}
        }
    }
    false
}

async fn put(gateway: &Gateway, noted: &Noted) -> Result<(), StoreError> {
    if safeguard!(CursorAuthority) {
        return reset(&gateway.database, noted, &gateway.env).await;
    }
    advance(&gateway.database, noted, &gateway.env).await
}
