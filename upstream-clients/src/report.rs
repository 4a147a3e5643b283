//! What a call stack knows of its upstream, for people who look.

use contracts::upstream::Upstream;
use serde::Serialize;

use crate::recent::Percentiles;

/// One upstream as its calls of the last minutes show it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UpstreamReport {
    pub upstream: Upstream,
    /// `closed`, `half-open` or `open`: the door that is furthest open.
    pub breaker: &'static str,
    /// Tenants that are kept out because their own calls fail.
    pub tenants_shut_out: usize,
    /// Calls it may have under way at once, now.
    pub limit: usize,
    pub in_flight: usize,
    /// Absent before the first call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_call: Option<LastCall>,
    /// Of all calls, good and bad; absent when there were none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency: Option<Latency>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LastCall {
    /// `ok`, or the reason as the dashboard names it.
    pub outcome: &'static str,
    pub seconds_ago: u64,
}

/// Milliseconds that so many of a hundred calls of the last one to two minutes did not exceed.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Latency {
    pub p50_ms: f64,
    pub p95_ms: f64,
    pub p99_ms: f64,
}

impl From<Percentiles> for Latency {
    fn from(of: Percentiles) -> Self {
        let ms = |duration: std::time::Duration| duration.as_secs_f64() * 1e3;
        Self { p50_ms: ms(of.p50), p95_ms: ms(of.p95), p99_ms: ms(of.p99) }
    }
}
