//! maintenance: work orders by state, and the rooms they close.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use contracts::upstream::maintenance::{
    MaintenanceBoard, MaintenanceColumn, MaintenanceSummary, RoomOutOfOrder, WorkOrder,
    WorkOrderSeverity, WorkOrderState,
};
use jiff::Timestamp;
use service_kit::caller::Caller;
use service_kit::extract::{Json, Query};
use service_kit::problem::ApiResult;

use super::{PropertyQuery, UpstreamContext, UpstreamState};
use crate::demo::{self, DemoData, Property};

pub(super) fn router(context: UpstreamContext) -> Router {
    Router::new()
        .route("/api/v1/maintenance/summary", get(summary))
        .route("/api/v1/maintenance/board", get(board))
        .with_state(UpstreamState { context, own: Arc::new(()) })
}

async fn summary(
    State(state): State<UpstreamState<()>>,
    caller: Caller,
    Query(query): Query<PropertyQuery>,
) -> ApiResult<Json<MaintenanceSummary>> {
    let property = state.context.property(&caller, query.property_id)?;
    let (demo, now) = (&state.context.demo, state.context.env.now());
    let shown = shown(demo, property, now);
    let pending: Vec<_> = shown.iter().filter(|order| order.state.is_pending()).copied().collect();
    Ok(Json(MaintenanceSummary {
        property_id: property.id,
        as_of: now,
        states: counted(WorkOrderState::ALL, shown.iter().map(|order| order.state)),
        pending_by_severity: counted(
            WorkOrderSeverity::ALL,
            pending.iter().map(|order| order.severity),
        ),
        overdue: pending.iter().filter(|order| order.due_at < now).count() as u32,
        rooms_out_of_order: rooms_out_of_order(demo, &pending),
    }))
}

async fn board(
    State(state): State<UpstreamState<()>>,
    caller: Caller,
    Query(query): Query<PropertyQuery>,
) -> ApiResult<Json<MaintenanceBoard>> {
    let property = state.context.property(&caller, query.property_id)?;
    let (demo, now) = (&state.context.demo, state.context.env.now());
    let mut shown = shown(demo, property, now);
    shown.sort_by_key(|order| (std::cmp::Reverse(order.severity), order.due_at, order.id));
    let columns = WorkOrderState::ALL.iter().map(|&state| {
        let items = shown.iter().filter(|order| order.state == state);
        MaintenanceColumn { state, items: items.map(|order| on_the_wire(demo, order)).collect() }
    });
    Ok(Json(MaintenanceBoard { property_id: property.id, as_of: now, columns: columns.collect() }))
}

/// Work orders that are pending or ended since local midnight.
fn shown<'a>(demo: &'a DemoData, property: &Property, now: Timestamp) -> Vec<&'a demo::WorkOrder> {
    let today = property.today(now);
    let own = demo.work_orders.iter().filter(|order| order.property_id == property.id);
    own.filter(|order| order.state.is_pending() || property.today(order.since) == today).collect()
}

/// Counts each of `all` in `seen`, zeros included.
fn counted<T: Ord + Copy>(all: &[T], seen: impl Iterator<Item = T>) -> BTreeMap<T, u32> {
    let mut counts: BTreeMap<_, _> = all.iter().map(|&one| (one, 0)).collect();
    for one in seen {
        *counts.entry(one).or_default() += 1;
    }
    counts
}

fn rooms_out_of_order(demo: &DemoData, pending: &[&demo::WorkOrder]) -> Vec<RoomOutOfOrder> {
    let closing = pending.iter().filter(|order| order.room_out_of_order);
    let mut rooms: Vec<_> = closing
        .filter_map(|order| {
            let room = demo.room(order.room_id?)?;
            Some(RoomOutOfOrder {
                room_id: room.id,
                number: room.number.clone(),
                work_order_id: order.id,
                due_at: order.due_at,
            })
        })
        .collect();
    rooms.sort_by(|a, b| a.number.cmp(&b.number));
    rooms
}

fn on_the_wire(demo: &DemoData, order: &demo::WorkOrder) -> WorkOrder {
    let room = order.room_id.and_then(|id| demo.room(id));
    WorkOrder {
        work_order_id: order.id,
        state: order.state,
        severity: order.severity,
        category: order.category,
        title: order.title.to_owned(),
        room_id: order.room_id,
        room_number: room.map(|room| room.number.clone()),
        room_out_of_order: order.room_out_of_order,
        assigned_to: order.assigned_to,
        reported_at: order.reported_at,
        due_at: order.due_at,
        since: order.since,
    }
}
