//! The Grafana dashboards are JSON, and their panels have queries. `ops/check.sh` has promtool read
//! the queries.

use std::path::{Path, PathBuf};

use serde_json::Value;

fn dashboards() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ops/grafana");
    let entries = folder.read_dir().expect("ops/grafana is a folder");
    let paths = entries.map(|entry| entry.expect("its entries can be read").path());
    paths.filter(|path| path.extension().is_some_and(|extension| extension == "json")).collect()
}

/// The `expr` of every target of every panel, also of panels inside a row.
fn queries(panels: &Value) -> Vec<&str> {
    let panels = panels.as_array().into_iter().flatten();
    panels
        .flat_map(|panel| {
            let targets = panel["targets"].as_array().into_iter().flatten();
            let own = targets.filter_map(|target| target["expr"].as_str());
            own.chain(queries(&panel["panels"])).collect::<Vec<_>>()
        })
        .collect()
}

#[test]
fn every_dashboard_is_json_and_has_queries() {
    let paths = dashboards();
    assert!(!paths.is_empty(), "ops/grafana has no dashboard");
    for path in paths {
        let text = std::fs::read_to_string(&path).expect("a dashboard can be read");
        let board: Value = serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("{} is not JSON: {error}", path.display()));
        assert!(board["title"].is_string(), "{} has no title", path.display());
        assert!(!queries(&board["panels"]).is_empty(), "{} asks nothing", path.display());
    }
}
