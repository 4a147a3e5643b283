//! Staff: the truth of who works when and who is on the floor.
//!
//! Not here: sign-in and sessions (iam), roles (tenant), who does which task (housekeeping), pay.
//!
//! To add an operation: one file with its SQL, its handler, its documentation and its tests, one
//! line in [`router`], one in [`statements`].

pub mod app;
pub mod capacity;
mod departments;
mod floor;
pub mod on_duty;
pub mod router;
pub mod shifts;
pub mod staffing_gaps;
pub mod table_maintenance;

#[cfg(test)]
mod tests;

/// Every statement this service runs, for the test that prepares them on the migrated schema.
pub fn statements() -> Vec<&'static str> {
    let own = [on_duty::ON_DUTY, capacity::CAPACITY, shifts::SHIFTS, staffing_gaps::GAPS];
    own.into_iter().chain(table_maintenance::MAINTENANCE.statements()).collect()
}
