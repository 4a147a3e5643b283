//! The database schemas: one folder of SQL per schema, the runner that applies them, and test databases.
//!
//! Not here: statements that servers run, which are next to the functions that run them.
//!
//! Start with [`provision()`], or with [`testing`] in a test. To change a schema, add one file
//! `V<next>__<what>.sql` to its folder, with a comment that says why. It must work while the previous
//! release still runs: add first, then move data, and remove in a later release. Never edit a released
//! file: the runner refuses changed ones. A new table needs `tenant_id`, must be passed to
//! `isolate_by_tenant`, and to `make_append_only` if its rows must not change; the tests check the
//! first two.

mod admin;
mod error;
mod grants;
mod provision;
mod schema;
pub mod testing;

pub use error::Error;
pub use provision::provision;
pub use schema::Schema;
