//! housekeeping: its routes. Response types are in `contracts::upstream::housekeeping`.

use contracts::id::PropertyId;
use contracts::upstream::Upstream;
use contracts::upstream::housekeeping::{Board, RoomStatuses, Summary};

use super::{CallResult, Upstreams, property_query};
use crate::context::CallContext;

impl Upstreams {
    pub async fn housekeeping_summary(
        &self,
        context: &CallContext,
        property: PropertyId,
    ) -> CallResult<Summary> {
        let path = "/api/v1/housekeeping/summary";
        self.stack(Upstream::Housekeeping)?.get(context, path, &property_query(property)).await
    }

    pub async fn room_statuses(
        &self,
        context: &CallContext,
        property: PropertyId,
    ) -> CallResult<RoomStatuses> {
        let path = "/api/v1/housekeeping/rooms/status";
        self.stack(Upstream::Housekeeping)?.get(context, path, &property_query(property)).await
    }

    pub async fn housekeeping_board(
        &self,
        context: &CallContext,
        property: PropertyId,
    ) -> CallResult<Board> {
        let path = "/api/v1/housekeeping/board";
        self.stack(Upstream::Housekeeping)?.get(context, path, &property_query(property)).await
    }
}
