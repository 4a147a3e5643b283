//! The rules of the house that a machine can check: which crate may depend on which, how long
//! a file may be, that no module hides in a `mod.rs`, and that nothing is run from PATH that a
//! machine with a Rust toolchain may lack.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Lines of a source file at most.
const LONGEST_FILE: usize = 500;

/// What each crate may depend on, besides outside libraries. Crates that may use anything are absent.
fn allowed() -> BTreeMap<&'static str, BTreeSet<&'static str>> {
    let service = ["contracts", "auth", "service-kit"];
    BTreeMap::from([
        ("contracts", BTreeSet::new()),
        ("auth", BTreeSet::from(["contracts"])),
        ("upstream-clients", BTreeSet::from(["contracts"])),
        ("composer", BTreeSet::from(["contracts", "auth", "upstream-clients"])),
        ("service-kit", BTreeSet::from(["contracts", "auth"])),
        ("migrations", BTreeSet::from(["contracts"])),
        (
            "bff",
            BTreeSet::from(["contracts", "auth", "upstream-clients", "composer", "service-kit"]),
        ),
        ("inventory", BTreeSet::from(service)),
        ("housekeeping", BTreeSet::from(service)),
        ("staff", BTreeSet::from(service)),
        ("stand-ins", BTreeSet::from(service)),
    ])
}

/// Nothing depends on these.
const LEAVES: [&str; 4] = ["chaos", "bench", "launcher", "bff"];

/// The three at the top may use anything, one another included.
const TOP: [&str; 3] = ["chaos", "bench", "launcher"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("contracts stands in the root").to_owned()
}

/// Crate to the names of ours it depends on; test-only dependencies on `migrations` are fine anywhere.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version=1", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    let metadata: serde_json::Value =
        serde_json::from_slice(&output.stdout).expect("cargo answers JSON");
    let packages = metadata["packages"].as_array().expect("a workspace has packages");
    let ours: BTreeSet<&str> =
        packages.iter().filter_map(|package| package["name"].as_str()).collect();
    let used = |package: &serde_json::Value| {
        let all = package["dependencies"].as_array().cloned().unwrap_or_default();
        let counted =
            all.into_iter().filter(|used| used["kind"] != "dev" || used["name"] != "migrations");
        let names = counted.filter_map(|used| used["name"].as_str().map(str::to_owned));
        names.filter(|name| ours.contains(name.as_str())).collect()
    };
    packages
        .iter()
        .map(|package| {
            (package["name"].as_str().expect("a package has a name").to_owned(), used(package))
        })
        .collect()
}

#[test]
fn crates_depend_only_on_what_the_architecture_allows() {
    let allowed = allowed();
    for (name, used) in dependencies() {
        for other in &used {
            if let Some(allowed) = allowed.get(name.as_str()) {
                assert!(allowed.contains(other.as_str()), "{name} must not depend on {other}");
            }
            let leaf = LEAVES.contains(&other.as_str()) && !TOP.contains(&name.as_str());
            assert!(!leaf, "nothing depends on {other}, but {name} does");
        }
    }
}

#[test]
fn every_crate_is_known_to_the_architecture() {
    let allowed = allowed();
    for name in dependencies().keys() {
        assert!(
            allowed.contains_key(name.as_str()) || TOP.contains(&name.as_str()),
            "{name} has no place yet"
        );
    }
}

/// Folders that hold what is made, not what is written.
const MADE: [&str; 4] = ["target", ".git", ".local", "node_modules"];

/// Every file that is written.
fn written_files() -> Vec<PathBuf> {
    let (mut folders, mut files) = (vec![root()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder can be read") {
            let path = entry.expect("an entry can be read").path();
            let made = path.file_name().is_some_and(|name| MADE.iter().any(|made| name == *made));
            if path.is_dir() && !path.is_symlink() && !made {
                folders.push(path);
            } else if path.is_file() {
                files.push(path);
            }
        }
    }
    files
}

fn sources() -> Vec<PathBuf> {
    let files = written_files().into_iter();
    let files: Vec<PathBuf> =
        files.filter(|path| path.extension().is_some_and(|ending| ending == "rs")).collect();
    assert!(files.len() > 50, "the sources were not found");
    files
}

#[test]
fn files_are_short_and_no_module_hides_in_a_mod_rs() {
    for file in sources() {
        let lines =
            std::fs::read_to_string(&file).expect("a tracked file can be read").lines().count();
        assert!(lines <= LONGEST_FILE, "{} has {lines} lines; split it", file.display());
        assert!(!file.ends_with("mod.rs"), "{}: use foo.rs with foo/", file.display());
    }
}

/// Whether the attributes right above `line` bound what is read.
fn is_bounded(lines: &[&str], line: usize) -> bool {
    let above = lines[..line].iter().rev().map(|line| line.trim());
    let mut attributes = above.take_while(|line| line.starts_with("#[") || line.starts_with("//"));
    attributes.any(|line| line.contains("crate::clock::wire"))
}

#[test]
fn every_instant_and_date_of_the_wire_is_bounded_to_what_a_store_holds() {
    let (mut found, folder) = (0, root().join("contracts/src"));
    for file in sources() {
        if !file.starts_with(&folder) || file.ends_with("clock.rs") {
            continue;
        }
        let text = std::fs::read_to_string(&file).expect("a tracked file can be read");
        let lines: Vec<&str> = text.lines().collect();
        for (number, line) in lines.iter().enumerate() {
            let kind = line.trim().strip_prefix("pub ").and_then(|field| field.split_once(": "));
            let is_time = kind.is_some_and(|(_, kind)| {
                ["Timestamp,", "Option<Timestamp>,", "Date,", "Option<Date>,"].contains(&kind)
            });
            if is_time {
                found += 1;
                let place = format!("{}:{}", file.display(), number + 1);
                assert!(is_bounded(&lines, number), "{place}: read it with crate::clock::wire");
            }
        }
    }
    assert!(found > 40, "the fields were not found");
}

/// What Rust code may start by name: cargo, and programs of Debian's essential packages.
const STARTED_BY_NAME: [&str; 3] = ["cargo", "dpkg-deb", "setpriv"];

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

/// Outside ./check, and free to use what the machine has: one clones into a system of its own with
/// git, one makes a virtual environment with python3.
const FREE_SCRIPTS: [&str; 2] = ["ops/bare-debian/run", "bff/schemathesis/run"];

#[test]
fn no_rust_code_starts_a_server_or_tool_by_its_name() {
    let marker = ["Command", "::new(\""].concat();
    for file in sources() {
        let text = std::fs::read_to_string(&file).expect("a tracked file can be read");
        for rest in text.split(marker.as_str()).skip(1) {
            let name = rest.split('"').next().unwrap_or_default();
            assert!(
                STARTED_BY_NAME.contains(&name),
                "{} starts {name} from PATH: take it from launcher::programs, or in a test from a variable that ./check sets",
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
