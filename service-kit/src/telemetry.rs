//! Logs as JSON lines (panics included), metrics for Prometheus, traces over OTLP when a collector is configured.

use std::io::{IsTerminal, Stdout};

use axum::Router;
use axum::routing::get;
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{ExporterBuildError, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracerProvider, Tracer};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::config::{LogFormat, TelemetryConfig};

mod batch;
mod json_lines;
pub(crate) mod panics;

use batch::Batch;
use json_lines::{JsonFields, JsonLines};

/// Upper bounds of latency buckets in seconds, finest around the service levels.
const LATENCY_BUCKETS: [f64; 16] =
    [0.001, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.08, 0.15, 0.2, 0.3, 0.4, 0.6, 0.8, 1.2, 2.5, 5.0];

#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    #[error("telemetry.log is not a filter: {0}. Use one like `info` or `info,bff=debug`.")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    #[error("the log thread cannot be started: {0}")]
    Thread(#[from] std::io::Error),
    #[error("telemetry was set up twice")]
    Twice,
    #[error("the trace exporter cannot be made: {0}. Check telemetry.otlp_endpoint.")]
    Exporter(#[from] ExporterBuildError),
    #[error("the metrics recorder cannot be made: {0}")]
    Metrics(#[from] BuildError),
}

/// Logs, metrics and traces of the program; flushed when dropped.
#[derive(Debug)]
pub struct Telemetry {
    metrics: PrometheusHandle,
    lines: Batch<Stdout>,
    traces: Option<SdkTracerProvider>,
}

impl Telemetry {
    /// Sets up logs, metrics and traces of the whole program, once.
    pub fn start(service: &'static str, config: &TelemetryConfig) -> Result<Self, TelemetryError> {
        let traces = config
            .otlp_endpoint
            .as_deref()
            .map(|endpoint| exporter(service, endpoint))
            .transpose()?;
        let tracer = traces.as_ref().map(|provider| provider.tracer(service));
        opentelemetry::global::set_text_map_propagator(TraceContextPropagator::new());
        let lines = Batch::new(std::io::stdout())?;
        subscribe(config, tracer, lines.clone())?;
        panics::log_panics();
        Ok(Self { metrics: recorder()?, lines, traces })
    }

    /// `GET /metrics`.
    pub fn router(&self) -> Router {
        let metrics = self.metrics.clone();
        Router::new().route(
            "/metrics",
            get(move || async move {
                metrics.run_upkeep();
                ([(http::header::CONTENT_TYPE, "text/plain; version=0.0.4")], metrics.render())
            }),
        )
    }

    /// Exports the remaining traces.
    pub fn finish(self) {
        if let Some(Err(error)) = self.traces.as_ref().map(SdkTracerProvider::shutdown) {
            tracing::warn!(%error, "Failed to export the last traces.");
        }
    }
}

/// Flushes the log: the subscriber lives as long as the process and is never dropped.
impl Drop for Telemetry {
    fn drop(&mut self) {
        self.lines.flush();
    }
}

fn exporter(
    service: &'static str,
    endpoint: &str,
) -> Result<SdkTracerProvider, ExporterBuildError> {
    crate::http_client::install_crypto_provider();
    let url = format!("{}/v1/traces", endpoint.trim_end_matches('/'));
    let exporter =
        opentelemetry_otlp::SpanExporter::builder().with_http().with_endpoint(url).build()?;
    let resource = Resource::builder().with_service_name(service).build();
    Ok(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build())
}

fn subscribe(
    config: &TelemetryConfig,
    tracer: Option<Tracer>,
    out: Batch<Stdout>,
) -> Result<(), TelemetryError> {
    let lines = tracing_subscriber::fmt::layer().with_writer(out);
    let lines = match config.log_format {
        LogFormat::Json => lines.fmt_fields(JsonFields).event_format(JsonLines).boxed(),
        LogFormat::Text => lines.with_ansi(std::io::stdout().is_terminal()).boxed(),
    };
    // One filter for logs and traces, because most exported spans would be those of libraries.
    let filter = EnvFilter::builder().parse(&config.log)?;
    let spans = tracer.map(|tracer| tracing_opentelemetry::layer().with_tracer(tracer));
    let subscriber = tracing_subscriber::registry().with(filter).with(spans).with(lines);
    subscriber.try_init().map_err(|_| TelemetryError::Twice)
}

fn recorder() -> Result<PrometheusHandle, TelemetryError> {
    let builder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &LATENCY_BUCKETS)?;
    let recorder = builder.build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder).map_err(|_| TelemetryError::Twice)?;
    Ok(handle)
}
