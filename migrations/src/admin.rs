//! A connection as admin, with an advisory lock against concurrent provisioning.

use std::time::Duration;

use tokio_postgres::{Client, Config, NoTls};
use tokio_util::task::TaskTracker;
use tracing::warn;
use url::Url;

use crate::error::{Doing, Error};

const LOCK_POLL_INTERVAL: Duration = Duration::from_millis(50);
const MAX_LOCK_POLLS: u32 = 1200;

/// An admin session, which has ended once [`Admin::close`] returns.
pub(crate) struct Admin {
    pub(crate) client: Client,
    connection: TaskTracker,
}

impl Admin {
    pub(crate) async fn connect(url: &str) -> Result<Self, Error> {
        let config: Config = url.parse().map_err(|error| Error::AdminUrl(Box::new(error)))?;
        let (client, connection) = config.connect(NoTls).await.map_err(Error::Connect)?;
        let tracker = TaskTracker::new();
        tracker.spawn(async move {
            if let Err(error) = connection.await {
                warn!(%error, "the admin connection ended early");
            }
        });
        Ok(Self { client, connection: tracker })
    }

    /// Takes an advisory lock for the rest of the session. Polls, because a waiting
    /// session holds a snapshot, for which `CREATE INDEX CONCURRENTLY` would wait in turn.
    pub(crate) async fn lock(&self, what: &str) -> Result<(), Error> {
        for _ in 0..MAX_LOCK_POLLS {
            if self.try_lock(what).await? {
                return Ok(());
            }
            tokio::time::sleep(LOCK_POLL_INTERVAL).await;
        }
        Err(Error::Locked { what: what.to_owned() })
    }

    async fn try_lock(&self, what: &str) -> Result<bool, Error> {
        let sql = "SELECT pg_try_advisory_lock(hashtextextended($1, 0))";
        let row = self.client.query_one(sql, &[&what]).await.doing("take an advisory lock")?;
        Ok(row.get(0))
    }

    pub(crate) async fn run(&self, sql: &str, doing: &'static str) -> Result<(), Error> {
        self.client.batch_execute(sql).await.doing(doing)
    }

    pub(crate) async fn exists(&self, sql: &str, name: &str) -> Result<bool, Error> {
        let found = self.client.query_opt(sql, &[&name]).await.doing("read the catalog")?;
        Ok(found.is_some())
    }

    /// Ends the session and waits for its end.
    pub(crate) async fn close(self) {
        drop(self.client);
        self.connection.close();
        self.connection.wait().await;
    }
}

/// The URL of another database on the same server.
pub(crate) fn with_database(url: &str, database: &str) -> Result<String, Error> {
    let mut url = parse(url)?;
    url.set_path(database);
    Ok(url.into())
}

/// The URL for another login. A URL without a host (a socket in the query) cannot have user and
/// password in the authority, so they are added to the query.
pub(crate) fn with_login(url: &str, user: &str, password: &str) -> Result<String, Error> {
    let mut url = parse(url)?;
    if url.set_username(user).is_err() || url.set_password(Some(password)).is_err() {
        url.query_pairs_mut().append_pair("user", user).append_pair("password", password);
    }
    Ok(url.into())
}

fn parse(url: &str) -> Result<Url, Error> {
    Url::parse(url).map_err(|error| Error::AdminUrl(Box::new(error)))
}

/// Quotes an identifier.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_put_where_the_url_has_room_for_it() {
        let tcp = with_login("postgres://root@127.0.0.1:5432/postgres", "staff", "a b").unwrap();
        assert_eq!(tcp, "postgres://staff:a%20b@127.0.0.1:5432/postgres");
        let socket = with_login("postgres:///postgres?host=/run/pg", "staff", "x").unwrap();
        let config: Config = socket.parse().unwrap();
        assert_eq!((config.get_user(), config.get_dbname()), (Some("staff"), Some("postgres")));
    }

    #[test]
    fn only_the_database_changes() {
        let url = with_database("postgres://a:b@h:1/postgres?sslmode=disable", "bff").unwrap();
        assert_eq!(url, "postgres://a:b@h:1/bff?sslmode=disable");
    }
}
