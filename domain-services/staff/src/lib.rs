//! The staff service: shifts, assignments, and who is present.
//!
//! Not here: sign-in and sessions (iam), roles (tenant), who does which task (housekeeping), pay.
//!
//! Start with [`router`]. To add an operation, add a file with its SQL, handler, documentation and
//! tests, and a line in [`router`].

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
