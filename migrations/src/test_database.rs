//! A database of its own for every test: real Postgres, all migrations applied, gone afterwards.
//!
//! The migrations run once per content of their folder, into a template; a test's database is a
//! copy of that, which takes some tens of milliseconds. Roles and databases have names of their
//! own, so that a stack on the same server is never touched.

use std::time::Duration;

use contracts::clock::{Clock, Entropy};
use tokio::sync::OnceCell;

use crate::Schema;
use crate::admin::{Admin, quoted, with_database};
use crate::error::{Doing, Error};
use crate::provision::{self, Place};

/// Name of the variable that holds the admin URL of the Postgres to test on.
pub const URL_VARIABLE: &str = "MELMASTOON_TEST_POSTGRES_URL";

const PASSWORD: &str = "test";
const PREFIX: &str = "melmastoon_test";

/// How old a database of a test that never cleaned up must be before another test drops it.
const LEFTOVER_AGE: Duration = Duration::from_secs(3600);

/// How long a template that no run asked for is kept.
const TEMPLATE_AGE: Duration = Duration::from_secs(7 * 24 * 3600);

/// The template's name once this process has seen it complete, by schema.
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
    /// Makes one. Panics when there is no Postgres to make it on.
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
        let place = Place { schema, database: &name, role: &role, password: PASSWORD };
        copy(&server_url, template, place).await?;
        Ok(Self {
            admin_url: with_database(&server_url, &name)?,
            url: provision::service_url(&server_url, place)?,
            server_url,
            name,
        })
    }

    /// Name of the database.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// For the service's role: row-level security applies.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// For the admin: fills tables of any tenant.
    pub fn admin_url(&self) -> &str {
        &self.admin_url
    }

    /// Runs statements as admin.
    pub async fn run(&self, sql: &str) {
        self.as_admin(&self.admin_url, sql).await;
    }

    /// What the admin reads: the first column, a text, of every row.
    pub async fn rows(&self, sql: &str) -> Vec<String> {
        let admin = Admin::connect(&self.admin_url).await.expect("the test server answers");
        let rows = admin.client.query(sql, &[]).await.expect("the statement is right");
        admin.close().await;
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// Makes the database go away: ends its sessions and lets no new one in.
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

    /// Holds every statement on the table up until the value that is returned is ended.
    pub async fn stall(&self, table: &str) -> Stall {
        self.hold(&format!("LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")).await
    }

    /// Begins a transaction with this statement and leaves it open: what it locks stays locked.
    pub async fn hold(&self, sql: &str) -> Stall {
        let admin = Admin::connect(&self.admin_url).await.expect("the test server answers");
        let begun = admin.run(&format!("BEGIN; {sql}"), "hold a lock").await;
        begun.expect("the statement is right");
        Stall(admin)
    }

    async fn as_admin(&self, url: &str, sql: &str) {
        let admin = Admin::connect(url).await.expect("the test server answers");
        admin.run(sql, "run a test's statements").await.expect("the statements are right");
        admin.close().await;
    }
}

/// A lock that nobody else gets.
pub struct Stall(Admin);

impl Stall {
    /// Lets everyone go on.
    pub async fn end(self) {
        self.0.run("COMMIT", "let a lock go").await.expect("the transaction is open");
        self.0.close().await;
    }
}

impl std::fmt::Debug for Stall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Stall")
    }
}

impl Drop for TestDatabase {
    /// Best effort: what is left is dropped by a later run. On a thread of its own, because a
    /// test's runtime cannot be waited for from inside.
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
    format!("{PREFIX}_{schema}")
}

/// `melmastoon_test_<schema>_<seconds since 1970>_<random>`: the age can be read from the name.
fn fresh_name(schema: Schema) -> String {
    let random = Entropy::system().u128() as u64;
    format!("{PREFIX}_{schema}_{}_{random:016x}", Clock::system().unix_seconds())
}

/// The name of the complete template, made by whoever comes first.
async fn ensure_template(server_url: &str, schema: Schema) -> Result<String, Error> {
    let name = format!("{PREFIX}_template_{schema}_{}", schema.content_hash());
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

/// Under another name until it is complete, so that a half-made one is never copied.
async fn build_template(
    admin: &Admin,
    server_url: &str,
    schema: Schema,
    name: &str,
) -> Result<(), Error> {
    let (building, role) = (fresh_name(schema), role(schema));
    let place = Place { schema, database: &building, role: &role, password: PASSWORD };
    provision::create_role(admin, place).await?;
    admin.run(&format!("CREATE DATABASE {}", quoted(&building)), "create a database").await?;
    provision::migrate(server_url, place).await?;
    let sql = format!("ALTER DATABASE {} RENAME TO {}", quoted(&building), quoted(name));
    admin.run(&sql, "name the template").await?;
    let sql = format!("ALTER DATABASE {} ALLOW_CONNECTIONS false", quoted(name));
    admin.run(&sql, "close the template").await
}

async fn copy(server_url: &str, template: &str, place: Place<'_>) -> Result<(), Error> {
    let admin = Admin::connect(server_url).await?;
    let sql = format!("CREATE DATABASE {} TEMPLATE {}", quoted(place.database), quoted(template));
    admin.run(&sql, "copy the template").await?;
    provision::own_database(&admin, place).await?;
    admin.close().await;
    Ok(())
}

/// When a template was last asked for stands in its comment.
async fn mark_used(admin: &Admin, template: &str) -> Result<(), Error> {
    let now = Clock::system().unix_seconds();
    let sql = format!("COMMENT ON DATABASE {} IS '{now}'", quoted(template));
    admin.run(&sql, "mark the template as used").await
}

/// Databases of tests that were killed, told by the time in their name, and templates of
/// migrations that no longer exist.
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
    let rows = admin.client.query(sql, &[&PREFIX, &oldest, &unused]).await;
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

    const FIND: &str = "SELECT FROM pg_database WHERE datname = $1";

    #[tokio::test]
    async fn a_test_database_is_gone_after_the_test() {
        let database = TestDatabase::create(Schema::Inventory).await;
        let name = database.name().to_owned();
        let admin = Admin::connect(&server_url()).await.unwrap();
        assert!(admin.exists(FIND, &name).await.unwrap());
        drop(database);
        assert!(!admin.exists(FIND, &name).await.unwrap());
        admin.close().await;
    }

    #[tokio::test]
    async fn leftovers_are_dropped_and_what_is_young_stays() {
        let young = TestDatabase::create(Schema::Bff).await;
        let old = format!("{PREFIX}_bff_1000000000_{:016x}", Entropy::system().u128() as u64);
        let admin = Admin::connect(&server_url()).await.unwrap();
        admin.lock("melmastoon:test-template").await.unwrap();
        admin.run(&format!("CREATE DATABASE {old}"), "make a leftover").await.unwrap();
        drop_leftovers(&admin).await.unwrap();
        assert!(!admin.exists(FIND, &old).await.unwrap());
        assert!(admin.exists(FIND, young.name()).await.unwrap());
        admin.close().await;
    }
}
