//! The staff service: shifts, assignments, and who is present.
//!
//! Not here: sign-in and sessions (iam), roles (tenant), who does which task (housekeeping), pay.
//!
//! Start with [`router`]. To add an operation, add a file with its SQL, handler, documentation and
//! tests, and a line each in [`router`] and [`statements`].

pub mod app;
pub mod capacity;
mod group_by_department;
pub mod on_duty;
mod presence_sql;
pub mod router;
pub mod shifts;
pub mod staffing_gaps;

#[cfg(test)]
mod tests;

/// All statements of this service, for the test that prepares them on the migrated schema.
pub fn statements() -> Vec<&'static str> {
    let own = [
        on_duty::ON_DUTY_SQL,
        capacity::CAPACITY_SQL,
        shifts::SHIFTS_SQL,
        staffing_gaps::STAFFING_GAPS_SQL,
    ];
    own.into_iter().chain(app::SERVICE.maintenance.statements()).collect()
}
