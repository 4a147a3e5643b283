//! Administration: two-person approval, audit of platform operators' actions, the tenant isolation
//! probe, and table maintenance.

pub(crate) mod audit;
pub(crate) mod freeze;
pub(crate) mod isolation_probe;
pub(crate) mod table_maintenance;
pub(crate) mod two_person;
