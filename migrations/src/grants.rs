//! Grants rights to a service's role. They are derived from the catalog, so migrations grant nothing.

use crate::Schema;
use crate::admin::{Admin, quoted};
use crate::error::{Doing, Error};

/// The tables, and whether each is append-only, which its trigger says. Without partitions, which the
/// service reaches through their parents.
const TABLES_SQL: &str = "
    SELECT t.relname, EXISTS (
        SELECT FROM pg_trigger WHERE tgrelid = t.oid AND tgname = 'append_only')
    FROM pg_class t JOIN pg_namespace n ON n.oid = t.relnamespace
    WHERE n.nspname = $1 AND t.relkind IN ('r', 'p') AND NOT t.relispartition AND t.relname <> $2";

/// Grants `role` the rights it needs in `schema`, and revokes all others.
pub(crate) async fn grant(admin: &Admin, schema: Schema, role: &str) -> Result<(), Error> {
    let rows = admin
        .client
        .query(TABLES_SQL, &[&schema.name(), &Schema::HISTORY])
        .await
        .doing("list the tables")?;
    let role = quoted(role);
    let mut sql = format!(
        "BEGIN;
         REVOKE ALL ON SCHEMA public FROM PUBLIC;
         REVOKE ALL ON ALL TABLES IN SCHEMA {schema} FROM {role};
         GRANT USAGE ON SCHEMA {schema} TO {role};"
    );
    for row in rows {
        sql.push_str(&table_grant(schema, row.get(0), row.get(1), &role));
    }
    sql.push_str("COMMIT;");
    admin.run(&sql, "grant the service its rights").await
}

fn table_grant(schema: Schema, table: &str, append_only: bool, role: &str) -> String {
    let rights = if append_only { "SELECT, INSERT" } else { "SELECT, INSERT, UPDATE, DELETE" };
    format!("GRANT {rights} ON {schema}.{} TO {role};", quoted(table))
}
