use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;

use super::rules::{http_url, require};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    #[default]
    Json,
    Text,
}

/// The log, and where traces go.
#[derive(Debug, Clone, Deserialize, JsonSchema, Validate)]
#[serde(default, deny_unknown_fields)]
#[garde(allow_unvalidated)]
pub struct TelemetryConfig {
    /// Filter, such as `info,tower_http=debug`.
    #[garde(custom(log_filter))]
    pub log: String,
    /// Form of the log's lines.
    pub log_format: LogFormat,
    /// Base URL of an OTLP/HTTP collector; traces are exported only when it is set.
    #[garde(inner(custom(http_url)))]
    pub otlp_endpoint: Option<String>,
}

fn log_filter(value: &str, _: &()) -> garde::Result {
    require(EnvFilter::builder().parse(value).is_ok(), "is not a log filter")
}

impl Default for TelemetryConfig {
    fn default() -> Self {
        Self { log: "info".to_owned(), log_format: LogFormat::default(), otlp_endpoint: None }
    }
}
