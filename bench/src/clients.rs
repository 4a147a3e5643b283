//! Signed-in desktops, each with its own connection.
//!
//! Only operators who see every widget take part, so that every dashboard causes the same work.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::{Context, bail};
use contracts::clock::{Clock, Entropy};
use contracts::headers::{DEVICE_ID, DPOP};
use jiff::ToSpan;
use jiff::civil::date;
use launcher::StackInfo;
use launcher::desktop::{Call, Desktop};
use launcher::http_client;
use launcher::stack_info::Operator;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderValue};
use reqwest::{Client, Method, RequestBuilder, Url};

const ROLES_WITH_ALL_WIDGETS: [&str; 2] = ["tenant.admin", "property.gm"];

#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) desktop: Arc<Desktop>,
    pub(crate) property: String,
}

#[derive(Debug)]
pub(crate) struct Clients {
    pub(crate) connections: Vec<Connection>,
    pub(crate) operators: usize,
}

impl Clients {
    /// Opens `connections` desktops, assigned to operators and their properties in turn. Keys and tokens
    /// are stored in `folder`.
    pub(crate) fn open(
        info: &StackInfo,
        connections: u32,
        folder: &Path,
        clock: &Clock,
    ) -> anyhow::Result<Self> {
        let sees_all = |operator: &Operator| {
            operator.roles.iter().any(|role| ROLES_WITH_ALL_WIDGETS.contains(&role.as_str()))
        };
        let owners: Vec<&Operator> =
            info.operators.iter().filter(|operator| sees_all(operator)).collect();
        if owners.is_empty() {
            bail!("No demo operator sees every widget.");
        }
        let connection = |number: usize| {
            let operator = owners[number % owners.len()];
            let properties = &operator.property_ids;
            let turn = (number / owners.len()) % properties.len().max(1);
            let property = properties.get(turn).context("an operator has no property")?.clone();
            let desktop = Desktop::open(info, &operator.username, folder, clock.clone())?;
            anyhow::Ok(Connection { desktop: Arc::new(desktop), property })
        };
        let connections =
            (0..connections as usize).map(connection).collect::<anyhow::Result<Vec<_>>>()?;
        Ok(Self { operators: owners.len().min(connections.len()), connections })
    }

    /// Signs everyone in again, so that no token expires during a measurement, and opens every
    /// connection. A nonce that the gateway requires is stored here.
    pub(crate) async fn sign_in(&self) -> anyhow::Result<()> {
        for connection in self.connections.iter().take(self.operators) {
            connection.desktop.forget_tokens().await?;
            connection.desktop.access_token().await?;
        }
        for connection in &self.connections {
            let answer = connection.desktop.send(&Call::get("/session")).await?;
            if !answer.status().is_success() {
                bail!(
                    "The gateway refused {}: {}",
                    connection.desktop.operator().username,
                    answer.status()
                );
            }
        }
        Ok(())
    }
}

/// Picks which of `connections` sends each of `count` requests, deterministically by seed.
pub(crate) fn pick_connections(connections: usize, count: usize, seed: u64) -> Vec<usize> {
    let entropy = Entropy::seeded(seed);
    (0..count)
        .map(|_| ((entropy.unit() * connections as f64) as usize).min(connections - 1))
        .collect()
}

/// The request that one connection repeats. Only its proof changes.
#[derive(Debug)]
pub(crate) struct RequestTemplate {
    desktop: Arc<Desktop>,
    http: Client,
    /// URL in the proof's `htu`.
    url: Url,
    /// URL that it is sent to.
    to: Url,
    /// Different ones in each request.
    pub(crate) nights: Option<Nights>,
    token: String,
    authorization: HeaderValue,
    device: HeaderValue,
    accept: HeaderValue,
}

impl RequestTemplate {
    /// Fails if `url` is not on this machine.
    pub(crate) async fn new(
        connection: &Connection,
        url: Url,
        accept: &'static str,
    ) -> anyhow::Result<Self> {
        require_loopback(&url)?;
        let token = connection.desktop.access_token().await?;
        Ok(Self {
            http: connection.desktop.http().clone(),
            to: url.clone(),
            nights: None,
            url,
            authorization: format!("DPoP {token}").parse()?,
            token,
            device: connection.desktop.operator().device_id.parse()?,
            accept: HeaderValue::from_static(accept),
            desktop: Arc::clone(&connection.desktop),
        })
    }

    /// Sends to an instance without TLS over its own connections. The proofs keep the original URL, as
    /// behind a load balancer.
    pub(crate) fn sent_to(self, gateway: &Url) -> anyhow::Result<Self> {
        require_loopback(gateway)?;
        let mut to = gateway.join(self.url.path())?;
        to.set_query(self.url.query());
        Ok(Self { http: http_client::plain()?, to, ..self })
    }

    pub(crate) fn tenant(&self) -> &str {
        &self.desktop.operator().tenant_id
    }

    /// Signs a proof dated `iat` (Unix seconds).
    pub(crate) fn proof(&self, iat: i64) -> anyhow::Result<String> {
        let proof = self.desktop.proof(&Method::GET, &self.url, &self.token);
        proof.claim("iat", iat).sign(self.desktop.key())
    }

    pub(crate) fn request(&self, proof: &str) -> RequestBuilder {
        let mut to = self.to.clone();
        if let Some(nights) = &self.nights {
            nights.next_into(&mut to);
        }
        self.http
            .get(to)
            .header(AUTHORIZATION, self.authorization.clone())
            .header(DPOP, proof)
            .header(DEVICE_ID, self.device.clone())
            .header(ACCEPT, self.accept.clone())
    }
}

/// Produces nights that were not requested before, so that no two requests share an upstream call.
#[derive(Debug, Clone)]
pub(crate) struct Nights {
    next: Arc<AtomicU16>,
    length: u16,
}

impl Nights {
    pub(crate) fn of(length: u16) -> Self {
        Self { next: Arc::default(), length }
    }

    /// Adds the query after signing; a proof's `htu` has no query.
    fn next_into(&self, url: &mut Url) {
        let days = i64::from(self.next.fetch_add(1, Ordering::Relaxed));
        let from = date(1970, 1, 1).saturating_add(days.days());
        let to = from.saturating_add(i64::from(self.length).days());
        url.query_pairs_mut()
            .append_pair("from", &from.to_string())
            .append_pair("to", &to.to_string());
    }
}

pub(crate) fn require_loopback(url: &Url) -> anyhow::Result<()> {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    if host == "localhost" || address.is_ok_and(|address| address.is_loopback()) {
        return Ok(());
    }
    bail!("{host} is not this machine: a measurement only loads its own stack.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn picks_repeat_and_use_every_connection() {
        let first = pick_connections(5, 1000, 7);
        assert_eq!(first, pick_connections(5, 1000, 7));
        assert_ne!(first, pick_connections(5, 1000, 8));
        assert!(
            (0..5).all(|connection| first.contains(&connection))
                && first.iter().all(|connection| *connection < 5)
        );
    }

    #[test]
    fn other_machines_are_refused() {
        let allowed = |url: &str| require_loopback(&Url::parse(url).unwrap()).is_ok();
        assert!(allowed("https://localhost:8083/x") && allowed("http://127.0.0.1:1/"));
        assert!(allowed("http://[::1]:80/"));
        assert!(!allowed("https://example.com/") && !allowed("http://10.0.0.7/"));
        assert!(!allowed("http://localhost.example.com/"));
    }
}
