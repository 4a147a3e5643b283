//! Firewall rules through the real router: which requests are refused, in which order, and the
//! responses.

use serde_json::json;

use crate::tests::call::TestCall;
use crate::tests::test_gateway::TestGateway;

const SESSION: &str = "/api/bff/backoffice/v1/session";
const HEALTH: &str = "/api/bff/backoffice/v1/health/live";
const ADDRESS: &str = "203.0.113.7";
const RATE_LIMITED: &str = "MELMASTOON.BFF.RATE_LIMITED";
const TIGHT: &str = "limits.address = {requests = 2, per_seconds = 60}\n";
const TIGHT_DEVICE: &str = "limits.device = {requests = 2, per_seconds = 60}\n";

fn deny(mode: &str, condition: &str) -> String {
    format!("[[deny]]\nname = 'rule'\nmode = '{mode}'\n{condition}\n")
}

fn denied_address(mode: &str) -> String {
    deny(mode, "addresses = ['203.0.113.0/24']")
}

fn large(request: TestCall<'_>) -> TestCall<'_> {
    request.header("content-length", "2000000")
}

#[tokio::test]
async fn a_blocked_address_learns_nothing_else() {
    let gateway = TestGateway::with_rules(&format!("{TIGHT}{}", denied_address("enforce"))).await;
    // Each of the later refusals is true, too.
    for request in [gateway.get(SESSION), large(gateway.get(SESSION))] {
        let response = request.anonymous().from(ADDRESS).await;
        let response = response.problem(403, "MELMASTOON.BFF.EDGE_BLOCKED");
        assert_eq!(response.body["runbook"], "bff-backoffice/waf-fp");
        assert!(!response.body.to_string().contains("rule\""), "the rule is not named");
    }
    gateway.get(SESSION).from("198.51.100.1").await.status(200);
}

#[tokio::test]
async fn a_shadow_rule_refuses_no_request() {
    let gateway = TestGateway::with_rules(&denied_address("shadow")).await;
    gateway.get(SESSION).from(ADDRESS).await.status(200);
}

#[tokio::test]
async fn devices_versions_and_paths_are_denied() {
    let mut gateway =
        TestGateway::with_rules(&deny("enforce", "devices = ['dev_01K0000000000000000000000A']"))
            .await;
    gateway.get(SESSION).await.status(200);
    gateway.device = "dev_01K0000000000000000000000A".parse().unwrap();
    gateway.get(SESSION).await.problem(403, "MELMASTOON.BFF.EDGE_BLOCKED");

    let gateway = TestGateway::with_rules(&deny("enforce", "app_versions = ['1.3.2']")).await;
    for (version, status) in [("1.3.2", 403), ("1.3.3", 200), ("nonsense", 200)] {
        gateway.get(SESSION).header("x-app-version", version).await.status(status);
    }

    let gateway =
        TestGateway::with_rules(&deny("enforce", &format!("path_prefix = '{SESSION}'"))).await;
    gateway.get(SESSION).await.status(403);
    gateway.get("/openapi.json").anonymous().await.status(200);
}

#[tokio::test]
async fn the_edge_answers_in_the_contract_s_order() {
    let gateway = TestGateway::with_rules(TIGHT).await;
    for _ in 0..2 {
        gateway.get(SESSION).from(ADDRESS).await.status(200);
    }
    // The address has used its requests up: 413 goes before 429, and 429 before all of sign-in.
    let anonymous = |address| gateway.get(SESSION).anonymous().from(address);
    large(anonymous(ADDRESS)).await.problem(413, "MELMASTOON.BFF.PAYLOAD_TOO_LARGE");
    anonymous(ADDRESS).await.problem(429, RATE_LIMITED);
    let proof = gateway.get(SESSION).token("nonsense").header("dpop", "nonsense");
    proof.from(ADDRESS).await.problem(429, RATE_LIMITED);
    anonymous("198.51.100.1").await.problem(401, "MELMASTOON.BFF.SESSION_REQUIRED");
}

#[tokio::test]
async fn responses_have_the_remaining_limit() {
    let gateway = TestGateway::with_rules(&format!("{TIGHT}{TIGHT_DEVICE}")).await;
    let response = gateway.get(SESSION).from(ADDRESS).await;
    assert_eq!(response.headers["ratelimit-policy"], r#""address";q=2;w=60, "device";q=2;w=60"#);
    assert_eq!(response.headers["ratelimit"], r#""address";r=1;t=30, "device";r=1;t=30"#);
    gateway.get(SESSION).from(ADDRESS).await;
    let refused = gateway.get(SESSION).from(ADDRESS).await.problem(429, RATE_LIMITED);
    assert_eq!(refused.headers["retry-after"], "30");
    assert_eq!(refused.body["retryAfter"], json!(30));
    assert_eq!(refused.headers["ratelimit"], r#""address";r=0;t=60"#);
}

#[tokio::test]
async fn a_device_is_limited_and_cannot_be_locked_out_by_another() {
    let gateway = TestGateway::with_rules(TIGHT_DEVICE).await;
    let token = gateway.token(|_| {});
    let own = || gateway.get(SESSION).token(&token).from(ADDRESS);
    // Somebody claims to be the device, from the same address even.
    for _ in 0..5 {
        gateway.get(SESSION).token("made-up").header("dpop", "nonsense").from(ADDRESS).await;
        own().header("dpop", "nonsense").from("198.51.100.1").await;
    }
    own().await.status(200);
    own().await.status(200);
    own().await.problem(429, RATE_LIMITED);
}

#[tokio::test]
async fn a_shadow_limit_refuses_no_request_and_is_not_in_the_headers() {
    let shadow = "limits.address = {requests = 1, per_seconds = 60, mode = 'shadow'}";
    let gateway = TestGateway::with_rules(shadow).await;
    for _ in 0..3 {
        let response = gateway.get(SESSION).from(ADDRESS).await.status(200);
        assert!(!response.headers["ratelimit"].to_str().unwrap().contains("address"));
    }
}

#[tokio::test]
async fn health_is_never_refused() {
    let rules = format!("{TIGHT}{}", deny("enforce", "addresses = ['0.0.0.0/0']"));
    let gateway = TestGateway::with_rules(&rules).await;
    for _ in 0..5 {
        gateway.get(HEALTH).anonymous().from(ADDRESS).await.status(200);
    }
}

#[tokio::test]
async fn a_desktop_below_the_minimum_version_must_update() {
    let gateway = TestGateway::with_rules("minimum_app_version = '1.4.0'").await;
    for (version, status) in
        [("1.3.9", 426), ("1.4.0-beta.1", 426), ("2", 426), ("1.4.0", 200), ("1.10.0", 200)]
    {
        gateway.get(SESSION).header("x-app-version", version).await.status(status);
    }
    let before_sign_in = gateway.get(SESSION).anonymous().header("x-app-version", "1.0.0").await;
    before_sign_in.problem(426, "MELMASTOON.BFF.APP_VERSION_UNSUPPORTED");
    assert_eq!(gateway.get(SESSION).await.status, 200, "the header is optional");
}

#[tokio::test]
async fn too_many_or_too_large_headers_are_a_problem() {
    let gateway = TestGateway::open().await;
    let many = (0..70).fold(gateway.get(SESSION), |request, number| {
        request.header(format!("x-filler-{number}"), "1")
    });
    many.await.problem(431, "MELMASTOON.BFF.HEADERS_TOO_LARGE");
    let large = gateway.get(SESSION).header("x-filler", "a".repeat(25_000)).await;
    large.problem(431, "MELMASTOON.BFF.HEADERS_TOO_LARGE");
}

#[tokio::test]
async fn a_changed_file_is_reloaded_and_an_invalid_one_is_not() {
    use crate::firewall::{Firewall, RULES_POLL, RulesReload};
    use std::sync::Arc;
    let file = std::env::temp_dir()
        .join(format!("edge-{:x}.toml", contracts::clock::Entropy::system().u128()));
    std::fs::write(&file, "").unwrap();
    let rules = Arc::new(Firewall::load(Some(&file), 1).unwrap());
    let gateway = TestGateway::with_edge_rules(Arc::clone(&rules)).await;
    gateway.state.background.start(
        "reload-firewall-rules",
        RulesReload::new(rules, file.clone()),
        RULES_POLL,
    );
    let comes = async |status: u16| {
        let looking = async {
            while gateway.get(SESSION).from(ADDRESS).await.status != status {
                tokio::task::yield_now().await;
            }
        };
        let within = std::time::Duration::from_secs(10);
        tokio::time::timeout(within, looking).await.expect("the rules change");
    };
    comes(200).await;
    std::fs::write(&file, denied_address("enforce")).unwrap();
    comes(403).await;
    // Half of a file, and one with a mistake: what was in force stays.
    for bad in ["[[deny]]\nname = 'ru", "[[deny]]\nname = 'rule'\nmode = 'soft'\n"] {
        std::fs::write(&file, bad).unwrap();
        let refused = tokio::time::timeout(std::time::Duration::from_millis(1500), comes(200));
        assert!(refused.await.is_err(), "a bad file let the address in");
    }
    std::fs::write(&file, denied_address("shadow")).unwrap();
    comes(200).await;
    std::fs::remove_file(file).unwrap();
}
