//! The desktops that send: operators signed in, each connection with a client of its own.
//!
//! Only owners and general managers take part: they see every widget, so that every dashboard
//! asks for the same work.

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
use launcher::info::Operator;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderValue};
use reqwest::{Client, Method, RequestBuilder, Url};

const SEE_EVERYTHING: [&str; 2] = ["tenant.admin", "property.gm"];

#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) desktop: Arc<Desktop>,
    pub(crate) property: String,
}

#[derive(Debug)]
pub(crate) struct Seats {
    pub(crate) seats: Vec<Seat>,
    pub(crate) operators: usize,
}

impl Seats {
    /// `connections` desktops; operators take turns, and those of several properties go round
    /// them. Their keys and tokens are kept in `folder`.
    pub(crate) fn open(
        info: &StackInfo,
        connections: u32,
        folder: &Path,
        clock: &Clock,
    ) -> anyhow::Result<Self> {
        let owners: Vec<&Operator> = info.operators.iter().filter(|it| is_owner(it)).collect();
        if owners.is_empty() {
            bail!("The demo house has no operator who sees every widget.");
        }
        let seat = |number: usize| {
            let operator = owners[number % owners.len()];
            let properties = &operator.property_ids;
            let turn = (number / owners.len()) % properties.len().max(1);
            let property = properties.get(turn).context("an operator has no property")?.clone();
            let desktop = Desktop::open(info, &operator.username, folder, clock.clone())?;
            anyhow::Ok(Seat { desktop: Arc::new(desktop), property })
        };
        let seats = (0..connections as usize).map(seat).collect::<anyhow::Result<Vec<_>>>()?;
        Ok(Self { operators: owners.len().min(seats.len()), seats })
    }

    /// Signs everyone in anew, so that no token ends during a measurement, and opens every
    /// connection; a nonce the gateway asks for is learnt here.
    pub(crate) async fn sign_in(&self) -> anyhow::Result<()> {
        for seat in self.seats.iter().take(self.operators) {
            seat.desktop.forget_tokens().await?;
            seat.desktop.access_token().await?;
        }
        for seat in &self.seats {
            let answer = seat.desktop.send(&Call::get("/session")).await?;
            if !answer.status().is_success() {
                bail!(
                    "The gateway refused {}: {}",
                    seat.desktop.operator().username,
                    answer.status()
                );
            }
        }
        Ok(())
    }
}

/// Which of `seats` sends each of `count` requests: the same for the same seed.
pub(crate) fn draw(seats: usize, count: usize, seed: u64) -> Vec<usize> {
    let entropy = Entropy::seeded(seed);
    (0..count).map(|_| ((entropy.unit() * seats as f64) as usize).min(seats - 1)).collect()
}

fn is_owner(operator: &Operator) -> bool {
    operator.roles.iter().any(|role| SEE_EVERYTHING.contains(&role.as_str()))
}

/// What one seat sends again and again, all of it but the proof made ahead.
#[derive(Debug)]
pub(crate) struct Aim {
    desktop: Arc<Desktop>,
    http: Client,
    /// What the proof names.
    url: Url,
    /// Where it is sent.
    to: Url,
    nights: Option<Nights>,
    token: String,
    authorization: HeaderValue,
    device: HeaderValue,
    accept: HeaderValue,
}

impl Aim {
    /// Refuses to aim at another machine.
    pub(crate) async fn at(seat: &Seat, url: Url, accept: &'static str) -> anyhow::Result<Self> {
        require_loopback(&url)?;
        let token = seat.desktop.access_token().await?;
        Ok(Self {
            http: seat.desktop.http().clone(),
            to: url.clone(),
            nights: None,
            url,
            authorization: format!("DPoP {token}").parse()?,
            token,
            device: seat.desktop.operator().device_id.parse()?,
            accept: HeaderValue::from_static(accept),
            desktop: Arc::clone(&seat.desktop),
        })
    }

    /// The same, sent to an instance without TLS over connections of its own: it stands behind a
    /// load balancer, whose address the proofs name.
    pub(crate) fn through(self, gateway: &Url) -> anyhow::Result<Self> {
        require_loopback(gateway)?;
        let mut to = gateway.join(self.url.path())?;
        to.set_query(self.url.query());
        Ok(Self { http: http_client::plain()?, to, ..self })
    }

    /// The same, of other nights each time.
    pub(crate) fn of_other_nights(self, nights: Nights) -> Self {
        Self { nights: Some(nights), ..self }
    }

    pub(crate) fn tenant(&self) -> &str {
        &self.desktop.operator().tenant_id
    }

    /// A fresh proof for it, dated `iat` (seconds since 1970).
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

/// Nights that nobody has asked about before, each time: nobody else asks the same now.
#[derive(Debug, Clone)]
pub(crate) struct Nights {
    next: Arc<AtomicU16>,
    length: u16,
}

impl Nights {
    pub(crate) fn of(length: u16) -> Self {
        Self { next: Arc::default(), length }
    }

    /// A proof does not name the query, so that it may be added late.
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
    bail!("{host} is not this machine: a measurement only ever loads its own stack.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_draw_repeats_and_uses_every_seat() {
        let first = draw(5, 1000, 7);
        assert_eq!(first, draw(5, 1000, 7));
        assert_ne!(first, draw(5, 1000, 8));
        assert!((0..5).all(|seat| first.contains(&seat)) && first.iter().all(|seat| *seat < 5));
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
