//! Sync status of a property's desktops for the dashboard's `syncStatus`, from their last reports.
//! sync-service is the authority.

use std::sync::Arc;

use composer::local_data::LocalData;
use composer::snapshots::{FetchFuture, Fetched};
use contracts::clock::{Clock, wire};
use contracts::id::{PropertyId, TenantId};
use futures_util::FutureExt;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use service_kit::postgres::{Database, StoreError, read};
use upstream_clients::{CallContext, CallError};

/// Desktops report every 15 s; three reports may be lost.
const ONLINE_WINDOW: SignedDuration = SignedDuration::from_secs(60);

/// The composer's port to the gateway's own data.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    database: Database,
    clock: Clock,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct SyncStatus {
    property_id: PropertyId,
    as_of: wire::Timestamp,
    /// Desktops that ever reported from this property.
    devices: i64,
    /// Heard of within the last minute.
    online: i64,
    /// With changes made offline that have not been sent.
    with_pending_actions: i64,
    /// Those changes together.
    pending_actions: i64,
    /// The cursor that is furthest behind.
    oldest_cursor_at: Option<wire::Timestamp>,
    /// Desktops whose cursor is known to be another than sync-service's (row F-35).
    stale: i64,
}

impl Store {
    pub(crate) fn shared(database: Database, clock: Clock) -> Arc<dyn LocalData> {
        Arc::new(Self { database, clock })
    }
}

impl LocalData for Store {
    fn sync_status(&self, context: &CallContext, property: PropertyId) -> FetchFuture {
        let (store, tenant) = (self.clone(), context.tenant);
        async move {
            let Some(tenant) = tenant else { return Err(CallError::NotConfigured) };
            let status = count(&store.database, tenant, property, store.clock.now()).await;
            let status = status.map_err(|error| CallError::Store(error.into()))?;
            Ok(Fetched::new(property, *status.as_of, &status))
        }
        .boxed()
    }
}

const COUNT_SQL: &str = "
    SELECT count(*),
           count(*) FILTER (WHERE last_heartbeat_at >= $2),
           count(*) FILTER (WHERE pending_actions > 0),
           coalesce(sum(pending_actions), 0),
           min(sync_cursor_at),
           count(*) FILTER (WHERE cursor_diverged_at IS NOT NULL)
    FROM bff.device_sync_status WHERE property_id = $1";

async fn count(
    database: &Database,
    tenant: TenantId,
    property: PropertyId,
    now: Timestamp,
) -> Result<SyncStatus, StoreError> {
    let mut connection = database.connection().await?;
    let transaction = read(&mut connection, tenant).await?;
    let row =
        transaction.query_one(COUNT_SQL, &[&property.as_str(), &(now - ONLINE_WINDOW)]).await?;
    Ok(SyncStatus {
        property_id: property,
        as_of: now.into(),
        devices: row.get(0),
        online: row.get(1),
        with_pending_actions: row.get(2),
        pending_actions: row.get(3),
        oldest_cursor_at: row.get::<_, Option<Timestamp>>(4).map(wire::Timestamp),
        stale: row.get(5),
    })
}
