//! maintenance: work orders by state, and the rooms they close.

use std::collections::BTreeMap;

use axum::Router;
use axum::routing::get;
use contracts::upstream::maintenance::{
    MaintenanceBoard, MaintenanceColumn, MaintenanceSummary, RoomOutOfOrder, WorkOrder,
    WorkOrderSeverity, WorkOrderState,
};
use jiff::Timestamp;
use service_kit::extract::Json;

use super::{PropertyRead, UpstreamState};
use crate::demo::{DemoData, Property};

pub(super) fn routes() -> Router<UpstreamState> {
    Router::new()
        .route("/api/v1/maintenance/summary", get(summary))
        .route("/api/v1/maintenance/board", get(board))
}

async fn summary(
    PropertyRead { platform, property, now }: PropertyRead,
) -> Json<MaintenanceSummary> {
    let shown = shown(&platform.demo, &property, now);
    let pending: Vec<_> = shown.iter().filter(|order| order.state.is_pending()).copied().collect();
    Json(MaintenanceSummary {
        property_id: property.id,
        as_of: now.into(),
        states: counted(WorkOrderState::ALL, shown.iter().map(|order| order.state)),
        pending_by_severity: counted(
            WorkOrderSeverity::ALL,
            pending.iter().map(|order| order.severity),
        ),
        overdue: pending.iter().filter(|order| *order.due_at < now).count() as u32,
        rooms_out_of_order: rooms_out_of_order(&pending),
    })
}

async fn board(PropertyRead { platform, property, now }: PropertyRead) -> Json<MaintenanceBoard> {
    let mut shown = shown(&platform.demo, &property, now);
    shown.sort_by_key(|order| {
        (std::cmp::Reverse(order.severity), order.due_at, order.work_order_id)
    });
    let columns = WorkOrderState::ALL.iter().map(|&state| {
        let items = shown.iter().filter(|order| order.state == state);
        MaintenanceColumn { state, items: items.copied().cloned().collect() }
    });
    Json(MaintenanceBoard {
        property_id: property.id,
        as_of: now.into(),
        columns: columns.collect(),
    })
}

/// Work orders that are pending or ended since local midnight.
fn shown<'a>(demo: &'a DemoData, property: &Property, now: Timestamp) -> Vec<&'a WorkOrder> {
    let today = property.today(now);
    let own = demo.work_orders.iter().filter(|order| order.property_id == property.id);
    let own = own.map(|one| &one.item);
    own.filter(|order| order.state.is_pending() || property.today(*order.since) == today).collect()
}

/// Counts each of `all` in `seen`, zeros included.
fn counted<T: Ord + Copy>(all: &[T], seen: impl Iterator<Item = T>) -> BTreeMap<T, u32> {
    let mut counts: BTreeMap<_, _> = all.iter().map(|&one| (one, 0)).collect();
    for one in seen {
        *counts.entry(one).or_default() += 1;
    }
    counts
}

fn rooms_out_of_order(pending: &[&WorkOrder]) -> Vec<RoomOutOfOrder> {
    let closing = pending.iter().filter(|order| order.room_out_of_order);
    let mut rooms: Vec<_> = closing
        .filter_map(|order| {
            Some(RoomOutOfOrder {
                room_id: order.room_id?,
                number: order.room_number.clone()?,
                work_order_id: order.work_order_id,
                due_at: order.due_at,
            })
        })
        .collect();
    rooms.sort_by(|a, b| a.number.cmp(&b.number));
    rooms
}
