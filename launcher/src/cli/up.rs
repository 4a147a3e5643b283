//! `launcher up`: starts the stack, prints what to do next, watches it, and stops on Ctrl-C.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use console::style;
use tokio::time::Instant;

use super::print;
use crate::builder::{Build, SERVERS, link_launcher};
use crate::progress::Progress;
use crate::stack::{DEFAULT_PORT, Stack, StackOptions};
use crate::stack_info::StackInfo;
use crate::stop_signals::StopSignals;

/// A server, a variable's full name, and its value.
type Setting = (String, String, String);

fn setting(text: &str) -> Result<Setting, String> {
    let parts =
        text.split_once(':').and_then(|(server, rest)| Some((server, rest.split_once('=')?)));
    let (server, (name, value)) = parts.ok_or("write SERVER:NAME=VALUE")?;
    if !SERVERS.contains(&server) {
        return Err(format!("there is no server {server}; use one of {}", SERVERS.join(", ")));
    }
    Ok((server.to_owned(), name.to_owned(), value.to_owned()))
}

#[derive(Debug, Args)]
pub(super) struct UpArguments {
    /// Port of the gateway on 127.0.0.1.
    #[arg(long, default_value_t = DEFAULT_PORT)]
    port: u16,
    /// Run the release build, for measurements.
    #[arg(long, conflicts_with = "no_build")]
    release: bool,
    /// Additional environment variable of one server: `bff:MELMASTOON_DPOP__NONCES=true`.
    #[arg(long = "set", value_name = "SERVER:NAME=VALUE", hide = true, value_parser = setting)]
    settings: Vec<Setting>,
    /// The servers are already built, next to this executable.
    #[arg(long, hide = true)]
    no_build: bool,
}

impl Default for UpArguments {
    fn default() -> Self {
        Self { port: DEFAULT_PORT, release: false, settings: Vec::new(), no_build: false }
    }
}

impl UpArguments {
    /// The settings by server.
    fn environment(&self) -> BTreeMap<String, BTreeMap<String, String>> {
        let mut all: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
        for (server, name, value) in self.settings.iter().cloned() {
            all.entry(server).or_default().insert(name, value);
        }
        all
    }

    fn build(&self) -> anyhow::Result<Build> {
        match (self.release, self.no_build) {
            (_, true) => Build::beside_this_program(),
            (true, false) => Ok(Build::Release),
            (false, false) => Ok(Build::Dev),
        }
    }
}

pub(super) async fn run(arguments: UpArguments, local: PathBuf) -> anyhow::Result<ExitCode> {
    let begun = Instant::now();
    let progress = Progress::for_screen();
    let mut stops = StopSignals::listen()?;
    let program = std::env::current_exe().context("finding this program")?;
    link_launcher(&local, &program)?;
    let options = StackOptions {
        folder: local,
        gateway_port: Some(arguments.port),
        build: arguments.build()?,
        environment: arguments.environment(),
        ..StackOptions::default()
    };
    let started = tokio::select! {
        started = Stack::start(options, &progress) => started?,
        // Dropping the half-started stack ends its children.
        _ = stops.next() => return Ok(ExitCode::from(130)),
    };
    print(&welcome(started.info(), begun.elapsed().as_secs_f32()))?;
    watch(started, &mut stops, &progress).await
}

async fn watch(
    mut stack: Stack,
    stops: &mut StopSignals,
    progress: &Progress,
) -> anyhow::Result<ExitCode> {
    loop {
        tokio::select! {
            _ = stops.next() => break,
            notice = stack.next_notice() => if let Some(notice) = notice? {
                progress.println(&format!("  {} {}", style("!").yellow().for_stderr(), notice.sentence()));
            },
        }
    }
    progress.println("");
    let step = progress.step("Stopping; Ctrl-C again to stop at once");
    tokio::select! {
        stopped = stack.stop() => {
            stopped?;
            step.done("Stopped, no processes left");
        }
        _ = stops.next() => drop(step),
    }
    Ok(ExitCode::SUCCESS)
}

fn welcome(info: &StackInfo, seconds: f32) -> String {
    let (origin, base) = (&info.gateway.base_url, &info.gateway.api_url);
    let row =
        |name: &str, value: &str| format!("  {}  {value}\n", style(format!("{name:<13}")).dim());
    [
        format!(
            "\n  {} {}\n\n",
            style("The back office is running.").bold(),
            style(format!("{seconds:.1} s")).dim()
        ),
        "  Sign in and show a dashboard, from another terminal:\n\n".to_owned(),
        format!("      {}\n\n", style("./desk dashboard").green()),
        row("Any request", "./desk curl GET /session"),
        row("Second factor", "./desk code"),
        row("API", base),
        row("Console", &format!("{}/console/", info.stand_ins.url)),
        row("Reference", &format!("{origin}/docs")),
        row("OpenAPI", &format!("{base}/openapi.json")),
        row("Metrics", &format!("{}/metrics", info.gateway.internal_url)),
        row("CA file", &info.ca_file.display().to_string()),
        row("Processes", ".local/stack.json, logs in .local/logs"),
        format!("\n  {} stops everything.\n\n", style("Ctrl-C").bold()),
    ]
    .concat()
}
