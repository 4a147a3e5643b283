//! The databases' schemas: one folder of SQL per schema, the runner that applies them, and the
//! database a test gets for itself.
//!
//! To change a schema, add one file `V<next>__<what>.sql` to its folder, with a comment that says
//! why. It must work while the old program still runs: add first, move data next, remove in a
//! later release. Never edit a file that was released: the runner refuses a changed one.
//! A new table has `tenant_id`, is passed to `isolate_by_tenant`, and, when nobody may rewrite
//! its rows, to `make_append_only`; the tests of this crate find one that is not.
//!
//! Not here: any statement a server runs. Those stand beside the functions that run them.

mod admin;
mod error;
mod grants;
mod provision;
mod schema;
pub mod test_database;

pub use error::Error;
pub use provision::provision;
pub use schema::Schema;
