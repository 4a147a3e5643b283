//! maintenance: its routes, whose answers are in `contracts::upstream::maintenance`.

use contracts::id::PropertyId;
use contracts::upstream::Upstream;
use contracts::upstream::maintenance::{MaintenanceBoard, MaintenanceSummary};

use super::{Called, Upstreams};
use crate::{CallContext, property_query};

impl Upstreams {
    pub async fn maintenance_summary(
        &self,
        context: &CallContext,
        property: PropertyId,
    ) -> Called<MaintenanceSummary> {
        let path = "/api/v1/maintenance/summary";
        self.stack(Upstream::Maintenance)?.get(context, path, &property_query(property)).await
    }

    pub async fn maintenance_board(
        &self,
        context: &CallContext,
        property: PropertyId,
    ) -> Called<MaintenanceBoard> {
        let path = "/api/v1/maintenance/board";
        self.stack(Upstream::Maintenance)?.get(context, path, &property_query(property)).await
    }
}
