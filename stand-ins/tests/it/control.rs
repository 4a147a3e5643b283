//! The control listener.

use contracts::upstream::Upstream;
use serde_json::{Value, json};

use crate::platform;

#[tokio::test]
async fn an_invalid_fault_is_refused_with_its_field() {
    let platform = platform::start().await;
    for (field, fault) in [
        ("body.kind", json!({"upstream": "pricing", "kind": "refuse", "times": 1})),
        ("body.ms", json!({"upstream": "pricing", "kind": "latency"})),
        ("body.ms", json!({"upstream": "pricing", "kind": "hang", "ms": 3})),
        ("body.status", json!({"upstream": "pricing", "kind": "status", "status": 200})),
        ("body.times", json!({"upstream": "pricing", "kind": "hang", "times": 0})),
        (
            "body.tenantId",
            json!({"upstream": "iam", "kind": "hang", "tenantId": platform.demo.tenants[0].id}),
        ),
        ("body.upstream", json!({"upstream": "inventory", "kind": "hang"})),
        ("body.kind", json!({"upstream": "pricing", "kind": "explode"})),
        ("body.root", json!({"upstream": "pricing", "kind": "hang", "root": "GET /"})),
    ] {
        let response =
            platform.http.put(platform.control("faults")).json(&fault).send().await.unwrap();
        assert_eq!(response.status(), 400, "{fault}");
        let problem: Value = response.json().await.unwrap();
        assert_eq!(problem["errors"][0]["field"], field, "{problem}");
    }
    assert!(platform.listed("faults", Upstream::Pricing).await.is_empty());
}

#[tokio::test]
async fn clearing_removes_every_fault() {
    let platform = platform::start().await;
    platform.fail(json!({"upstream": "pricing", "kind": "refuse"})).await;
    platform.fail(json!({"upstream": "analytics", "kind": "hang"})).await;
    platform.heal().await;
    let response = platform.http.get(platform.control("faults")).send().await.unwrap();
    let list: Value = response.json().await.unwrap();
    assert_eq!(list["items"], json!([]));
    assert_eq!(list["upstreams"].as_array().unwrap().len(), 13);
    let live = platform.http.get(platform.url(Upstream::Pricing, "/health/live")).send().await;
    assert_eq!(live.unwrap().status(), 200);
}

#[tokio::test]
async fn an_event_is_checked_before_it_is_published() {
    let platform = platform::start().await;
    let tenant = platform.demo.tenants[0].id;
    let event = |kind: &str| {
        json!({
            "specversion": "1.0", "id": "evt_01K0000000000000000000000A", "source": "/services/reservation-service",
            "type": kind, "subject": "rsv_1", "time": "2026-11-21T08:00:00.000Z",
            "datacontenttype": "application/json", "tenantid": tenant, "orderingkey": format!("{tenant}:rsv_1"),
            "correlationid": "c", "actortype": "system", "actorid": "sys", "retentionclass": "operational", "data": {},
        })
    };
    for (kind, status) in [("melmastoon.reservation.stay.checked_out.v1", 202), ("other", 400)] {
        let response =
            platform.http.post(platform.control("events")).json(&event(kind)).send().await;
        assert_eq!(response.unwrap().status(), status);
    }
}

#[tokio::test]
async fn every_listener_reports_live() {
    let platform = platform::start().await;
    for &upstream in platform.running.upstreams.keys() {
        let live = platform.http.get(platform.url(upstream, "/health/live")).send().await.unwrap();
        assert_eq!(live.status(), 200, "{upstream}");
    }
    let ready = format!("http://{}/health/ready", platform.running.control);
    assert_eq!(platform.http.get(ready).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn the_console_is_served_whole_and_loads_nothing_from_elsewhere() {
    let platform = platform::start().await;
    let base = format!("http://{}/console/", platform.running.control);
    let page = platform.http.get(&base).send().await.unwrap();
    let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.contains(&platform.running.issuer), "{policy}");
    let html = page.text().await.unwrap();
    for name in ["style.css", "app.js", "key.js", "session.js", "stream.js", "tiles.js"] {
        let file = platform.http.get(format!("{base}{name}")).send().await.unwrap();
        assert_eq!(file.status(), 200, "{name}");
        let text = file.text().await.unwrap();
        assert!(!text.contains("https://") || name == "app.js", "{name} names another host");
    }
    assert!(html.contains("app.js") && html.contains("style.css"));
    let config: Value =
        platform.http.get(format!("{base}config.json")).send().await.unwrap().json().await.unwrap();
    assert_eq!(config["issuer"], platform.running.issuer);
    assert_eq!(config["operators"].as_array().unwrap().len(), platform.demo.operators.len());
    let missing = platform.http.get(format!("{base}../Cargo.toml")).send().await.unwrap();
    assert_eq!(missing.status(), 404);
}
