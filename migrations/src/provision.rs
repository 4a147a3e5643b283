//! From an empty Postgres to a database a service can log in to. Safe to repeat and to run at once.

use tracing::info;

use crate::admin::{Admin, quoted, with_database, with_login};
use crate::error::{Doing, Error};
use crate::{Schema, grants};

/// Where a schema goes and who uses it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) schema: Schema,
    pub(crate) database: &'a str,
    pub(crate) role: &'a str,
    pub(crate) password: &'a str,
}

/// Creates the database, the schema and the login role of `schema` where missing, sets the role's
/// password, applies the migrations that were not applied yet, and grants the role what it needs.
/// Gives the URL the service connects with.
///
/// `admin_url` names a role that may create databases and roles, and any database to connect to.
pub async fn provision(admin_url: &str, schema: Schema, password: &str) -> Result<String, Error> {
    let name = schema.name();
    let place = Place { schema, database: name, role: name, password };
    create(admin_url, place).await?;
    migrate(admin_url, place).await?;
    service_url(admin_url, place)
}

pub(crate) fn service_url(admin_url: &str, place: Place<'_>) -> Result<String, Error> {
    with_login(&with_database(admin_url, place.database)?, place.role, place.password)
}

/// The role and the database, which belong to the whole server.
async fn create(admin_url: &str, place: Place<'_>) -> Result<(), Error> {
    let admin = Admin::connect(admin_url).await?;
    admin.lock("melmastoon:provision").await?;
    create_role(&admin, place).await?;
    create_database(&admin, place.database).await?;
    own_database(&admin, place).await?;
    admin.close().await;
    Ok(())
}

/// A login that can neither pass row-level security nor make anything.
pub(crate) async fn create_role(admin: &Admin, place: Place<'_>) -> Result<(), Error> {
    let role = quoted(place.role);
    if !admin.exists("SELECT FROM pg_roles WHERE rolname = $1", place.role).await? {
        admin.run(&format!("CREATE ROLE {role}"), "create the service's role").await?;
    }
    let literal = "SELECT quote_literal($1)";
    let row = admin.client.query_one(literal, &[&place.password]).await.doing("quote a text")?;
    let password: String = row.get(0);
    let sql = format!(
        "ALTER ROLE {role} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS NOREPLICATION
             PASSWORD {password};
         ALTER ROLE {role} SET search_path = {};",
        place.schema
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

/// Lets the service's role in and every other one out.
pub(crate) async fn own_database(admin: &Admin, place: Place<'_>) -> Result<(), Error> {
    let (database, role) = (quoted(place.database), quoted(place.role));
    let sql = format!(
        "REVOKE ALL ON DATABASE {database} FROM PUBLIC;
         GRANT CONNECT ON DATABASE {database} TO {role};"
    );
    admin.run(&sql, "set who may connect").await
}

/// The schema, its migrations and the role's rights on what they made.
pub(crate) async fn migrate(admin_url: &str, place: Place<'_>) -> Result<(), Error> {
    let schema = place.schema;
    let mut admin = Admin::connect(&with_database(admin_url, place.database)?).await?;
    admin.lock("melmastoon:migrate").await?;
    admin.run(&format!("CREATE SCHEMA IF NOT EXISTS {schema}"), "create the schema").await?;
    let report = schema
        .runner()
        .run_async(&mut admin.client)
        .await
        .map_err(|source| Error::Migration { schema, source: Box::new(source) })?;
    info!(%schema, applied = report.applied_migrations().len(), "the schema is up to date");
    grants::grant(&admin, schema, place.role).await?;
    admin.close().await;
    Ok(())
}

#[cfg(test)]
mod tests;
