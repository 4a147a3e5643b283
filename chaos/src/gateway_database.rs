//! The gateway's database, read and locked from outside by the administrator.
//!
//! Not here: expectations, which are part of the drills.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config, NoTls};

use crate::drill_env::DrillEnv;

const DATABASE: &str = "bff";
/// The gateway's statements end after 0.8 s.
const WAITS_WITHIN: Duration = Duration::from_secs(3);

/// A connection of the administrator, whom row-level security does not restrict.
#[derive(Debug)]
pub struct GatewayDatabase {
    client: Client,
    #[expect(dead_code, reason = "held, not read")]
    connection: JoinSet<()>,
}

impl GatewayDatabase {
    pub async fn connect(env: &DrillEnv) -> anyhow::Result<Self> {
        Self::connect_to(&env.stack.info().postgres.admin_url).await
    }

    /// Connects to the gateway's database of the server that this URL names.
    pub async fn connect_to(admin_url: &str) -> anyhow::Result<Self> {
        let mut config: Config = admin_url.parse()?;
        let (client, connection) = config.dbname(DATABASE).connect(NoTls).await?;
        let mut driving = JoinSet::new();
        // An error ends the client too, and is the next statement's.
        driving.spawn(async move { drop(connection.await) });
        Ok(Self { client, connection: driving })
    }

    /// Runs statements.
    pub async fn run(&self, sql: &str) -> anyhow::Result<()> {
        Ok(self.client.batch_execute(sql).await?)
    }

    /// Returns the one number that the query selects.
    pub async fn count(&self, sql: &str, values: &[&(dyn ToSql + Sync)]) -> anyhow::Result<i64> {
        Ok(self.client.query_one(sql, values).await?.try_get(0)?)
    }

    /// State of the claim of an idempotency key: `claimed` or `completed`, or `none`.
    pub async fn claim_state(&self, key: &str) -> anyhow::Result<String> {
        let sql = "SELECT state FROM bff.idempotency WHERE idempotency_key = $1";
        let row = self.client.query_opt(sql, &[&key]).await?;
        Ok(row.map_or(Ok("none".to_owned()), |row| row.try_get(0))?)
    }
}

/// A lock on the table of idempotency keys. While it is held, the gateway can neither claim a key nor
/// complete a claim. Dropping it releases the lock.
#[derive(Debug)]
pub struct HeldClaims(GatewayDatabase);

impl HeldClaims {
    pub async fn take(env: &DrillEnv) -> anyhow::Result<Self> {
        let database = GatewayDatabase::connect(env).await?;
        database.run("BEGIN; LOCK TABLE bff.idempotency IN ACCESS EXCLUSIVE MODE").await?;
        Ok(Self(database))
    }

    /// Waits until a statement of the gateway waits for the lock.
    pub async fn until_waited_for(&self, env: &DrillEnv) -> anyhow::Result<()> {
        let sql = "SELECT count(*) FROM pg_locks
                   WHERE relation = 'bff.idempotency'::regclass AND NOT granted";
        let is_waited_for = async |_: &DrillEnv| Ok(self.0.count(sql, &[]).await? > 0);
        env.wait_until("a statement that waits", WAITS_WITHIN, is_waited_for).await.map(drop)
    }

    pub async fn release(self) -> anyhow::Result<()> {
        self.0.run("ROLLBACK").await
    }
}
