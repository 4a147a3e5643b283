//! The two layers: deny rules and header limits before the body limit; rates and the minimum app
//! version after it, so that refusals follow the contract's order: 403, 413, 429.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use auth::verifier::single;
use axum::extract::{ConnectInfo, Request};
use axum::response::{IntoResponse, Response};
use contracts::headers::DEVICE_ID;
use contracts::id::DeviceId;
use contracts::problem::{Problem, code};
use contracts::safeguard;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};
use semver::Version;
use service_kit::layer::Inspect;
use service_kit::problem::ApiError;

use super::matching::Facts;
use super::mode::Mode;
use super::rates::LimitState;
use super::{ActiveRules, ClientAddress, Firewall, app_version};
use crate::paths::BASE_PATH;

/// Header fields of a request; a desktop sends about fifteen.
const MAX_HEADERS: usize = 64;
/// Bytes of names and values: a token and a proof of 8 KiB each, and the rest. The listener itself
/// allows slightly more; beyond that it responds with a bare 431.
const MAX_HEADER_BYTES: usize = 24 * 1024;

/// draft-ietf-httpapi-ratelimit-headers-10
pub(crate) const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
pub(crate) const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// Outer layer: deny rules and header limits.
#[derive(Debug, Clone)]
pub(crate) struct DenyLayer(pub Arc<Firewall>);

impl Inspect for DenyLayer {
    type State = ();

    fn before(&self, request: &mut Request) -> ControlFlow<Response> {
        let Self(firewall) = self;
        let address = firewall.hops.client(peer(request), request.headers());
        request.extensions_mut().insert(ClientAddress(address));
        if is_health(request.uri().path()) {
            return ControlFlow::Continue(());
        }
        match firewall.denied(address, request).or_else(|| oversized(request.headers())) {
            Some(problem) => ControlFlow::Break(ApiError::from(problem).into_response()),
            None => ControlFlow::Continue(()),
        }
    }

    fn after((): (), response: Response) -> Response {
        response
    }
}

/// Inner layer: rate limits and the minimum app version.
#[derive(Debug, Clone)]
pub(crate) struct LimitLayer(pub Arc<Firewall>);

impl Inspect for LimitLayer {
    type State = [Option<LimitState>; 2];

    fn before(&self, request: &mut Request) -> ControlFlow<Response, Self::State> {
        let Self(firewall) = self;
        if is_health(request.uri().path()) {
            return ControlFlow::Continue([None, None]);
        }
        let active_rules = firewall.active_rules();
        let limit_states = limit_states(&active_rules, request);
        let refused =
            exhausted(&limit_states).or_else(|| too_old(&active_rules, request.headers()));
        match refused {
            Some(problem) => {
                let refusal = ApiError::from(problem).into_response();
                ControlFlow::Break(Self::after(limit_states, refusal))
            }
            None => ControlFlow::Continue(limit_states),
        }
    }

    fn after(limit_states: Self::State, mut response: Response) -> Response {
        add_rate_limit_headers(&limit_states, response.headers_mut());
        response
    }
}

/// Health checks must never be limited, or the load balancer would remove the instance.
fn is_health(path: &str) -> bool {
    path.strip_prefix(BASE_PATH).is_some_and(|path| path.starts_with("/health/"))
}

/// Unspecified only in router tests, where there is no listener.
fn peer(request: &Request) -> IpAddr {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |ConnectInfo(peer)| peer.ip())
}

fn claimed_device(headers: &HeaderMap) -> Option<DeviceId> {
    single(headers, DEVICE_ID)?.parse().ok()
}

impl Firewall {
    /// Checks every rule, so that shadow rules are counted too.
    fn denied(&self, address: IpAddr, request: &Request) -> Option<Problem> {
        let active_rules = self.active_rules();
        if active_rules.rules.deny.is_empty() {
            return None;
        }
        let facts = Facts {
            address,
            device: claimed_device(request.headers()),
            app_version: app_version(request.headers()).and_then(|text| Version::parse(text).ok()),
            path: request.uri().path(),
        };
        let meaning = active_rules.rules.deny.iter().filter(|rule| rule.means(&facts));
        let obeyed = meaning.filter(|rule| Self::applies(&rule.name, rule.mode));
        let obeyed: Vec<&str> = obeyed.map(|rule| &*rule.name).collect();
        (!obeyed.is_empty() && safeguard!(DenyRules)).then(|| {
            // The response does not name the rule, so that a blocked client does not learn how to
            // evade it.
            tracing::info!(rules = ?obeyed, %address, "A firewall rule blocked a request.");
            Problem::new(
                &code::EDGE_BLOCKED,
                "This request was blocked by a firewall rule. Work offline, contact support and quote the request ID.",
            )
        })
    }
}

/// Returns the problem of the first enforced limit that is used up.
fn exhausted(limit_states: &[Option<LimitState>]) -> Option<Problem> {
    let limit_states = limit_states.iter().flatten();
    let mut used_up = limit_states.filter_map(|state| Some((state, state.wait?)));
    let (_, wait) = used_up.find(|(state, _)| Firewall::applies(state.name, state.limit.mode))?;
    let mut problem = Problem::new(
        &code::RATE_LIMITED,
        "Too many requests. Try again after the time in Retry-After.",
    );
    problem.retry_after = Some(whole_seconds(wait));
    Some(problem)
}

/// Counts the request for its address and its device.
fn limit_states(active_rules: &ActiveRules, request: &Request) -> [Option<LimitState>; 2] {
    let ClientAddress(address) = request
        .extensions()
        .get::<ClientAddress>()
        .copied()
        .unwrap_or_else(|| ClientAddress(peer(request)));
    let address_state = active_rules.rates.address(address);
    // A request refused for its address is not counted for the device.
    let open =
        address_state.is_none_or(|state| state.wait.is_none() || state.limit.mode != Mode::Enforce);
    let device = claimed_device(request.headers()).filter(|_| open);
    let token = request.headers().get(AUTHORIZATION).map_or(&b""[..], HeaderValue::as_bytes);
    let device = device.and_then(|device| active_rules.rates.device(address, device, token));
    [address_state, device]
}

fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

fn oversized(headers: &HeaderMap) -> Option<Problem> {
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    (headers.len() > MAX_HEADERS || bytes > MAX_HEADER_BYTES).then(|| {
        Problem::new(
            &code::HEADERS_TOO_LARGE,
            "The request has more than 64 header fields, or more than 24 KiB of headers. Send fewer.",
        )
    })
}

/// The version header is optional; without it no version is refused.
fn too_old(active_rules: &ActiveRules, headers: &HeaderMap) -> Option<Problem> {
    let minimum = active_rules.rules.minimum_app_version.as_ref()?;
    let given = app_version(headers)?;
    let enough = Version::parse(given).is_ok_and(|version| version.cmp_precedence(minimum).is_ge());
    (!enough).then(|| {
        Problem::new(
            &code::APP_VERSION_UNSUPPORTED,
            format!("This app version is no longer supported. Update to {minimum} or later."),
        )
    })
}

/// Adds the remaining requests of each enforced limit, for clients that slow down by themselves.
fn add_rate_limit_headers(limit_states: &[Option<LimitState>], headers: &mut HeaderMap) {
    let (mut policy, mut remaining) = (String::new(), String::new());
    let obeyed = |state: &&LimitState| state.limit.mode == Mode::Enforce;
    for state in limit_states.iter().flatten().filter(obeyed) {
        let comma = if policy.is_empty() { "" } else { ", " };
        let (name, limit) = (state.name, state.limit);
        let _ = write!(policy, "{comma}\"{name}\";q={};w={}", limit.requests, limit.per_seconds);
        let _ =
            write!(remaining, "{comma}\"{name}\";r={};t={}", state.remaining, state.full_after());
    }
    for (name, value) in [(RATE_LIMIT_POLICY, policy), (RATE_LIMIT, remaining)] {
        if !value.is_empty() {
            headers.insert(name, value.try_into().expect("names and numbers are ASCII"));
        }
    }
}
