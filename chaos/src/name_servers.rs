//! The two name servers of the gateway's name, and a resolver that asks them: what the managed DNS, its
//! second provider and a desktop's operating system are in production.
//!
//! Not here: other names and other types of records.

use std::iter;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::net::UdpSocket;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

mod message;

use message::{Answer, MAX_BYTES};

/// Time to live of the record.
pub const TTL: Duration = Duration::from_secs(2);
/// A server that takes longer is skipped.
const RESPONSE_TIMEOUT: Duration = Duration::from_millis(300);

/// What a name server responds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameResponse {
    Address(Ipv4Addr),
    /// The name does not exist.
    Missing,
    /// No response.
    Silent,
}

/// A primary and a secondary server.
#[derive(Debug)]
pub struct NameServers {
    servers: [NameServer; 2],
    /// The right response.
    right: NameResponse,
    #[expect(dead_code, reason = "held, not read")]
    running: JoinSet<()>,
}

#[derive(Debug)]
struct NameServer {
    address: SocketAddr,
    response: watch::Sender<NameResponse>,
    queries: Arc<AtomicUsize>,
}

impl NameServers {
    /// Starts both servers, which resolve every name to this address.
    pub async fn start(gateway: Ipv4Addr) -> anyhow::Result<Self> {
        let (mut running, right) = (JoinSet::new(), NameResponse::Address(gateway));
        let primary = NameServer::start(right, &mut running).await?;
        let secondary = NameServer::start(right, &mut running).await?;
        Ok(Self { servers: [primary, secondary], right, running })
    }

    /// Sets what both servers respond: they serve the same zone.
    pub fn set(&self, response: NameResponse) {
        for server in &self.servers {
            server.response.send_replace(response);
        }
    }

    /// Makes the primary server silent.
    pub fn silence_primary(&self) {
        self.servers[0].response.send_replace(NameResponse::Silent);
    }

    /// Makes both servers respond with the right address.
    pub fn restore(&self) {
        self.set(self.right);
    }

    /// Number of queries that the secondary server has got.
    pub fn secondary_queries(&self) -> usize {
        self.servers[1].queries.load(Ordering::Relaxed)
    }

    /// A resolver that asks the primary server, and the secondary one if that does not respond.
    pub fn resolver(&self) -> Resolver {
        let servers = [self.servers[0].address, self.servers[1].address];
        Resolver { servers, cached: Arc::default() }
    }
}

impl NameServer {
    async fn start(right: NameResponse, running: &mut JoinSet<()>) -> anyhow::Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let (address, queries) = (socket.local_addr()?, Arc::<AtomicUsize>::default());
        let (response, current) = watch::channel(right);
        running.spawn(serve(socket, current, Arc::clone(&queries)));
        Ok(Self { address, response, queries })
    }
}

async fn serve(
    socket: UdpSocket,
    current: watch::Receiver<NameResponse>,
    queries: Arc<AtomicUsize>,
) {
    let mut buffer = [0; MAX_BYTES];
    while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
        queries.fetch_add(1, Ordering::Relaxed);
        let answer = match *current.borrow() {
            NameResponse::Address(address) => Answer::Address { address, ttl: TTL },
            NameResponse::Missing => Answer::NoSuchName,
            NameResponse::Silent => continue,
        };
        if let Some(response) = message::response(&buffer[..length], answer) {
            // A client that has gone does not need it.
            drop(socket.send_to(&response, from).await);
        }
    }
}

/// Resolves names at the two servers and caches an address for its time to live.
#[derive(Debug, Clone)]
pub struct Resolver {
    servers: [SocketAddr; 2],
    cached: Arc<Mutex<Option<Cached>>>,
}

#[derive(Debug)]
struct Cached {
    name: String,
    address: Ipv4Addr,
    until: Instant,
}

impl Resolver {
    async fn address(&self, name: &str) -> anyhow::Result<Ipv4Addr> {
        let mut cached = self.cached.lock().await;
        if let Some(cached) = &*cached
            && cached.name == name
            && Instant::now() < cached.until
        {
            return Ok(cached.address);
        }
        *cached = None;
        let Answer::Address { address, ttl } = self.ask(name).await? else {
            bail!("there is no name {name}");
        };
        let (name, until) = (name.to_owned(), Instant::now() + ttl);
        *cached = Some(Cached { name, address, until });
        Ok(address)
    }

    /// Asks the servers in turn until one responds.
    async fn ask(&self, name: &str) -> anyhow::Result<Answer> {
        for server in self.servers {
            if let Ok(answer) = timeout(RESPONSE_TIMEOUT, ask(server, name)).await {
                return answer;
            }
        }
        bail!("no name server responds")
    }
}

async fn ask(server: SocketAddr, name: &str) -> anyhow::Result<Answer> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    socket.connect(server).await?;
    // The socket receives from this server only, so that the id distinguishes nothing.
    socket.send(&message::query(0, name)).await?;
    let mut buffer = [0; MAX_BYTES];
    let length = socket.recv(&mut buffer).await?;
    message::answer(&buffer[..length]).context("a name server's response cannot be read")
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let resolver = self.clone();
        Box::pin(async move {
            let address = resolver.address(name.as_str()).await?;
            // The port is the URL's.
            let addresses: Addrs = Box::new(iter::once(SocketAddr::from((address, 0))));
            Ok(addresses)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RIGHT: Ipv4Addr = Ipv4Addr::LOCALHOST;
    const WRONG: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

    #[tokio::test]
    async fn an_address_is_cached_for_its_time_to_live() {
        let servers = NameServers::start(RIGHT).await.unwrap();
        let resolver = servers.resolver();
        assert_eq!(resolver.address("a").await.unwrap(), RIGHT);
        servers.set(NameResponse::Address(WRONG));
        assert_eq!(resolver.address("a").await.unwrap(), RIGHT);
        assert_eq!(resolver.address("b").await.unwrap(), WRONG);
        tokio::time::pause();
        tokio::time::advance(TTL).await;
        tokio::time::resume();
        servers.set(NameResponse::Missing);
        assert!(resolver.address("b").await.is_err());
    }

    #[tokio::test]
    async fn the_secondary_server_is_asked_only_if_the_primary_is_silent() {
        let servers = NameServers::start(RIGHT).await.unwrap();
        let resolve = async || servers.resolver().address("a").await;
        assert_eq!(resolve().await.unwrap(), RIGHT);
        assert_eq!(servers.secondary_queries(), 0);
        servers.silence_primary();
        assert_eq!(resolve().await.unwrap(), RIGHT);
        assert_eq!(servers.secondary_queries(), 1);
        servers.set(NameResponse::Silent);
        assert!(resolve().await.unwrap_err().to_string().contains("no name server responds"));
    }
}
