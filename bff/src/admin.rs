//! Administration: the audit of what administrators do, checks of tenant isolation, and the upkeep of
//! the gateway's tables.

pub mod audit;
pub mod isolation_probe;
pub mod table_maintenance;
