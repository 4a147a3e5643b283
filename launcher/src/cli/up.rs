//! `launcher up`: start, say what to do next, watch, stop on Ctrl-C.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;

use super::print;
use crate::builder::{Build, SERVERS};
use crate::folder::DataFolder;
use crate::info::StackInfo;
use crate::paint::Paint;
use crate::progress::Progress;
use crate::run_as::remove_any;
use crate::stack::{Stack, StackOptions, USUAL_PORT};

/// A server, a variable's full name, and its value.
type Setting = (String, String, String);

fn setting(text: &str) -> Result<Setting, String> {
    let parts =
        text.split_once(':').and_then(|(server, rest)| Some((server, rest.split_once('=')?)));
    let (server, (name, value)) = parts.ok_or("write SERVER:NAME=VALUE")?;
    if !SERVERS.contains(&server) {
        return Err(format!("there is no server {server}; name one of {}", SERVERS.join(", ")));
    }
    Ok((server.to_owned(), name.to_owned(), value.to_owned()))
}

#[derive(Debug, Args)]
pub(super) struct UpArguments {
    /// Port of the gateway on 127.0.0.1.
    #[arg(long, default_value_t = USUAL_PORT)]
    port: u16,
    /// Run the release build, for measurements.
    #[arg(long, conflicts_with = "no_build")]
    release: bool,
    /// Further environment of one server, `bff:MELMASTOON_DPOP__NONCES=true`, for trials.
    #[arg(long = "set", value_name = "SERVER:NAME=VALUE", hide = true, value_parser = setting)]
    settings: Vec<Setting>,
    /// The servers stand beside this program already.
    #[arg(long, hide = true)]
    no_build: bool,
}

impl Default for UpArguments {
    fn default() -> Self {
        Self { port: USUAL_PORT, release: false, settings: Vec::new(), no_build: false }
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
    let mut stops = Stops::listen()?;
    link_this_program(&local)?;
    let options = StackOptions {
        folder: local,
        gateway_port: Some(arguments.port),
        build: arguments.build()?,
        environment: arguments.environment(),
        ..StackOptions::default()
    };
    let started = tokio::select! {
        started = Stack::start(options, &progress) => started?,
        // Dropping the half-started stack takes its children with it.
        () = stops.next() => return Ok(ExitCode::from(130)),
    };
    print(&welcome(started.info(), begun.elapsed().as_secs_f32()))?;
    watch(started, &mut stops, &progress).await
}

/// `./desk` finds the launcher there, wherever cargo put it.
fn link_this_program(local: &Path) -> anyhow::Result<()> {
    let link = DataFolder::open(local)?.join("launcher");
    let program = std::env::current_exe().context("finding this program")?;
    if std::fs::read_link(&link).ok().as_ref() != Some(&program) {
        remove_any(&link)?;
        std::os::unix::fs::symlink(program, &link)?;
    }
    Ok(())
}

async fn watch(
    mut stack: Stack,
    stops: &mut Stops,
    progress: &Progress,
) -> anyhow::Result<ExitCode> {
    let paint = Paint::for_stderr();
    loop {
        tokio::select! {
            () = stops.next() => break,
            notice = stack.next_notice() => if let Some(notice) = notice? {
                progress.say(&format!("  {} {}", paint.yellow("!"), notice.sentence()));
            },
        }
    }
    progress.say("");
    let step = progress.step("Stopping; Ctrl-C again to stop at once");
    tokio::select! {
        stopped = stack.stop() => {
            stopped?;
            step.done("Stopped, no process is left");
        }
        () = stops.next() => drop(step),
    }
    Ok(ExitCode::SUCCESS)
}

/// Ctrl-C, a closed terminal, and `kill`.
struct Stops {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Stops {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}

fn welcome(info: &StackInfo, seconds: f32) -> String {
    let paint = Paint::for_stdout();
    let (origin, base) = (&info.gateway.base_url, &info.gateway.api_url);
    let row =
        |name: &str, value: &str| format!("  {}  {value}\n", paint.dim(&format!("{name:<13}")));
    [
        format!(
            "\n  {} {}\n\n",
            paint.bold("The back office is open."),
            paint.dim(&format!("{seconds:.1} s"))
        ),
        "  Sign in at the desk and look at a dashboard, from another terminal:\n\n".to_owned(),
        format!("      {}\n\n", paint.green("./desk dashboard")),
        row("Any request", "./desk curl GET /session"),
        row("Second factor", "./desk code"),
        row("API", base),
        row("Console", &format!("{}/console/", info.stand_ins.url)),
        row("Reference", &format!("{origin}/docs")),
        row("OpenAPI", &format!("{base}/openapi.json")),
        row("Metrics", &format!("{}/metrics", info.gateway.internal_url)),
        row("Authority", &info.ca_file.display().to_string()),
        row("What runs", ".local/stack.json, logs in .local/logs"),
        format!("\n  {} stops everything.\n\n", paint.bold("Ctrl-C")),
    ]
    .concat()
}
