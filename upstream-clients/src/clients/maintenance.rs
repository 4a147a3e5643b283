//! maintenance: its routes. Response types are in `contracts::upstream::maintenance`.

use contracts::id::PropertyId;
use contracts::upstream::Upstream;
use contracts::upstream::maintenance::{MaintenanceBoard, MaintenanceSummary};

use super::{CallResult, Upstreams, property_query};
use crate::context::CallContext;

impl Upstreams {
    pub async fn maintenance_summary(
        &self,
        context: &CallContext,
        property: PropertyId,
    ) -> CallResult<MaintenanceSummary> {
        let path = "/api/v1/maintenance/summary";
        self.stack(Upstream::Maintenance)?.get(context, path, &property_query(property)).await
    }

    pub async fn maintenance_board(
        &self,
        context: &CallContext,
        property: PropertyId,
    ) -> CallResult<MaintenanceBoard> {
        let path = "/api/v1/maintenance/board";
        self.stack(Upstream::Maintenance)?.get(context, path, &property_query(property)).await
    }
}
