//! Diagnostics of one upstream.

use contracts::upstream::Upstream;
use serde::Serialize;

/// The state of one upstream, from its calls of the last minutes.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UpstreamReport {
    pub upstream: Upstream,
    /// `closed`, `half-open` or `open`: the worst of all breakers.
    pub breaker: &'static str,
    /// Tenants blocked because their own calls fail.
    pub tenants_shut_out: usize,
    /// Concurrent calls allowed now.
    pub limit: usize,
    pub in_flight: usize,
    /// Absent before the first call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_call: Option<LastCall>,
    /// Of all calls, successful or not; absent when there were none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency: Option<Latency>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LastCall {
    /// `ok`, or the dashboard's reason code.
    pub outcome: &'static str,
    pub seconds_ago: u64,
}

/// Percentiles of the last one to two minutes, in milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Latency {
    pub p50_ms: f64,
    pub p95_ms: f64,
    pub p99_ms: f64,
}
