//! A TCP proxy that fails like a network. Its address is constant while its target can change, like the
//! address of a managed server in a failover.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

const BUFFER_BYTES: usize = 16 * 1024;

/// What happens to the bytes of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Open,
    /// They are dropped, and so is the end of the stream.
    Silent,
    /// They are delayed and delivered in order.
    Held,
}

/// The mode of each connection. Connections are numbered in the order of their arrival.
#[derive(Debug, Clone, Copy)]
struct State {
    target: SocketAddr,
    mode: Mode,
    /// Connections below this number are in `mode`, the others are open.
    affected: u64,
    /// Connections below this number are closed.
    cut: u64,
    /// Number of the next connection.
    next: u64,
}

impl State {
    fn mode(&self, number: u64) -> Mode {
        if number < self.affected { self.mode } else { Mode::Open }
    }
}

/// Dropping it cuts every connection.
#[derive(Debug)]
pub struct Proxy {
    pub address: SocketAddr,
    state: watch::Sender<State>,
    #[expect(dead_code, reason = "held, not read")]
    running: JoinSet<()>,
}

impl Proxy {
    pub async fn start(target: SocketAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (address, mut running) = (listener.local_addr()?, JoinSet::new());
        let state = State { target, mode: Mode::Open, affected: 0, cut: 0, next: 0 };
        let state = watch::Sender::new(state);
        running.spawn(accept(listener, state.clone()));
        Ok(Self { address, state, running })
    }

    /// Connections that arrived so far.
    pub fn connections(&self) -> u64 {
        self.state.borrow().next
    }

    /// Sends new connections to another target and closes the open ones.
    pub fn retarget(&self, target: SocketAddr) {
        self.state.send_modify(|state| {
            state.target = target;
            state.cut = state.next;
        });
    }

    /// Drops all bytes of open connections in both directions, without closing them. New connections
    /// work.
    pub fn silence_open(&self) {
        self.affect(Mode::Silent, |state| state.next);
    }

    /// Does the same to open and new connections.
    pub fn silence_all(&self) {
        self.affect(Mode::Silent, |_| u64::MAX);
    }

    /// Delays the bytes of open connections until [`heal`](Self::heal). New connections work.
    pub fn hold_open(&self) {
        self.affect(Mode::Held, |state| state.next);
    }

    fn affect(&self, mode: Mode, below: impl FnOnce(&State) -> u64) {
        self.state.send_modify(|state| {
            state.mode = mode;
            state.affected = below(state);
        });
    }

    /// Makes every connection work again. Dropped bytes are lost; delayed ones are delivered.
    pub fn heal(&self) {
        self.affect(Mode::Open, |_| 0);
    }

    /// Closes open connections. New connections work.
    pub fn cut(&self) {
        self.state.send_modify(|state| state.cut = state.next);
    }
}

async fn accept(listener: TcpListener, state: watch::Sender<State>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let mut number = 0;
        state.send_modify(|state| {
            number = state.next;
            state.next += 1;
        });
        connections.spawn(forward(client, number, state.subscribe()));
        while connections.try_join_next().is_some() {}
    }
}

async fn forward(client: TcpStream, number: u64, state: watch::Receiver<State>) {
    let target = state.borrow().target;
    let Ok(server) = TcpStream::connect(target).await else { return };
    // Statements and replies are small; send each at once.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (client, server) = (client.into_split(), server.into_split());
    let both = async {
        tokio::join!(
            copy_direction(client.0, server.1, number, state.clone()),
            copy_direction(server.0, client.1, number, state.clone()),
        )
    };
    let mut cut = state.clone();
    tokio::select! {
        _ = both => {}
        _ = cut.wait_for(|state| number < state.cut) => {}
    }
}

/// Copies one direction until its end.
async fn copy_direction(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    number: u64,
    mut state: watch::Receiver<State>,
) -> Option<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        // A failed connection counts as ended.
        let length = from.read(&mut buffer).await.unwrap_or(0);
        let is_released = |state: &State| state.mode(number) != Mode::Held;
        let mode = state.wait_for(is_released).await.ok()?.mode(number);
        match (mode, length) {
            (Mode::Silent, 0) => {
                state.wait_for(|state| state.mode(number) == Mode::Open).await.ok()?;
                return to.shutdown().await.ok();
            }
            (Mode::Silent, _) => {}
            (_, 0) => return to.shutdown().await.ok(),
            _ => to.write_all(&buffer[..length]).await.ok()?,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    const REPLY_TIMEOUT: Duration = Duration::from_secs(5);
    const SILENCE: Duration = Duration::from_millis(50);

    /// Sends its name to each client, then echoes.
    async fn server(name: u8, servers: &mut JoinSet<()>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        servers.spawn(async move {
            let mut echoes = JoinSet::new();
            while let Ok((mut client, _)) = listener.accept().await {
                client.write_u8(name).await.unwrap();
                echoes.spawn(async move {
                    let (mut from, mut to) = client.split();
                    let _ = tokio::io::copy(&mut from, &mut to).await;
                });
            }
        });
        address
    }

    async fn open(proxy: &Proxy) -> TcpStream {
        let mut connection = TcpStream::connect(proxy.address).await.unwrap();
        assert_eq!(connection.read_u8().await.unwrap(), b'1');
        connection
    }

    async fn next(connection: &mut TcpStream) -> u8 {
        timeout(REPLY_TIMEOUT, connection.read_u8()).await.unwrap().unwrap()
    }

    async fn says_nothing(connection: &mut TcpStream) -> bool {
        timeout(SILENCE, connection.read_u8()).await.is_err()
    }

    #[tokio::test]
    async fn the_address_stays_and_leads_elsewhere_and_old_connections_end() {
        let mut servers = JoinSet::new();
        let (one, other) = (server(b'1', &mut servers).await, server(b'2', &mut servers).await);
        let proxy = Proxy::start(one).await.unwrap();
        let mut before = open(&proxy).await;
        proxy.retarget(other);
        assert!(before.read_u8().await.is_err(), "cut");
        let mut after = TcpStream::connect(proxy.address).await.unwrap();
        assert_eq!(next(&mut after).await, b'2');
    }

    #[tokio::test]
    async fn an_open_connection_goes_silent_while_new_ones_work_and_is_cut_at_last() {
        let mut servers = JoinSet::new();
        let proxy = Proxy::start(server(b'1', &mut servers).await).await.unwrap();
        let mut old = open(&proxy).await;
        proxy.silence_open();
        old.write_u8(b'x').await.unwrap();
        assert!(says_nothing(&mut old).await);
        let mut new = open(&proxy).await;
        new.write_u8(b'y').await.unwrap();
        assert_eq!(next(&mut new).await, b'y');
        proxy.heal();
        old.write_u8(b'z').await.unwrap();
        assert_eq!(next(&mut old).await, b'z', "what was swallowed is lost");
        proxy.cut();
        assert!(old.read_u8().await.is_err());
    }

    #[tokio::test]
    async fn a_held_connection_delivers_everything_once_it_is_healed() {
        let mut servers = JoinSet::new();
        let proxy = Proxy::start(server(b'1', &mut servers).await).await.unwrap();
        let mut held = open(&proxy).await;
        proxy.hold_open();
        held.write_u8(b'x').await.unwrap();
        assert!(says_nothing(&mut held).await);
        proxy.heal();
        assert_eq!(next(&mut held).await, b'x');
    }

    #[tokio::test]
    async fn new_connections_can_be_silent_too() {
        let mut servers = JoinSet::new();
        let proxy = Proxy::start(server(b'1', &mut servers).await).await.unwrap();
        proxy.silence_all();
        let mut silent = TcpStream::connect(proxy.address).await.unwrap();
        assert!(says_nothing(&mut silent).await);
        proxy.cut();
        proxy.heal();
        open(&proxy).await;
    }
}
