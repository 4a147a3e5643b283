//! The two layers: deny rules and headers, before a body is looked at; rates and the oldest
//! desktop, after. The limit of the body stands between them, so that the answers come in the
//! contract's order: 403, 413, 429.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

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
use super::rates::Standing;
use super::{ClientAddress, EdgeRules, InForce, app_version, single};
use crate::paths::BASE_PATH;

/// Header fields of a request. A desktop sends about fifteen.
const MOST_HEADERS: usize = 64;
/// Names and values together, bytes: a token and a proof of 8 KiB each, and the rest. What the
/// listener itself takes is a little more; past that it answers a bare 431.
const LARGEST_HEADERS: usize = 24 * 1024;

/// draft-ietf-httpapi-ratelimit-headers-10
pub const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
pub const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// The outer one.
#[derive(Debug, Clone)]
pub struct Deny(pub Arc<EdgeRules>);

impl Inspect for Deny {
    type State = ();

    fn before(&self, request: &mut Request) -> ControlFlow<Response> {
        let Self(edge) = self;
        let address = edge.hops.client(peer(request), request.headers());
        request.extensions_mut().insert(ClientAddress(address));
        if is_health(request.uri().path()) {
            return ControlFlow::Continue(());
        }
        match edge.denied(address, request).or_else(|| oversized(request.headers())) {
            Some(problem) => ControlFlow::Break(ApiError::from(problem).into_response()),
            None => ControlFlow::Continue(()),
        }
    }

    fn after((): (), response: Response) -> Response {
        response
    }
}

/// The inner one.
#[derive(Debug, Clone)]
pub struct Limit(pub Arc<EdgeRules>);

impl Inspect for Limit {
    type State = [Option<Standing>; 2];

    fn before(&self, request: &mut Request) -> ControlFlow<Response, Self::State> {
        let Self(edge) = self;
        if is_health(request.uri().path()) {
            return ControlFlow::Continue([None, None]);
        }
        let in_force = edge.in_force();
        let standings = standings(&in_force, request);
        let refused = exhausted(&standings).or_else(|| too_old(&in_force, request.headers()));
        match refused {
            Some(problem) => {
                let refusal = ApiError::from(problem).into_response();
                ControlFlow::Break(Self::after(standings, refusal))
            }
            None => ControlFlow::Continue(standings),
        }
    }

    fn after(standings: Self::State, mut response: Response) -> Response {
        tell(&standings, response.headers_mut());
        response
    }
}

/// The load balancer's question must never be limited: it would take the gateway away from all.
fn is_health(path: &str) -> bool {
    path.strip_prefix(BASE_PATH).is_some_and(|path| path.starts_with("/health/"))
}

/// Unspecified only where no listener is, in tests of the router.
fn peer(request: &Request) -> IpAddr {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |ConnectInfo(peer)| peer.ip())
}

fn claimed_device(headers: &HeaderMap) -> Option<DeviceId> {
    single(headers, DEVICE_ID)?.parse().ok()
}

impl EdgeRules {
    /// Asks every rule, so that those in shadow are counted beside those that bite.
    fn denied(&self, address: IpAddr, request: &Request) -> Option<Problem> {
        let in_force = self.in_force();
        if in_force.rules.deny.is_empty() {
            return None;
        }
        let facts = Facts {
            address,
            device: claimed_device(request.headers()),
            app_version: app_version(request.headers()).and_then(|text| Version::parse(text).ok()),
            path: request.uri().path(),
        };
        let meaning = in_force.rules.deny.iter().filter(|rule| rule.means(&facts));
        let obeyed = meaning.filter(|rule| Self::applies(&rule.name, rule.mode));
        let obeyed: Vec<&str> = obeyed.map(|rule| &*rule.name).collect();
        (!obeyed.is_empty() && safeguard!(DenyRules)).then(|| {
            // Not which rule: whoever is meant would learn how to pass it. The log has it.
            tracing::info!(rules = ?obeyed, %address, "An edge rule blocked a request.");
            Problem::new(
                &code::EDGE_BLOCKED,
                "A rule of the platform blocks this request. Work offline and call support with the request id.",
            )
        })
    }
}

/// The first limit that is used up and obeyed.
fn exhausted(standings: &[Option<Standing>]) -> Option<Problem> {
    let standings = standings.iter().flatten();
    let mut used_up = standings.filter_map(|standing| Some((standing, standing.wait?)));
    let (_, wait) =
        used_up.find(|(standing, _)| EdgeRules::applies(standing.name, standing.limit.mode))?;
    let mut problem = Problem::new(
        &code::RATE_LIMITED,
        "Too many requests came from here. Wait as long as Retry-After says.",
    );
    problem.retry_after = Some(whole_seconds(wait));
    Some(problem)
}

/// Of the address, and of the device.
fn standings(in_force: &InForce, request: &Request) -> [Option<Standing>; 2] {
    let ClientAddress(address) = request
        .extensions()
        .get::<ClientAddress>()
        .copied()
        .unwrap_or_else(|| ClientAddress(peer(request)));
    let address_standing = in_force.rates.address(address);
    // A request that the address may not make is not held against the device.
    let open = address_standing
        .is_none_or(|standing| standing.wait.is_none() || standing.limit.mode != Mode::Enforce);
    let device = claimed_device(request.headers()).filter(|_| open);
    let token = request.headers().get(AUTHORIZATION).map_or(&b""[..], HeaderValue::as_bytes);
    let device = device.and_then(|device| in_force.rates.device(address, device, token));
    [address_standing, device]
}

fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

fn oversized(headers: &HeaderMap) -> Option<Problem> {
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    (headers.len() > MOST_HEADERS || bytes > LARGEST_HEADERS).then(|| {
        Problem::new(
            &code::HEADERS_TOO_LARGE,
            "The headers are more than 64 or larger than 24 KiB. Send fewer.",
        )
    })
}

/// A desktop that does not say its version is not held up: the header is optional.
fn too_old(in_force: &InForce, headers: &HeaderMap) -> Option<Problem> {
    let minimum = in_force.rules.minimum_app_version.as_ref()?;
    let given = app_version(headers)?;
    let enough = Version::parse(given).is_ok_and(|version| version.cmp_precedence(minimum).is_ge());
    (!enough).then(|| {
        Problem::new(
            &code::APP_VERSION_UNSUPPORTED,
            format!("This desktop is older than {minimum}. Update it."),
        )
    })
}

/// What is left of each limit that is obeyed, for clients that slow down by themselves.
fn tell(standings: &[Option<Standing>], headers: &mut HeaderMap) {
    let (mut policy, mut state) = (String::new(), String::new());
    let obeyed = |standing: &&Standing| standing.limit.mode == Mode::Enforce;
    for standing in standings.iter().flatten().filter(obeyed) {
        let comma = if policy.is_empty() { "" } else { ", " };
        let (name, limit) = (standing.name, standing.limit);
        let _ = write!(policy, "{comma}\"{name}\";q={};w={}", limit.requests, limit.per_seconds);
        let _ =
            write!(state, "{comma}\"{name}\";r={};t={}", standing.remaining, standing.full_after());
    }
    for (name, value) in [(RATE_LIMIT_POLICY, policy), (RATE_LIMIT, state)] {
        if !value.is_empty() {
            headers.insert(name, value.try_into().expect("names and numbers are ASCII"));
        }
    }
}
