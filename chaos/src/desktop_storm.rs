//! Many desktops that come online at once. Each has a device id, a key, a session, a token and a
//! connection of its own.
//!
//! The demo has one desktop per operator, and iam signs in no other. The storm's are further desktops of
//! the same operators: each operator signs in at iam, and iam's key signs the token again for each
//! further device and its key, as iam would after a sign-in there.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, bail};
use auth::jwk::thumbprint;
use contracts::clock::{Clock, Entropy};
use contracts::headers::{DEVICE_ID, DPOP};
use contracts::id::{DeviceId, Id, SessionId};
use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use launcher::desktop::{Desktop, DeviceKey, Proof};
use launcher::http_client::tls_trusting;
use reqwest::header::AUTHORIZATION;
use reqwest::{Client, Method, RequestBuilder, Url};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use crate::drill_env::DrillEnv;
use crate::minted_token::Mint;
use crate::timed_call::TimedResponse;

/// Desktops of one hotel, which share a client address.
const DESKTOPS_PER_ADDRESS: usize = 20;
/// Pause between two tries. A desktop of a hotel waits 30 s.
const RETRY_PAUSE: Duration = Duration::from_millis(100);
/// Timeout of a handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// One desktop.
#[derive(Debug)]
struct StormDesktop {
    http: Client,
    url: Url,
    device: DeviceId,
    key: DeviceKey,
    token: String,
}

#[derive(Debug)]
pub struct DesktopStorm(Vec<StormDesktop>);

impl DesktopStorm {
    /// Signs every operator in, and makes `count` desktops of them.
    pub async fn open(env: &DrillEnv, count: usize) -> anyhow::Result<Self> {
        let (info, mint) = (env.stack.info(), Mint::of(env)?);
        let mut tokens = Vec::new();
        for operator in &info.operators {
            let folder = env.folder.join("desktop");
            let desktop = Desktop::open(info, &operator.username, &folder, Clock::system())?;
            // This stack's iam does not accept tokens of an earlier stack.
            desktop.forget_tokens().await?;
            tokens.push((desktop.access_token().await?, desktop.url("/sync/handshake")?));
        }
        anyhow::ensure!(!tokens.is_empty(), "the demo data has no operator");
        let desktops = (0..count).map(|number| {
            let (token, url) = &tokens[number % tokens.len()];
            StormDesktop::of(number, token, url, &mint, env)
        });
        Ok(Self(desktops.collect::<anyhow::Result<_>>()?))
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Sends all handshakes at once. Each is signed before the first is sent.
    pub async fn handshake_all(&self) -> anyhow::Result<Vec<TimedResponse>> {
        let requests = self.0.iter().map(StormDesktop::handshake);
        let requests = requests.collect::<anyhow::Result<Vec<_>>>()?;
        Ok(join_all(requests.into_iter().map(send)).await)
    }

    /// Sends handshakes, this many at a time, and again by those that failed, until every desktop has a
    /// session. Returns the time it took.
    pub async fn come_online(&self, group: usize, within: Duration) -> anyhow::Result<Duration> {
        let (begun, mut offline) = (Instant::now(), self.0.iter().collect::<Vec<_>>());
        while !offline.is_empty() {
            if begun.elapsed() >= within {
                bail!("{} of {} were not within {} s", offline.len(), self.len(), within.as_secs());
            }
            let sending = stream::iter(offline).map(async |desktop| {
                let answer = send(desktop.handshake()?).await;
                anyhow::Ok((desktop, answer.status))
            });
            let tried: Vec<anyhow::Result<_>> = sending.buffer_unordered(group).collect().await;
            let tried = tried.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
            let failed = tried.into_iter().filter(|(_, status)| *status != 200);
            offline = failed.map(|(desktop, _)| desktop).collect();
            sleep(RETRY_PAUSE).await;
        }
        Ok(begun.elapsed())
    }
}

impl StormDesktop {
    fn of(
        number: usize,
        issued: &str,
        url: &Url,
        mint: &Mint,
        env: &DrillEnv,
    ) -> anyhow::Result<Self> {
        let (clock, entropy) = (Clock::system(), Entropy::system());
        let (device, key) = (DeviceId::generate(&clock, &entropy), DeviceKey::generate()?);
        let session = SessionId::generate(&clock, &entropy);
        let bound_to = thumbprint(key.public_jwk()?.to_string().as_bytes());
        let bound_to = bound_to.ok().context("a device key has a thumbprint")?;
        let token = mint.sign(issued, |claims| {
            (claims["device_id"], claims["sid"]) = (json!(device), json!(session));
            claims["cnf"] = json!({"jkt": bound_to});
        })?;
        Ok(Self { http: client(number, env)?, url: url.clone(), device, key, token })
    }

    /// Signs the handshake of a desktop that has no cursor.
    fn handshake(&self) -> anyhow::Result<RequestBuilder> {
        let now = Clock::system().unix_seconds();
        let proof = Proof::new(&Method::POST, &self.url, now).for_token(&self.token);
        let request = self.http.post(self.url.clone()).json(&json!({}));
        Ok(request
            .header(AUTHORIZATION, format!("DPoP {}", self.token))
            .header(DPOP, proof.sign(&self.key)?)
            .header(DEVICE_ID, self.device.as_str()))
    }
}

/// A client whose address is that of its hotel: one of the loopback addresses.
fn client(number: usize, env: &DrillEnv) -> anyhow::Result<Client> {
    let hotel = u8::try_from(1 + number / DESKTOPS_PER_ADDRESS).context("too many desktops")?;
    let tls = tls_trusting(&env.stack.info().ca_file)?;
    Client::builder()
        .tls_backend_preconfigured(tls)
        .no_proxy()
        .local_address(IpAddr::from(Ipv4Addr::new(127, 0, 1, hotel)))
        .resolve("localhost", SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
        .build()
        .context("making an HTTP client")
}

/// Without a response, the status is 0.
async fn send(request: RequestBuilder) -> TimedResponse {
    let begun = Instant::now();
    let answer = timeout(HANDSHAKE_TIMEOUT, async {
        let response = request.send().await?;
        let status = response.status().as_u16();
        anyhow::Ok((status, response.json::<Value>().await?))
    });
    let answer = Box::pin(answer).await.ok().and_then(Result::ok);
    let (status, body) = answer.unwrap_or_default();
    TimedResponse::of(status, body, begun.elapsed())
}
