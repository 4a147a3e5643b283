//! Writes the demo data into the services' databases: on the first start, and again on each new day,
//! because its guests, tasks and shifts belong to a day.
//!
//! Not here: the data itself, which `stand_ins::demo` defines and the stand-ins serve too.

use anyhow::{Context, ensure};
use contracts::clock::{Clock, wire_time};
use contracts::id::Id;
use jiff::{Timestamp, Unit};
use migrations::Schema;
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use stand_ins::demo::DemoData;
use tokio_postgres::{Client, Config, NoTls, Transaction};
use tokio_util::task::AbortOnDropHandle;

use crate::progress::Progress;
use crate::stack_info;

mod housekeeping;
mod inventory;
mod staff;

/// Rows of one table. Members of the first row that have no column of their name are not written, unless
/// they are `required`.
struct Batch {
    table: &'static str,
    rows: Vec<Value>,
    required: Vec<String>,
}

impl Batch {
    fn of<T: Serialize>(table: &'static str, items: &[T], house: &DemoData) -> Self {
        Self::with(table, items, house, |_| json!({}))
    }

    /// Rows with further members, which replace those of the items and must be columns.
    fn with<T: Serialize>(
        table: &'static str,
        items: &[T],
        house: &DemoData,
        more: impl Fn(&T) -> Value,
    ) -> Self {
        let row = |item: &T| {
            let mut row = json!({"created_at": house.now, "updated_at": house.now, "version": 0});
            for part in [json!(item), more(item)] {
                if let (Some(row), Value::Object(part)) = (row.as_object_mut(), part) {
                    row.extend(part);
                }
            }
            row
        };
        let required = names(items.first().map(&more).as_ref());
        Self { table, rows: items.iter().map(row).collect(), required }
    }

    /// Rows whose members must all be columns.
    fn exactly(table: &'static str, rows: Vec<Value>) -> Self {
        Self { table, required: names(rows.first()), rows }
    }
}

/// Names of the members of a row.
fn names(row: Option<&Value>) -> Vec<String> {
    row.and_then(Value::as_object).map(|row| row.keys().cloned().collect()).unwrap_or_default()
}

/// The demo data of one service, in the order that foreign keys require.
struct Share {
    schema: Schema,
    batches: Vec<Batch>,
}

/// Writes the demo data unless the databases already hold that of today.
pub async fn write(admin_url: &str, clock: &Clock, progress: &Progress) -> anyhow::Result<()> {
    let now = clock.now();
    let stamp = stamp(now)?;
    let step = progress.step("Demo data");
    let house = DemoData::at(now);
    let shares = shares(&house);
    let writing = shares.iter().map(|share| write_share(admin_url, share, &stamp));
    let written = futures_util::future::try_join_all(writing).await?;
    let state = if written.contains(&true) { "written" } else { "is up to date" };
    step.done(format!(
        "Demo data {state}: {} tenants, {} properties, {} rooms, {} reservations",
        house.tenants.len(),
        house.properties.len(),
        house.rooms.len(),
        house.reservations.len()
    ));
    Ok(())
}

fn shares(house: &DemoData) -> [Share; 3] {
    [
        Share { schema: Schema::Inventory, batches: inventory::batches(house) },
        Share { schema: Schema::Housekeeping, batches: housekeeping::batches(house) },
        Share { schema: Schema::Staff, batches: staff::batches(house) },
    ]
}

/// Identifies the rows of one day. It changes with the day and with the demo data.
fn stamp(now: Timestamp) -> anyhow::Result<String> {
    let day = now.round(
        jiff::TimestampRound::new().smallest(Unit::Hour).increment(24).mode(jiff::RoundMode::Trunc),
    )?;
    let shares = shares(&DemoData::at(day));
    let batches = shares.iter().flat_map(|share| &share.batches);
    let content: Vec<_> = batches.map(|batch| (batch.table, &batch.rows)).collect();
    let content = serde_json::to_vec(&content)?;
    let digest = Sha256::digest(content).first_chunk().copied().unwrap_or_default();
    Ok(format!("demo data of {} {:016x}", wire_time(day), u64::from_be_bytes(digest)))
}

/// Returns true when rows were written.
async fn write_share(admin_url: &str, share: &Share, stamp: &str) -> anyhow::Result<bool> {
    let schema = share.schema.name();
    let mut admin = Admin::connect(admin_url, schema).await?;
    let stored_stamp = "SELECT obj_description($1::text::regnamespace, 'pg_namespace')";
    let before: Option<String> = admin.client.query_one(stored_stamp, &[&schema]).await?.get(0);
    if before.as_deref() == Some(stamp) {
        return Ok(false);
    }
    let transaction = admin.client.transaction().await?;
    // Append-only triggers apply to the owner too, so they are off while the tables are emptied.
    transaction.batch_execute("SET LOCAL session_replication_role = replica").await?;
    let tables: Vec<&str> = share.batches.iter().map(|batch| batch.table).collect();
    transaction.batch_execute(&format!("TRUNCATE {} CASCADE", tables.join(", "))).await?;
    transaction.batch_execute("SET LOCAL session_replication_role = origin").await?;
    for batch in &share.batches {
        let inserted = insert(&transaction, batch).await;
        inserted.with_context(|| format!("writing the demo's {}", batch.table))?;
    }
    transaction.batch_execute(&format!("COMMENT ON SCHEMA {schema} IS '{stamp}'")).await?;
    transaction.commit().await?;
    // The services cache their query plans, which must not be those of empty tables.
    admin.client.batch_execute("ANALYZE").await?;
    Ok(true)
}

const COLUMNS_SQL: &str = "
    SELECT attname::text FROM pg_attribute
    WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped";

/// Writes a table's rows with one INSERT. The table's column types parse the JSON; columns that the rows
/// do not name keep their defaults.
async fn insert(transaction: &Transaction<'_>, batch: &Batch) -> anyhow::Result<()> {
    let Batch { table, rows, required } = batch;
    let first = rows.first().context("the demo has no row")?;
    let columns = transaction.query(COLUMNS_SQL, &[table]).await?;
    let columns = columns.iter().map(|row| row.get::<_, String>(0));
    let columns: Vec<String> = columns.filter(|name| first.get(name).is_some()).collect();
    let missing = required.iter().find(|name| !columns.contains(name));
    ensure!(missing.is_none(), "{table} has no column {missing:?}");
    let columns = columns.join(", ");
    let statement = format!(
        "INSERT INTO {table} ({columns})
         SELECT {columns} FROM jsonb_populate_recordset(NULL::{table}, $1)
         ON CONFLICT DO NOTHING"
    );
    transaction.execute(&statement, &[&Value::from(rows.clone())]).await?;
    Ok(())
}

/// Derives a stable id for rows that have none in the demo data.
fn derived_id<I: Id>(label: &str) -> I {
    let number = Sha256::digest(label).first_chunk().copied().map_or(0, u128::from_be_bytes);
    I::from_parts(Timestamp::UNIX_EPOCH, number)
}

/// A connection as the tables' owner.
struct Admin {
    client: Client,
    _connection: AbortOnDropHandle<()>,
}

impl Admin {
    async fn connect(admin_url: &str, database: &str) -> anyhow::Result<Self> {
        let mut config: Config = admin_url.parse()?;
        config.dbname(database);
        let (client, connection) = config.connect(NoTls).await?;
        let tracker = tokio_util::task::TaskTracker::new();
        let driving = tracker.spawn(async move {
            // The client's calls report the error.
            let _ = connection.await;
        });
        Ok(Self { client, _connection: AbortOnDropHandle::new(driving) })
    }
}

/// Returns a property's display name, such as `Lajward Hotel, Kabul`.
pub fn property_name(id: &str) -> Option<String> {
    let house = DemoData::at(Timestamp::UNIX_EPOCH);
    let property = house.properties.iter().find(|property| property.id.to_string() == id)?;
    Some(format!("{}, {}", property.name, property.city))
}

/// The operators that can sign in at the stand-in iam.
pub(crate) fn operators(clock: &Clock) -> Vec<stack_info::Operator> {
    let house = DemoData::at(clock.now());
    let operators = house.operators.into_iter().map(|operator| stack_info::Operator {
        username: operator.username,
        password: operator.password,
        totp_secret: operator.totp_secret,
        device_id: operator.device_id.to_string(),
        roles: operator.roles.iter().map(|role| role.name().to_owned()).collect(),
        tenant_id: operator.tenant_id.to_string(),
        property_ids: operator.property_ids.iter().map(ToString::to_string).collect(),
    });
    operators.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_day_has_the_same_stamp() {
        let stamp = |text: &str| stamp(text.parse().unwrap()).unwrap();
        assert_eq!(stamp("2026-11-21T00:00:00Z"), stamp("2026-11-21T23:59:59Z"));
        assert_ne!(stamp("2026-11-21T12:00:00Z"), stamp("2026-11-22T12:00:00Z"));
    }
}
