//! A TCP proxy on an address that stays while what it leads to is exchanged: what the address of
//! a managed server does in a failover.

use std::net::SocketAddr;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Dropping it cuts every connection.
#[derive(Debug)]
pub struct Proxy {
    pub address: SocketAddr,
    target: watch::Sender<SocketAddr>,
    #[expect(dead_code, reason = "held, not read")]
    running: JoinSet<()>,
}

impl Proxy {
    pub async fn start(target: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (address, mut running) = (listener.local_addr()?, JoinSet::new());
        let (target, leads_to) = watch::channel(target);
        running.spawn(accept(listener, leads_to));
        Ok(Self { address, target, running })
    }

    /// New connections go there; the old ones are cut.
    pub fn lead_to(&self, target: SocketAddr) {
        self.target.send_replace(target);
    }
}

async fn accept(listener: TcpListener, target: watch::Receiver<SocketAddr>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        connections.spawn(carry(client, target.clone()));
        while connections.try_join_next().is_some() {}
    }
}

async fn carry(mut client: TcpStream, mut target: watch::Receiver<SocketAddr>) {
    let address = *target.borrow_and_update();
    let Ok(mut server) = TcpStream::connect(address).await else { return };
    tokio::select! {
        _ = copy_bidirectional(&mut client, &mut server) => {}
        _ = target.changed() => {}
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// Says its name to whoever connects, and keeps the connection.
    async fn server(name: &'static [u8; 1], servers: &mut JoinSet<()>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        servers.spawn(async move {
            let mut kept = Vec::new();
            while let Ok((mut client, _)) = listener.accept().await {
                client.write_all(name).await.unwrap();
                kept.push(client);
            }
        });
        address
    }

    #[tokio::test]
    async fn the_address_stays_and_leads_elsewhere_and_old_connections_end() {
        let mut servers = JoinSet::new();
        let (one, other) = (server(b"1", &mut servers).await, server(b"2", &mut servers).await);
        let proxy = Proxy::start(one).await.unwrap();
        let mut before = TcpStream::connect(proxy.address).await.unwrap();
        assert_eq!(before.read_u8().await.unwrap(), b'1');
        proxy.lead_to(other);
        assert!(before.read_u8().await.is_err(), "cut");
        let mut after = TcpStream::connect(proxy.address).await.unwrap();
        assert_eq!(after.read_u8().await.unwrap(), b'2');
    }
}
