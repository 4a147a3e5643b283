//! When a child may be used: its own answer, not the fact that it runs.

use std::time::Duration;

use reqwest::Client;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::http_client;

/// One attempt may take this long; the caller tries again.
const ATTEMPT: Duration = Duration::from_secs(1);

#[derive(Debug, Clone)]
pub enum Ready {
    /// As soon as it runs.
    Running,
    /// A GET answers 200.
    Http { url: String, client: Client },
    /// PING answers PONG.
    Redis { port: u16, password: String },
    /// A connection with the administrator's URL is accepted.
    Postgres { url: String },
}

impl Ready {
    pub fn http(url: String) -> anyhow::Result<Self> {
        Ok(Self::Http { url, client: http_client::plain()? })
    }

    /// One attempt.
    pub async fn check(&self) -> bool {
        let attempt = async {
            match self {
                Self::Running => true,
                Self::Http { url, client } => answers_ok(client, url).await.unwrap_or(false),
                Self::Redis { port, password } => pongs(*port, password).await.unwrap_or(false),
                Self::Postgres { url } => accepts(url).await.is_ok(),
            }
        };
        timeout(ATTEMPT, attempt).await.unwrap_or(false)
    }
}

async fn answers_ok(client: &Client, url: &str) -> reqwest::Result<bool> {
    Ok(client.get(url).send().await?.status().is_success())
}

async fn pongs(port: u16, password: &str) -> anyhow::Result<bool> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(format!("AUTH {password}\r\nPING\r\nQUIT\r\n").as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer.contains("+PONG"))
}

async fn accepts(url: &str) -> anyhow::Result<()> {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await?;
    let asked = async { client.simple_query("SELECT 1").await };
    tokio::select! {
        answer = asked => drop(answer?),
        ended = connection => ended?,
    }
    Ok(())
}
