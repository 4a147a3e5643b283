//! Tests and scripts get their servers and tools from the launcher, independent of PATH.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::path::Path;
use std::process::{Command, Output};

/// Runs the launcher with installed programs ignored.
fn launcher(arguments: &[&str]) -> Output {
    let output = Command::new(env!("CARGO_BIN_EXE_launcher"))
        .args(arguments)
        .env("MELMASTOON_LOCAL", Path::new(env!("CARGO_TARGET_TMPDIR")).join("tools"))
        .env("MELMASTOON_IGNORE_INSTALLED", "true")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn every_tool_is_fetched_and_runs_as_it_is() {
    for (tool, answer) in [
        ("promtool --version", "promtool, version "),
        ("prometheus --version", "prometheus, version "),
        ("node --version", "v"),
        ("npm --version", ""),
        ("redis-server --version", "Redis server v="),
        ("redis-cli --version", "redis-cli "),
        ("psql --version", "psql (PostgreSQL) "),
        ("curl --version", "curl "),
        ("openssl version", "OpenSSL "),
        ("chromium --version", "Chromium "),
    ] {
        let (tool, argument) = tool.split_once(' ').unwrap();
        let path = stdout(&launcher(&["tool", tool]));
        assert!(path.contains("/.local/"), "{tool} is not a fetched one: {path}");
        let output = Command::new(path.trim()).arg(argument).env("PATH", "").output().unwrap();
        assert!(output.status.success(), "{tool}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(stdout(&output).starts_with(answer), "{tool} answers {}", stdout(&output));
    }
}

#[test]
fn tests_are_handed_a_redis_server_that_runs() {
    let script = r#"exec "$MELMASTOON_TEST_REDIS_SERVER" --version"#;
    let output = launcher(&["test", "--run", "sh", "--", "-c", script]);
    assert!(stdout(&output).starts_with("Redis server v="), "{}", stdout(&output));
}
