//! The gateway's durable records of changes, read from its database.
//!
//! Not here: expectations, which are part of the drills.

use crate::drill_env::DrillEnv;

const DATABASE: &str = "bff";
const OUTCOMES_SQL: &str = "
    SELECT coalesce(string_agg(outcome, ' ' ORDER BY occurred_at, id), '')
    FROM bff.operator_activity WHERE detail ->> 'idempotencyKey' = $1";

/// Outcomes in the operator activity of this idempotency key, in order.
pub async fn activity(env: &DrillEnv, key: &str) -> anyhow::Result<String> {
    let mut config: tokio_postgres::Config = env.stack.info().postgres.admin_url.parse()?;
    let (client, connection) = config.dbname(DATABASE).connect(tokio_postgres::NoTls).await?;
    let driving = async move { connection.await.map_err(anyhow::Error::from) };
    let querying = async move {
        let row = client.query_one(OUTCOMES_SQL, &[&key]).await?;
        anyhow::Ok(row.get::<_, String>(0))
    };
    let (driven, outcomes) = tokio::join!(driving, querying);
    driven.and(outcomes)
}
