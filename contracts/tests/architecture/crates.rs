//! Which crate may depend on which.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use crate::sources::root;

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
