//! Test databases: real Postgres with all migrations applied, one per test, dropped afterwards.
//!
//! Migrations run once per version of their folder, in a template; a test database is a copy of it, which
//! takes tens of milliseconds. Roles and databases have names with the prefix `melmastoon_test`, so that
//! a stack on the same server is not affected.

use std::time::Duration;

use contracts::clock::{Clock, Entropy};
use tokio::sync::OnceCell;

use crate::Schema;
use crate::admin::{Admin, quoted, with_database};
use crate::error::{Doing, Error};
use crate::provision::{self, ProvisionTarget};

/// The environment variable with the admin URL of the Postgres server for tests.
pub const URL_VARIABLE: &str = "MELMASTOON_TEST_POSTGRES_URL";

const TEST_PASSWORD: &str = "test";
const NAME_PREFIX: &str = "melmastoon_test";

/// Age at which databases of killed tests are dropped.
const LEFTOVER_AGE: Duration = Duration::from_secs(3600);

/// How long an unused template is kept.
const TEMPLATE_AGE: Duration = Duration::from_secs(7 * 24 * 3600);

/// Names of the templates that this process found or built, by schema.
static TEMPLATES: [OnceCell<String>; 4] =
    [OnceCell::const_new(), OnceCell::const_new(), OnceCell::const_new(), OnceCell::const_new()];

/// A migrated, empty database, dropped with this value.
#[derive(Debug)]
pub struct TestDatabase {
    server_url: String,
    name: String,
    admin_url: String,
    url: String,
}

impl TestDatabase {
    /// Creates a database. Panics without a Postgres server.
    pub async fn create(schema: Schema) -> Self {
        let server_url = server_url();
        Self::create_on(server_url, schema).await.expect("a test database could be made")
    }

    async fn create_on(server_url: String, schema: Schema) -> Result<Self, Error> {
        let template = TEMPLATES[schema as usize]
            .get_or_try_init(|| ensure_template(&server_url, schema))
            .await?;
        let name = fresh_name(schema);
        let role = role(schema);
        let target =
            ProvisionTarget { schema, database: &name, role: &role, password: TEST_PASSWORD };
        copy(&server_url, template, target).await?;
        Ok(Self {
            admin_url: with_database(&server_url, &name)?,
            url: provision::service_url(&server_url, target)?,
            server_url,
            name,
        })
    }

    /// Name of the database.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// URL for the service's role, to which row-level security applies.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// URL for the admin, who can write rows of any tenant.
    pub fn admin_url(&self) -> &str {
        &self.admin_url
    }

    /// Runs statements as admin.
    pub async fn run(&self, sql: &str) {
        self.as_admin(&self.admin_url, sql).await;
    }

    /// Runs a query as admin and returns the first column, which must be text.
    pub async fn rows(&self, sql: &str) -> Vec<String> {
        let admin = Admin::connect(&self.admin_url).await.expect("the test server answers");
        let rows = admin.client.query(sql, &[]).await.expect("the statement is right");
        admin.close().await;
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// Makes the database unavailable: ends its sessions and refuses new ones.
    pub async fn go_away(&self) {
        let name = quoted(&self.name);
        let closed = format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false");
        self.as_admin(&self.server_url, &closed).await;
        let ended = format!(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '{}'",
            self.name
        );
        self.as_admin(&self.server_url, &ended).await;
    }

    /// Ends [`TestDatabase::go_away`].
    pub async fn come_back(&self) {
        let sql = format!("ALTER DATABASE {} ALLOW_CONNECTIONS true", quoted(&self.name));
        self.as_admin(&self.server_url, &sql).await;
    }

    /// Locks a table: every statement on it waits until [`HeldLock::end`].
    pub async fn lock_table(&self, table: &str) -> HeldLock {
        self.hold(&format!("LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")).await
    }

    /// Begins a transaction with this statement and keeps it open, with its locks.
    pub async fn hold(&self, sql: &str) -> HeldLock {
        let admin = Admin::connect(&self.admin_url).await.expect("the test server answers");
        let begun = admin.run(&format!("BEGIN; {sql}"), "hold a lock").await;
        begun.expect("the statement is right");
        HeldLock(admin)
    }

    async fn as_admin(&self, url: &str, sql: &str) {
        let admin = Admin::connect(url).await.expect("the test server answers");
        admin.run(sql, "run a test's statements").await.expect("the statements are right");
        admin.close().await;
    }
}

/// Locks held by an open transaction.
#[derive(derive_more::Debug)]
#[debug("HeldLock")]
pub struct HeldLock(Admin);

impl HeldLock {
    /// Commits the transaction, which releases its locks.
    pub async fn end(self) {
        self.0.run("COMMIT", "let a lock go").await.expect("the transaction is open");
        self.0.close().await;
    }
}

impl Drop for TestDatabase {
    /// Best effort: later runs drop leftovers. On its own thread, because the test's runtime cannot
    /// block on itself.
    fn drop(&mut self) {
        let (server_url, name) = (self.server_url.clone(), self.name.clone());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.map(|runtime| runtime.block_on(drop_database(&server_url, &name)))
        });
        drop(thread.join());
    }
}

#[expect(clippy::disallowed_methods, reason = "tests have no configuration to read it from")]
fn server_url() -> String {
    std::env::var(URL_VARIABLE).unwrap_or_else(|_| {
        panic!("{URL_VARIABLE} is not set; run the tests with ./check, which starts a Postgres and sets it")
    })
}

fn role(schema: Schema) -> String {
    format!("{NAME_PREFIX}_{schema}")
}

/// `melmastoon_test_<schema>_<seconds since 1970>_<random>`: the age can be read from the name.
fn fresh_name(schema: Schema) -> String {
    let random = Entropy::system().u128() as u64;
    format!("{NAME_PREFIX}_{schema}_{}_{random:016x}", Clock::system().unix_seconds())
}

/// The name of the template, which is built if it does not exist.
async fn ensure_template(server_url: &str, schema: Schema) -> Result<String, Error> {
    let name = format!("{NAME_PREFIX}_template_{schema}_{}", schema.content_hash());
    let admin = Admin::connect(server_url).await?;
    admin.lock("melmastoon:test-template").await?;
    drop_leftovers(&admin).await?;
    if !admin.exists("SELECT FROM pg_database WHERE datname = $1", &name).await? {
        build_template(&admin, server_url, schema, &name).await?;
    }
    mark_used(&admin, &name).await?;
    admin.close().await;
    Ok(name)
}

/// Builds under another name, so that an incomplete template is never copied.
async fn build_template(
    admin: &Admin,
    server_url: &str,
    schema: Schema,
    name: &str,
) -> Result<(), Error> {
    let (building, role) = (fresh_name(schema), role(schema));
    let target =
        ProvisionTarget { schema, database: &building, role: &role, password: TEST_PASSWORD };
    provision::create_role(admin, target).await?;
    admin.run(&format!("CREATE DATABASE {}", quoted(&building)), "create a database").await?;
    provision::migrate(server_url, target).await?;
    let sql = format!("ALTER DATABASE {} RENAME TO {}", quoted(&building), quoted(name));
    admin.run(&sql, "name the template").await?;
    let sql = format!("ALTER DATABASE {} ALLOW_CONNECTIONS false", quoted(name));
    admin.run(&sql, "close the template").await
}

async fn copy(server_url: &str, template: &str, target: ProvisionTarget<'_>) -> Result<(), Error> {
    let admin = Admin::connect(server_url).await?;
    let sql = format!("CREATE DATABASE {} TEMPLATE {}", quoted(target.database), quoted(template));
    admin.run(&sql, "copy the template").await?;
    provision::own_database(&admin, target).await?;
    admin.close().await;
    Ok(())
}

/// Stores the time of the last use in the comment of the template.
async fn mark_used(admin: &Admin, template: &str) -> Result<(), Error> {
    let now = Clock::system().unix_seconds();
    let sql = format!("COMMENT ON DATABASE {} IS '{now}'", quoted(template));
    admin.run(&sql, "mark the template as used").await
}

/// Drops databases of killed tests, by the time in their names, and unused templates.
async fn drop_leftovers(admin: &Admin) -> Result<(), Error> {
    let sql = "SELECT datname FROM pg_database
               WHERE datname ~ ('^' || $1 || '_[a-z]+_[0-9]+_[0-9a-f]{16}$')
                 AND split_part(right(datname, -length($1) - 1), '_', 2)::bigint < $2
               UNION ALL
               SELECT datname FROM pg_database
               WHERE starts_with(datname, $1 || '_template_')
                 AND shobj_description(oid, 'pg_database')::bigint < $3";
    let now = Clock::system().unix_seconds();
    let oldest = now - LEFTOVER_AGE.as_secs() as i64;
    let unused = now - TEMPLATE_AGE.as_secs() as i64;
    let rows = admin.client.query(sql, &[&NAME_PREFIX, &oldest, &unused]).await;
    for row in rows.doing("list the databases")? {
        admin.run(&drop_statement(row.get(0)), "drop an old test database").await?;
    }
    Ok(())
}

async fn drop_database(server_url: &str, name: &str) -> Result<(), Error> {
    let admin = Admin::connect(server_url).await?;
    admin.run(&drop_statement(name), "drop a test database").await?;
    admin.close().await;
    Ok(())
}

fn drop_statement(name: &str) -> String {
    format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", quoted(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIND_DATABASE_SQL: &str = "SELECT FROM pg_database WHERE datname = $1";

    #[tokio::test]
    async fn a_test_database_is_gone_after_the_test() {
        let database = TestDatabase::create(Schema::Inventory).await;
        let name = database.name().to_owned();
        let admin = Admin::connect(&server_url()).await.unwrap();
        assert!(admin.exists(FIND_DATABASE_SQL, &name).await.unwrap());
        drop(database);
        assert!(!admin.exists(FIND_DATABASE_SQL, &name).await.unwrap());
        admin.close().await;
    }

    #[tokio::test]
    async fn leftovers_are_dropped_and_what_is_young_stays() {
        let young = TestDatabase::create(Schema::Bff).await;
        let old = format!("{NAME_PREFIX}_bff_1000000000_{:016x}", Entropy::system().u128() as u64);
        let admin = Admin::connect(&server_url()).await.unwrap();
        admin.lock("melmastoon:test-template").await.unwrap();
        admin.run(&format!("CREATE DATABASE {old}"), "make a leftover").await.unwrap();
        drop_leftovers(&admin).await.unwrap();
        assert!(!admin.exists(FIND_DATABASE_SQL, &old).await.unwrap());
        assert!(admin.exists(FIND_DATABASE_SQL, young.name()).await.unwrap());
        admin.close().await;
    }
}
