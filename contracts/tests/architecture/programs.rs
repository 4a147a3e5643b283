//! Nothing is run from PATH that a machine with a Rust toolchain may lack.

use crate::sources::{sources, written_files};

/// What Rust code may start by name: cargo, and programs of Debian's essential packages.
const STARTED_BY_NAME: [&str; 6] = ["bash", "cargo", "chrt", "dpkg-deb", "setpriv", "timeout"];

/// What scripts must ask the launcher for (`tool NAME` of launcher/prerequisites.sh), or do without.
const NOT_FROM_PATH: [&str; 12] = [
    "chromium",
    "curl",
    "git",
    "jq",
    "node",
    "npm",
    "openssl",
    "postgres",
    "promtool",
    "psql",
    "python3",
    "redis-server",
];

/// Outside ./check, and free to use what the machine has: two use git, one makes a virtual environment
/// with python3, one reads metrics with curl.
const FREE_SCRIPTS: [&str; 4] = [
    ".ci/commit-subjects",
    "ops/bare-debian/run",
    "bff/schemathesis/run",
    "ops/runbooks/addresses.sh",
];

#[test]
fn no_rust_code_starts_a_server_or_tool_by_its_name() {
    let marker = ["Command", "::new(\""].concat();
    for file in sources() {
        let text = std::fs::read_to_string(&file).expect("a tracked file can be read");
        for rest in text.split(marker.as_str()).skip(1) {
            let name = rest.split('"').next().unwrap_or_default();
            assert!(
                STARTED_BY_NAME.contains(&name),
                "{} starts {name} from PATH: take it from launcher::binaries, or in a test from a variable that ./check sets",
                file.display()
            );
        }
    }
}

/// The first word of each command in a line of a script, roughly.
fn commands(line: &str) -> impl Iterator<Item = &str> {
    let code = if line.trim_start().starts_with('#') { "" } else { line };
    code.split(['(', '|', ';', '&']).filter_map(|part| {
        part.split_whitespace().find(|word| !["if", "!", "exec", "then", "do"].contains(word))
    })
}

#[test]
fn no_script_runs_a_server_or_tool_from_path() {
    let mut scripts = 0;
    for file in written_files() {
        let Ok(text) = std::fs::read_to_string(&file) else { continue };
        let is_script = text.starts_with("#!/usr/bin/env bash")
            || file.extension().is_some_and(|ending| ending == "sh");
        if !is_script || FREE_SCRIPTS.iter().any(|free| file.ends_with(free)) {
            continue;
        }
        scripts += 1;
        for name in text.lines().flat_map(commands) {
            assert!(
                !NOT_FROM_PATH.contains(&name),
                "{} runs {name} from PATH: use `tool {name}`",
                file.display()
            );
        }
    }
    assert!(scripts >= 8, "only {scripts} scripts were found");
}
