//! `launcher test`: runs the tests with a private Postgres and two private Redis servers.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};

use crate::binaries::tools::{self, Tool};
use crate::builder::workspace_root;
use crate::dependencies::TestDependencies;
use crate::progress::Progress;

#[derive(Debug, Args)]
pub(super) struct TestArguments {
    /// Run this program instead of `cargo test`, which tests the workspace unless a package is named.
    #[arg(long, value_name = "PROGRAM")]
    run: Option<OsString>,
    /// Arguments for `cargo test`, or for the program.
    #[arg(last = true)]
    arguments: Vec<OsString>,
}

pub(super) async fn run(arguments: TestArguments, local: PathBuf) -> anyhow::Result<ExitCode> {
    let progress = Progress::for_screen();
    // Ctrl-C reaches the tests directly; the servers are stopped after them.
    let _interrupts = signal(SignalKind::interrupt())?;
    let redis_server = tools::find(Tool::RedisServer, &progress).await?;
    let test = TestDependencies::start(local.join("test"), &progress).await?;
    let dependencies = &test.dependencies;
    let mut command = command(&arguments);
    command
        .env("MELMASTOON_TEST_POSTGRES_URL", &dependencies.admin_url)
        .env("MELMASTOON_TEST_REDIS_SESSION_URL", &dependencies.session_url)
        .env("MELMASTOON_TEST_REDIS_CACHE_URL", &dependencies.cache_url)
        .env("MELMASTOON_TEST_REDIS_SERVER", redis_server)
        .kill_on_drop(true);
    let status = command.status().await.context("running the tests");
    test.stop().await;
    let code = status?.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
    Ok(ExitCode::from(code))
}

fn command(arguments: &TestArguments) -> Command {
    // The tests end with the launcher, even if it is killed. The death signal is tied to this
    // thread, the main one.
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig=TERM", "--"]);
    if let Some(program) = &arguments.run {
        command.arg(program);
    } else {
        command.args(["cargo", "test"]).current_dir(workspace_root());
        if !names_packages(&arguments.arguments) {
            command.arg("--workspace");
        }
    }
    command.args(&arguments.arguments);
    command
}

/// Whether cargo's arguments, which end at `--`, name packages.
fn names_packages(arguments: &[OsString]) -> bool {
    let texts = arguments.iter().filter_map(|argument| argument.to_str());
    let mut before_tests = texts.take_while(|text| *text != "--");
    before_tests.any(|text| text.starts_with("-p") || text.starts_with("--package"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_package_narrows_the_run() {
        let names = |text: &str| {
            let arguments: Vec<_> = text.split(' ').map(OsString::from).collect();
            names_packages(&arguments)
        };
        assert!(
            names("-p bff")
                && names("-pbff")
                && names("--lib --package=bff")
                && names("--package bff -- a")
        );
        assert!(!names("--lib") && !names("--lib -- -p"));
    }
}
