//! A trivial server over the same TLS and HTTP/2: what the load generator, the kernel and the
//! HTTP library cost before the gateway has done anything.
//!
//! It is a process of its own, so that its time is not mixed with the load generator's.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use anyhow::Context;
use axum::Router;
use axum::routing::get;
use contracts::clock::Clock;
use launcher::folder::DataFolder;
use launcher::tls::Tls;
use reqwest::Url;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use service_kit::lifecycle::Lifecycle;
use service_kit::serve::{Accept, bind, serve as serve_on};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// The child, and where it listens. It ends when this is dropped, or when this program dies.
#[derive(Debug)]
pub(crate) struct Floor {
    child: Child,
    pub(crate) pid: u32,
    pub(crate) url: Url,
}

impl Floor {
    pub(crate) async fn start(folder: &Path) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("finding this program")?;
        let mut child = Command::new(program)
            .arg("hello")
            .arg("--folder")
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("starting the trivial server")?;
        let output = child.stdout.take().context("a piped child has an output")?;
        let mut port = String::new();
        BufReader::new(output).read_line(&mut port).await?;
        let port = port.trim();
        let url = Url::parse(&format!("https://localhost:{port}/"))
            .with_context(|| format!("the trivial server did not start and said {port:?}"))?;
        let pid = child.id().context("the trivial server has ended")?;
        Ok(Self { child, pid, url })
    }

    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        // Its input ends, and with it the child.
        drop(self.child.stdin.take());
        self.child.wait().await.context("waiting for the trivial server")?;
        Ok(())
    }
}

/// The child's side: prints its port, serves until its input ends.
pub(crate) async fn serve(folder: &Path) -> anyhow::Result<()> {
    let tls = Tls::load_or_make(&DataFolder::open(folder)?, &Clock::system())?;
    let acceptor = OverTls(TlsAcceptor::from(Arc::new(server_config(&tls)?)));
    let listener = bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", listener.local_addr()?.port())?;
    drop(out);
    let lifecycle = Lifecycle::new();
    let app = Router::new().route("/", get(async || r#"{"hello":"world"}"#));
    serve_on(listener, acceptor, app, &lifecycle);
    let stop = lifecycle.clone();
    std::thread::Builder::new().name("input".to_owned()).spawn(move || {
        // Ended or broken, the other side is gone.
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        stop.stop();
    })?;
    lifecycle.run_until_signal().await?;
    Ok(())
}

fn server_config(tls: &Tls) -> anyhow::Result<ServerConfig> {
    let chain = CertificateDer::pem_file_iter(&tls.cert_file)?.collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_file(&tls.key_file)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

#[derive(Clone)]
struct OverTls(TlsAcceptor);

impl Accept for OverTls {
    type Stream = TlsStream<TcpStream>;

    async fn accept(&self, connection: TcpStream) -> std::io::Result<Self::Stream> {
        self.0.accept(connection).await
    }
}
