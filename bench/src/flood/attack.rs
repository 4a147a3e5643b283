//! The flood: silent connections, slow bodies and `/health/ready` requests, all from 127.0.0.2.
//!
//! A real attacker has a machine of its own. This one shares the cores with the gateway and the load
//! generator, so it has its own thread under Linux' idle policy, which runs only in the time that both
//! leave. The lowest nice value is not enough: a thread that becomes ready waits for the end of that
//! thread's time slice, which alone adds 1 ms to the 99th percentile.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, anyhow, ensure};
use contracts::clock::Clock;
use launcher::StackInfo;
use launcher::desktop::{DeviceKey, Proof};
use launcher::http_client::tls_trusting;
use reqwest::{Method, Url};
use rustls::pki_types::ServerName;
use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::runtime;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{interval, sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::options::FloodArguments;

/// Source address of the flood.
const FLOOD_SOURCE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// Connections that share the `/health/ready` requests.
const HEALTH_CONNECTIONS: u32 = 10;
/// Pause before a refused or closed connection is opened again.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// Interval between two bytes of a slow body.
const BODY_BYTE_INTERVAL: Duration = Duration::from_secs(4);
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);

/// What happened to the flood, counted over all phases.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FloodCounts {
    connections: AtomicU64,
    /// Connections that the gateway refused or closed.
    ended: AtomicU64,
    /// Slow requests that got a response.
    bodies_answered: AtomicU64,
    health_answers: AtomicU64,
}

impl fmt::Display for FloodCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        write!(
            f,
            "the flood opened {} connections; {} were refused or closed, {} slow requests and {} readiness requests got a response",
            get(&self.connections),
            get(&self.ended),
            get(&self.bodies_answered),
            get(&self.health_answers)
        )
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// A running flood.
pub(crate) struct Flood {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<anyhow::Result<()>>,
}

impl Flood {
    pub(crate) fn start(
        info: &StackInfo,
        arguments: &FloodArguments,
        counts: &Arc<FloodCounts>,
    ) -> anyhow::Result<Self> {
        let attacker = Arc::new(Attacker::new(info, Arc::clone(counts))?);
        let arguments = arguments.clone();
        let (stop, stopped) = oneshot::channel();
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new().name("flood".to_owned()).spawn(move || {
            run_when_idle()?;
            runtime.block_on(async {
                let _tasks = attacker.spawn(&arguments);
                let _ = stopped.await;
            });
            Ok(())
        })?;
        Ok(Self { stop, thread })
    }

    /// Closes all connections of the flood. Fails if it could not run as it should.
    pub(crate) fn stop(self) -> anyhow::Result<()> {
        drop(self.stop);
        self.thread.join().map_err(|_| anyhow!("the flood's thread panicked"))?
    }
}

/// Puts this thread under the idle policy (`SCHED_IDLE`), with a tool of util-linux.
fn run_when_idle() -> anyhow::Result<()> {
    let thread = rustix::thread::gettid().to_string();
    let status = Command::new("chrt").args(["--idle", "--pid", "0", &thread]).status();
    let what = "the flood's thread cannot be put under the idle policy, without which it would take CPU time from the gateway";
    let status = status.with_context(|| format!("{what}: install util-linux, which has chrt"))?;
    ensure!(status.success(), "{what}: allow sched_setscheduler, which a sandbox may forbid");
    Ok(())
}

struct Attacker {
    address: SocketAddr,
    tls: TlsConnector,
    key: DeviceKey,
    device: String,
    refresh: Url,
    health: String,
    counts: Arc<FloodCounts>,
}

/// When each of `count` connections is opened first: spread over the pause between two attempts. Without
/// this, all refused ones return in the same millisecond of each second, so that a hundredth of the other
/// address' requests, the 99th percentile, meets all the connections of that second.
fn starts(count: u32) -> impl Iterator<Item = Duration> {
    (0..count).map(move |index| RETRY_PAUSE * index / count)
}

impl Attacker {
    fn new(info: &StackInfo, counts: Arc<FloodCounts>) -> anyhow::Result<Self> {
        let api = Url::parse(&info.gateway.api_url)?;
        let port = api.port().context("the gateway has a port")?;
        let path = api.path().trim_end_matches('/').to_owned();
        let operator = info.operators.first().context("there is an operator")?;
        Ok(Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            tls: TlsConnector::from(Arc::new(tls_trusting(&info.ca_file)?)),
            key: DeviceKey::generate()?,
            device: operator.device_id.clone(),
            refresh: api.join(&format!("{path}/auth/refresh"))?,
            health: format!("{path}/health/ready"),
            counts,
        })
    }

    /// Starts the readiness requests first, because connections per address are limited.
    fn spawn(self: &Arc<Self>, arguments: &FloodArguments) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        let every = Duration::from_secs(1) * HEALTH_CONNECTIONS / arguments.health_rate.get();
        for _ in 0..HEALTH_CONNECTIONS {
            let attacker = Arc::clone(self);
            tasks.spawn(async move { Box::pin(attacker.poll_health(every)).await });
        }
        for start in starts(arguments.silent) {
            let attacker = Arc::clone(self);
            tasks.spawn(async move {
                sleep(start).await;
                loop {
                    let _ = attacker.stay_silent().await;
                    sleep(RETRY_PAUSE).await;
                }
            });
        }
        for start in starts(arguments.slow_bodies) {
            let attacker = Arc::clone(self);
            tasks.spawn(async move {
                sleep(start).await;
                loop {
                    let _ = attacker.trickle().await;
                    sleep(RETRY_PAUSE).await;
                }
            });
        }
        tasks
    }

    async fn connect(&self) -> anyhow::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from((FLOOD_SOURCE, 0)))?;
        let stream = socket.connect(self.address).await?;
        count(&self.counts.connections);
        Ok(stream)
    }

    async fn over_tls(&self) -> anyhow::Result<TlsStream<TcpStream>> {
        let stream = self.connect().await?;
        let connecting = self.tls.connect(ServerName::try_from("localhost")?, stream);
        let outcome = timeout(RESPONSE_TIMEOUT, connecting).await?;
        if outcome.is_err() {
            count(&self.counts.ended);
        }
        Ok(outcome?)
    }

    async fn stay_silent(&self) -> anyhow::Result<()> {
        let mut stream = self.connect().await?;
        let _ = stream.read(&mut [0]).await;
        count(&self.counts.ended);
        Ok(())
    }

    async fn trickle(&self) -> anyhow::Result<()> {
        let mut stream = self.over_tls().await?;
        let now = Clock::system().unix_seconds();
        let proof = Proof::new(&Method::POST, &self.refresh, now).sign(&self.key)?;
        let head = format!(
            "POST {} HTTP/1.1\r\nHost: localhost\r\nDPoP: {proof}\r\nX-Device-Id: {}\r\n\
             Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{{",
            self.refresh.path(),
            self.device,
        );
        stream.write_all(head.as_bytes()).await?;
        let mut answer = [0; 1024];
        loop {
            tokio::select! {
                read = stream.read(&mut answer) => {
                    if matches!(read, Ok(1..)) {
                        count(&self.counts.bodies_answered);
                    }
                    count(&self.counts.ended);
                    return Ok(());
                }
                () = sleep(BODY_BYTE_INTERVAL) => stream.write_all(b" ").await?,
            }
        }
    }

    async fn poll_health(&self, every: Duration) {
        let mut turns = interval(every);
        loop {
            let _ = Box::pin(self.poll_on_one_connection(&mut turns)).await;
            sleep(RETRY_PAUSE).await;
        }
    }

    async fn poll_on_one_connection(
        &self,
        turns: &mut tokio::time::Interval,
    ) -> anyhow::Result<()> {
        let mut stream = self.over_tls().await?;
        let request = format!("GET {} HTTP/1.1\r\nHost: localhost\r\n\r\n", self.health);
        let mut answer = [0; 16 * 1024];
        loop {
            turns.tick().await;
            stream.write_all(request.as_bytes()).await?;
            if timeout(RESPONSE_TIMEOUT, stream.read(&mut answer)).await?? == 0 {
                count(&self.counts.ended);
                return Ok(());
            }
            count(&self.counts.health_answers);
        }
    }
}
