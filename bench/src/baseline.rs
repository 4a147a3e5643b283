//! Baseline process: a minimal server over the same TLS and HTTP/2, which shows the cost of load
//! generator, kernel and HTTP library alone, and the [`crate::canned_upstream`].
//!
//! It is a separate process so that its CPU time is not mixed with the load generator's.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use anyhow::Context;
use axum::Router;
use axum::routing::get;
use contracts::clock::Clock;
use launcher::data_dir::DataDir;
use launcher::http_client;
use launcher::tls::Tls;
use reqwest::Url;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use service_kit::lifecycle::Lifecycle;
use service_kit::serve::{Plain, bind, serve as serve_on};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio_rustls::TlsAcceptor;

use crate::canned_upstream::CannedUpstream;

/// The child process and its addresses. It ends when this is dropped or this process ends.
#[derive(Debug)]
pub(crate) struct Baseline {
    child: Child,
    pub(crate) pid: u32,
    /// URL of the baseline server.
    pub(crate) url: Url,
    /// URL of the canned upstream.
    pub(crate) upstream: Url,
}

impl Baseline {
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
            .context("starting the baseline server")?;
        let output = child.stdout.take().context("a piped child has an output")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line).await?;
        let unexpected = || format!("the baseline server did not start: {line:?}");
        let (url, upstream) = line.trim().split_once(' ').with_context(unexpected)?;
        let (url, upstream) = (Url::parse(url)?, Url::parse(upstream)?);
        let pid = child.id().context("the baseline server has ended")?;
        Ok(Self { child, pid, url, upstream })
    }

    /// From now on the upstream answers what this server does.
    pub(crate) async fn set_origin(&mut self, inventory: &str) -> anyhow::Result<()> {
        let input = self.child.stdin.as_mut().context("a piped child has an input")?;
        Ok(input.write_all(format!("{inventory}\n").as_bytes()).await?)
    }

    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        // The child ends with its input.
        drop(self.child.stdin.take());
        self.child.wait().await.context("waiting for the baseline server")?;
        Ok(())
    }
}

/// Runs the child process: prints its addresses, reads the canned upstream's origin from standard
/// input, and serves until the input ends.
pub(crate) async fn serve(folder: &Path) -> anyhow::Result<()> {
    let tls = Tls::load_or_make(&DataDir::open(folder)?, &Clock::system())?;
    let acceptor = TlsAcceptor::from(Arc::new(server_config(&tls)?));
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let (listener, upstream) = (bind(any).await?, bind(any).await?);
    let mut out = std::io::stdout().lock();
    let (port, address) = (listener.local_addr()?.port(), upstream.local_addr()?);
    writeln!(out, "https://localhost:{port}/ http://{address}/")?;
    drop(out);
    let lifecycle = Lifecycle::new();
    let app = Router::new().route("/", get(async || r#"{"hello":"world"}"#));
    serve_on(listener, acceptor, app, &lifecycle);
    let canned = CannedUpstream::new(http_client::plain()?);
    serve_on(upstream, Plain, canned.clone().router(), &lifecycle);
    let stop = lifecycle.clone();
    std::thread::Builder::new().name("input".to_owned()).spawn(move || {
        // The input also ends when the parent is killed.
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if let Ok(inventory) = Url::parse(&line) {
                canned.set_origin(inventory);
            }
        }
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
