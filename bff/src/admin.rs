//! Administration: two-person approval, audit of platform operators' actions, the tenant isolation
//! probe, and table maintenance.

pub mod audit;
pub mod isolation_probe;
pub mod table_maintenance;
pub mod two_person;
