//! The workbench as the desktop receives it: stays of a day, with data of other services for each
//! (gateway-api section 4).

use serde::{Deserialize, Serialize};

use crate::clock::wire;
use crate::dashboard::{Reason, WidgetStatus};
use crate::id::{FolioId, KeyCredentialId, LockDeviceId, PropertyId, WorkbenchViewId};
use crate::money::Money;
use crate::upstream::housekeeping::RoomStatus;
use crate::upstream::lock::KeyKind;
use crate::upstream::reservation::Stay;

/// Who arrives or leaves on a day, or who sleeps here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StaysView {
    #[serde(flatten)]
    pub view: View,
    pub items: Vec<WorkbenchRow>,
    /// What to send as `cursor` for the page after this one; `null` on the last.
    pub next_cursor: Option<String>,
}

/// The day at a glance: all three lists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TodayView {
    #[serde(flatten)]
    pub view: View,
    pub counts: DayCounts,
    pub arrivals: Vec<WorkbenchRow>,
    pub departures: Vec<WorkbenchRow>,
    pub in_house: Vec<WorkbenchRow>,
}

/// What every view says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct View {
    pub id: WorkbenchViewId,
    pub property_id: PropertyId,
    pub date: wire::Date,
    /// When the stays were true; the oldest of several lists.
    pub as_of: wire::Timestamp,
    /// True when the stays, or a column the caller may see, are not `ok`.
    pub partial: bool,
    /// The list itself: `ok` or `stale`, because without it there is no view.
    pub stays: Part,
    pub columns: Columns,
}

/// What is shown beside a stay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Columns {
    pub room_status: Part,
    pub balance: Part,
    pub keys: Part,
}

/// Where a part of a view comes from, and how it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Part {
    pub status: WidgetStatus,
    /// The upstream it comes from.
    pub source: String,
    /// When the upstream's answer was true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<wire::Timestamp>,
    /// How old a `stale` one is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
}

/// A stay. What a column does not know of it, or may not say, is absent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkbenchRow {
    #[serde(flatten)]
    pub stay: Stay,
    /// Of the stay's room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room_status: Option<RoomStatus>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folio_id: Option<FolioId>,
    /// What the guest owes; below zero, what the guest has paid ahead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub balance: Option<Money>,
    /// Those that open a door now or later; empty when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<Vec<StayKey>>,
}

/// A guest's key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StayKey {
    pub key_credential_id: KeyCredentialId,
    pub lock_id: LockDeviceId,
    pub kind: KeyKind,
    pub valid_until: wire::Timestamp,
}

/// How far the day has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DayCounts {
    pub arrivals: usize,
    /// Of the arrivals, those who have come.
    pub arrived: usize,
    pub departures: usize,
    /// Of the departures, those who have gone.
    pub departed: usize,
    pub in_house: usize,
}
