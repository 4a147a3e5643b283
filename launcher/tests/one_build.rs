//! `cargo run`, `./up` and `./check` must select the same features for every dependency. Where they
//! differ, cargo compiles the dependency and everything above it again.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::collections::BTreeSet;
use std::process::Command;

use launcher::builder::{SERVERS, workspace_root};

/// The packages with the features that cargo selects for these arguments.
fn chosen(edges: &str, selection: &[&str]) -> BTreeSet<String> {
    let output = Command::new("cargo")
        .args(["tree", "--offline", "--prefix=none", "--no-dedupe", "--format={p} [{f}]"])
        .args(["--edges", edges])
        .args(selection)
        .current_dir(workspace_root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

#[test]
fn every_way_to_build_chooses_the_same_features() {
    let all = chosen("normal,build,dev", &["--workspace"]);
    let mut up = vec!["--package=launcher".to_owned()];
    up.extend(SERVERS.map(|name| format!("--package={name}")));
    let up: Vec<&str> = up.iter().map(String::as_str).collect();
    for selection in [&up[..1], &up] {
        let differing: Vec<_> =
            chosen("normal,build", selection).difference(&all).cloned().collect();
        assert!(differing.is_empty(), "built twice: {differing:#?}");
    }
}
