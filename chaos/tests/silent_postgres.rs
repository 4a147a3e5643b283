//! Postgres behind a failing network path, on real processes: open connections go silent while new
//! ones work, everything goes silent, sessions become read-only. Nothing hangs, revocations take
//! effect, and every program recovers without a restart.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::time::Duration;

use chaos::client::{self, ApiResponse, Arrival};
use chaos::drill_env::{DrillEnv, EnvOptions};
use chaos::proxy::Proxy;
use contracts::clock::Clock;
use contracts::headers::MFA_ATTESTATION;
use launcher::desktop::{Call, Desktop};
use launcher::internal::InternalClient;
use launcher::progress::Progress;
use reqwest::{Method, Url};
use serde_json::json;
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::{Instant, sleep};

/// Response time limit of any request that needs Postgres.
const ANSWERED_WITHIN: Duration = Duration::from_millis(1500);
/// Time for a revocation to reach every instance, and for recovery.
const IN_FORCE_WITHIN: Duration = Duration::from_secs(5);
const POLL_INTERVAL: Duration = Duration::from_millis(50);
const POSTGRES_URL_SETTING: &str = "MELMASTOON_POSTGRES__URL";
/// Programs with a database, and the database's name.
const PROGRAMS: [(&str, &str); 5] = [
    ("bff", "bff"),
    ("bff-2", "bff"),
    ("inventory", "inventory"),
    ("housekeeping", "housekeeping"),
    ("staff", "staff"),
];
const SIGN_OUT: &str = "sign-out";
const UNAVAILABLE: &str = "MELMASTOON.BFF.STORE_UNAVAILABLE";

/// Allows one stack at a time, because two would miss their deadlines.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

struct ProxiedEnv {
    env: DrillEnv,
    proxy: Proxy,
    _turn: MutexGuard<'static, ()>,
}

impl ProxiedEnv {
    /// Starts two gateways without cache, and connects all programs to Postgres through one proxy.
    async fn open(name: &str) -> Self {
        let turn = ONE_AT_A_TIME.lock().await;
        let options = EnvOptions::new(DrillEnv::folder("tests").join(name));
        let options = EnvOptions { second_gateway: true, cold: true, ..options };
        let mut env = DrillEnv::open(options, &Progress::quiet()).await.unwrap();
        let urls = env.stack.info().postgres.urls.clone();
        let port = Url::parse(&urls["bff"]).unwrap().port().unwrap();
        let proxy = Proxy::start(([127, 0, 0, 1], port).into()).await.unwrap();
        for (program, database) in PROGRAMS {
            let mut url = Url::parse(&urls[database]).unwrap();
            url.set_host(Some("127.0.0.1")).unwrap();
            url.set_port(Some(proxy.address.port())).unwrap();
            let process = env.stack.process(program).unwrap();
            process.set_env(POSTGRES_URL_SETTING, url.as_str()).await.unwrap();
            env.stack.restart(program).await.unwrap();
        }
        env.reconnect().unwrap();
        let proxied = Self { env, proxy, _turn: turn };
        proxied.wait_until("everything works", Duration::from_secs(20), works).await;
        proxied
    }

    async fn wait_until(
        &self,
        what: &str,
        within: Duration,
        is_so: impl AsyncFn(&DrillEnv) -> bool,
    ) {
        let begun = Instant::now();
        while begun.elapsed() < within {
            if is_so(&self.env).await {
                eprintln!("{what}: after {:?}", begun.elapsed());
                return;
            }
            sleep(POLL_INTERVAL).await;
        }
        panic!("not within {within:?}: {what}");
    }

    async fn close(self) {
        self.env.close().await.unwrap();
    }
}

/// Reads from each service and from the gateway's own database.
fn reads(env: &DrillEnv) -> Vec<Call> {
    let property = &env.property;
    [
        format!("/locks/audit?propertyId={property}"),
        "/sync/cursor".to_owned(),
        format!("/housekeeping/board?propertyId={property}"),
        format!("/inventory/calendar?propertyId={property}&from=2026-01-01&to=2026-01-03"),
        format!("/staff/on-duty?propertyId={property}"),
    ]
    .map(Call::get)
    .into()
}

/// Whether each program reads from its database, and the gateway is ready.
async fn works(env: &DrillEnv) -> bool {
    for call in reads(env) {
        let answer = client::send(&env.desktop, &call).await.unwrap();
        if answer.status != 200 {
            eprintln!("{}: {answer}", call.path);
            return false;
        }
    }
    is_ready(env, 200).await && is_writable(env).await
}

/// Whether the readiness of all programs has this status.
async fn is_ready(env: &DrillEnv, status: u16) -> bool {
    let mut urls: Vec<String> =
        env.gateways().into_iter().map(|gateway| gateway.internal_url).collect();
    urls.extend(["inventory", "housekeeping", "staff"].map(|name| env.service_url(name).unwrap()));
    for url in urls {
        let answer = env.http().get(format!("{url}/health/ready")).send().await.unwrap();
        if answer.status() != status {
            return false;
        }
    }
    true
}

/// Whether the gateway claims an idempotency key, which is a write.
async fn is_writable(env: &DrillEnv) -> bool {
    let answer = client::send(&env.desktop, &mutations()[0].1).await.unwrap();
    answer.code() != UNAVAILABLE
}

/// Changes that begin with a statement. Their resources do not exist, except the session that the
/// last one ends.
fn mutations() -> Vec<(&'static str, Call)> {
    let (id, key) = ("01K0000000000000000000000A", client::new_key);
    let with_factor = |path: String, body| {
        let mut call = client::change(path, &key(), body).unwrap();
        client::set(&mut call, MFA_ATTESTATION, &format!("mfa_{id}")).unwrap();
        call
    };
    let post = |path: &str, body| Call { json: Some(body), ..Call::new(Method::POST, path) };
    let arrival = Arrival { reservation: format!("rsv_{id}"), room: format!("rom_{id}") };
    let check_in = arrival.check_in(&key()).unwrap();
    let money = json!({"amountMicro": "1000000", "currency": "USD"});
    let refund = json!({"amount": money, "reason": "a test"});
    let factor = json!({"method": "totp", "code": "000000", "scope": "folio.refund"});
    vec![
        ("check-in", check_in),
        ("refund", with_factor(format!("/folios/fol_{id}/refunds"), refund)),
        ("step-up", post("/auth/mfa/step-up", factor)),
        ("cursor", post("/sync/cursor", json!({"version": 1}))),
        (SIGN_OUT, post("/auth/sign-out", json!({}))),
    ]
}

/// Sends a call and checks that the response is in time.
async fn timely(env: &DrillEnv, name: &str, call: &Call) -> ApiResponse {
    let begun = Instant::now();
    let answer = client::send(&env.desktop, call).await.unwrap();
    let took = begun.elapsed();
    eprintln!("{name}: {answer} after {took:?}");
    assert!(took < ANSWERED_WITHIN, "{name} took {took:?}");
    answer
}

async fn refused(env: &DrillEnv, name: &str, call: &Call) {
    let answer = timely(env, name, call).await;
    assert_eq!((answer.status, answer.code()), (503, UNAVAILABLE), "{name}: {}", answer.body);
    assert!(answer.retry_after, "{name}: no Retry-After");
}

fn revocation(env: &DrillEnv) -> serde_json::Value {
    let operator = env.desktop.operator();
    json!({"tenantId": operator.tenant_id, "kind": "device", "id": operator.device_id, "reason": "stolen"})
}

/// Returns the status of a request with this token and a fresh proof.
async fn with_token(desktop: &Desktop, token: &str) -> u16 {
    let session = Call::get("/session");
    let url = desktop.url(&session.path).unwrap();
    let proof = desktop.proof(&session.method, &url, token).sign(desktop.key()).unwrap();
    let request = desktop.request(&session, token, &proof).unwrap();
    request.send().await.unwrap().status().as_u16()
}

/// Sends the revocation once as a platform operator and returns the status.
async fn revoke(env: &DrillEnv, caller: &InternalClient) -> u16 {
    let (path, body, begun) = ("/internal/sessions/revoke", revocation(env), Instant::now());
    let sent = caller.call("operator-a", Method::POST, path, Some(&body)).await.unwrap();
    let took = begun.elapsed();
    eprintln!("revoke: {} after {took:?}", sent.status());
    assert!(took < ANSWERED_WITHIN, "revoke took {took:?}");
    sent.status().as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_connections_cost_one_request_a_second_and_hide_no_revocation() {
    let proxied = ProxiedEnv::open("silent").await;
    let (env, proxy) = (&proxied.env, &proxied.proxy);
    for (name, call) in mutations() {
        proxy.silence_open();
        refused(env, name, &call).await;
        if name != SIGN_OUT {
            let next = timely(env, name, &call).await;
            assert_ne!(next.code(), UNAVAILABLE, "{name}: the next one failed, too");
        }
    }
    for call in reads(env) {
        proxy.silence_open();
        timely(env, &call.path, &call).await;
        let is_back =
            async |env: &DrillEnv| client::send(&env.desktop, &call).await.unwrap().status == 200;
        proxied.wait_until(&format!("{} works again", call.path), ANSWERED_WITHIN, is_back).await;
    }
    proxied.wait_until("everything works", IN_FORCE_WITHIN, works).await;

    let caller = InternalClient::new(env.stack.info(), Clock::system()).unwrap();
    caller.token("operator-a").await.unwrap();
    let mut info = env.stack.info().clone();
    info.gateway = info.second_gateway.clone().unwrap();
    let username = &env.desktop.operator().username;
    let folder = env.folder.join("desktop-2");
    let other = Desktop::open(&info, username, &folder, Clock::system()).unwrap();
    let session = Call::get("/session");
    assert_eq!(client::send(&other, &session).await.unwrap().status, 200);
    // The stolen tokens; a desktop whose token is refused would sign in again.
    let tokens = [env.desktop.access_token().await.unwrap(), other.access_token().await.unwrap()];
    proxy.silence_open();
    assert_eq!(revoke(env, &caller).await, 503);
    assert_eq!(revoke(env, &caller).await, 200);
    proxy.silence_open();
    let is_out = async |env: &DrillEnv| {
        let statuses =
            tokio::join!(with_token(&env.desktop, &tokens[0]), with_token(&other, &tokens[1]));
        statuses == (401, 401)
    };
    proxied.wait_until("every instance refuses the device", IN_FORCE_WITHIN, is_out).await;
    proxied.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_says_nothing_at_all_is_unavailable_until_the_path_returns() {
    let proxied = ProxiedEnv::open("mute").await;
    let (env, proxy) = (&proxied.env, &proxied.proxy);
    proxy.silence_all();
    for (name, call) in mutations() {
        refused(env, name, &call).await;
    }
    proxied
        .wait_until("no program is ready", IN_FORCE_WITHIN, async |env| is_ready(env, 503).await)
        .await;
    proxy.cut();
    proxy.heal();
    proxied.wait_until("everything works", IN_FORCE_WITHIN, works).await;

    proxy.hold_open();
    for call in reads(env) {
        timely(env, &call.path, &call).await;
    }
    proxy.heal();
    proxied.wait_until("everything works", IN_FORCE_WITHIN, works).await;
    proxy.cut();
    proxied.wait_until("everything works", IN_FORCE_WITHIN, works).await;
    proxied.close().await;
}

/// Makes all sessions of the server read-only, open ones included, or writable again.
async fn set_read_only(env: &DrillEnv, change: &str) {
    let alter = format!("ALTER SYSTEM {change}");
    env.run_sql("postgres", &alter).await.unwrap();
    env.run_sql("postgres", "SELECT pg_reload_conf()").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_demoted_primary_is_unavailable_until_it_is_writable_again() {
    let proxied = ProxiedEnv::open("demoted").await;
    let env = &proxied.env;
    set_read_only(env, "SET default_transaction_read_only = on").await;
    proxied
        .wait_until("no program is ready", IN_FORCE_WITHIN, async |env| is_ready(env, 503).await)
        .await;
    for _ in 0..2 {
        for (name, call) in mutations() {
            refused(env, name, &call).await;
        }
    }
    set_read_only(env, "RESET default_transaction_read_only").await;
    proxied.wait_until("everything works", IN_FORCE_WITHIN, works).await;
    proxied.close().await;
}
