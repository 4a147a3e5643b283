//! Bodies of upstreams, used both to serve them and to check responses, so that the two cannot differ.
//!
//! Unknown members are ignored, so that an upstream may add members; a missing or mistyped member is
//! schema drift.

#[macro_use]
pub mod stamped;

pub mod ai;
pub mod analytics;
pub mod audit;
pub mod billing;
pub mod housekeeping;
pub mod iam;
pub mod inventory;
pub mod lock;
pub mod maintenance;
pub mod notification;
pub mod pricing;
pub mod property;
pub mod reservation;
pub mod staff;
pub mod sync;
pub mod tenant;

use serde::{Deserialize, Serialize};
use strum::IntoEnumIterator;

/// A service the gateway calls. The name is the one in metrics, problems and settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[derive(strum::Display, strum::EnumIter, strum::IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum Upstream {
    Iam,
    Tenant,
    Property,
    Reservation,
    Inventory,
    Pricing,
    Housekeeping,
    Maintenance,
    Billing,
    Lock,
    Ai,
    Notification,
    Sync,
    Analytics,
    Staff,
    Audit,
}

impl Upstream {
    pub fn all() -> impl Iterator<Item = Self> {
        Self::iter()
    }

    pub fn name(self) -> &'static str {
        self.into()
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::all().find(|upstream| upstream.name() == name)
    }
}
