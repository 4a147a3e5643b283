//! Provisions the database of a service. Idempotent, and safe to run concurrently.

use tracing::info;

use crate::admin::{Admin, quoted, with_database, with_login};
use crate::error::{Doing, Error};
use crate::{Schema, grants};

/// The database of a schema, and the role that uses it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ProvisionTarget<'a> {
    pub(crate) schema: Schema,
    pub(crate) database: &'a str,
    pub(crate) role: &'a str,
    pub(crate) password: &'a str,
}

/// Creates the database, the schema and the login role of `schema` where missing, sets the role's
/// password, applies the migrations that were not applied yet, and grants the role what it needs.
/// Returns the URL for the service.
///
/// `admin_url` names a role that may create databases and roles, and any database to connect to.
pub async fn provision(admin_url: &str, schema: Schema, password: &str) -> Result<String, Error> {
    let name = schema.name();
    let target = ProvisionTarget { schema, database: name, role: name, password };
    create(admin_url, target).await?;
    migrate(admin_url, target).await?;
    service_url(admin_url, target)
}

pub(crate) fn service_url(admin_url: &str, target: ProvisionTarget<'_>) -> Result<String, Error> {
    with_login(&with_database(admin_url, target.database)?, target.role, target.password)
}

/// Creates the role and the database.
async fn create(admin_url: &str, target: ProvisionTarget<'_>) -> Result<(), Error> {
    let admin = Admin::connect(admin_url).await?;
    admin.lock("melmastoon:provision").await?;
    create_role(&admin, target).await?;
    create_database(&admin, target.database).await?;
    own_database(&admin, target).await?;
    admin.close().await;
    Ok(())
}

/// Creates a login role that cannot bypass row-level security or create objects.
pub(crate) async fn create_role(admin: &Admin, target: ProvisionTarget<'_>) -> Result<(), Error> {
    let role = quoted(target.role);
    if !admin.exists("SELECT FROM pg_roles WHERE rolname = $1", target.role).await? {
        admin.run(&format!("CREATE ROLE {role}"), "create the service's role").await?;
    }
    let literal = "SELECT quote_literal($1)";
    let row = admin.client.query_one(literal, &[&target.password]).await.doing("quote a text")?;
    let password: String = row.get(0);
    let sql = format!(
        "ALTER ROLE {role} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS NOREPLICATION
             PASSWORD {password};
         ALTER ROLE {role} SET search_path = {};",
        target.schema
    );
    admin.run(&sql, "set up the service's role").await
}

async fn create_database(admin: &Admin, database: &str) -> Result<(), Error> {
    if admin.exists("SELECT FROM pg_database WHERE datname = $1", database).await? {
        return Ok(());
    }
    info!(database, "creating the database");
    admin.run(&format!("CREATE DATABASE {}", quoted(database)), "create a database").await
}

/// Allows only the service's role to connect.
pub(crate) async fn own_database(admin: &Admin, target: ProvisionTarget<'_>) -> Result<(), Error> {
    let (database, role) = (quoted(target.database), quoted(target.role));
    let sql = format!(
        "REVOKE ALL ON DATABASE {database} FROM PUBLIC;
         GRANT CONNECT ON DATABASE {database} TO {role};"
    );
    admin.run(&sql, "set who may connect").await
}

/// Creates the schema, applies its migrations and grants the role's rights.
pub(crate) async fn migrate(admin_url: &str, target: ProvisionTarget<'_>) -> Result<(), Error> {
    let schema = target.schema;
    let mut admin = Admin::connect(&with_database(admin_url, target.database)?).await?;
    admin.lock("melmastoon:migrate").await?;
    admin.run(&format!("CREATE SCHEMA IF NOT EXISTS {schema}"), "create the schema").await?;
    let report = schema
        .runner()
        .run_async(&mut admin.client)
        .await
        .map_err(|source| Error::Migration { schema, source: Box::new(source) })?;
    info!(%schema, applied = report.applied_migrations().len(), "the schema is up to date");
    grants::grant(&admin, schema, target.role).await?;
    admin.close().await;
    Ok(())
}

#[cfg(test)]
mod tests;
