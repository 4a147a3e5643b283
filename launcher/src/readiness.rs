//! Readiness checks of child processes.

use std::time::Duration;

use reqwest::Client;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::http_client;

/// Timeout of one attempt; the caller retries.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(1);

#[derive(Debug, Clone)]
pub enum ReadyCheck {
    /// Ready as soon as it runs.
    Running,
    /// Ready when a GET returns a success status.
    Http { url: String, client: Client },
    /// Ready when PING returns PONG.
    Redis { port: u16, password: String },
    /// Ready when a query with the administrator's URL succeeds.
    Postgres { url: String },
}

impl ReadyCheck {
    pub fn http(url: String) -> anyhow::Result<Self> {
        Ok(Self::Http { url, client: http_client::plain()? })
    }

    /// Makes one attempt.
    pub async fn check(&self) -> bool {
        let attempt = async {
            match self {
                Self::Running => true,
                Self::Http { url, client } => {
                    client.get(url).send().await.is_ok_and(|answer| answer.status().is_success())
                }
                Self::Redis { port, password } => {
                    answers_ping(*port, password).await.unwrap_or(false)
                }
                Self::Postgres { url } => accepts_queries(url).await.is_ok(),
            }
        };
        timeout(ATTEMPT_TIMEOUT, attempt).await.unwrap_or(false)
    }
}

async fn answers_ping(port: u16, password: &str) -> anyhow::Result<bool> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(format!("AUTH {password}\r\nPING\r\nQUIT\r\n").as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer.contains("+PONG"))
}

async fn accepts_queries(url: &str) -> anyhow::Result<()> {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await?;
    let query = async { client.simple_query("SELECT 1").await };
    tokio::select! {
        answer = query => drop(answer?),
        ended = connection => ended?,
    }
    Ok(())
}
