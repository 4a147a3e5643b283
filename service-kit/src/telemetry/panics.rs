//! Logs every panic as one line, including those that a layer or the runtime catches.

use std::any::Any;
use std::backtrace::Backtrace;
use std::panic::{PanicHookInfo, set_hook};

/// Installs a panic hook that logs one line with `panic.location` and `backtrace`, and writes nothing
/// to standard error.
pub(super) fn log_panics() {
    set_hook(Box::new(log));
}

fn log(info: &PanicHookInfo<'_>) {
    let message = message(info.payload());
    let location = info.location().map(ToString::to_string);
    let thread = std::thread::current().name().unwrap_or("unnamed").to_owned();
    tracing::error!(
        panic.message = message,
        panic.location = location,
        panic.thread = thread,
        backtrace = %Backtrace::force_capture(),
        "A task panicked. This is a bug: report it with this line.",
    );
}

/// The message that a panic was started with.
pub(crate) fn message(payload: &(dyn Any + Send)) -> &str {
    let formatted = || payload.downcast_ref::<String>().map(String::as_str);
    let message = payload.downcast_ref::<&str>().copied().or_else(formatted);
    message.unwrap_or("a panic without a message")
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use axum::Router;
    use axum::body::Body;
    use axum::routing::get;
    use contracts::env::Env;
    use http::{Request, StatusCode};
    use serde_json::Value;
    use tower::ServiceExt;

    use crate::config::TelemetryConfig;
    use crate::lifecycle::Lifecycle;
    use crate::request::{Observer, observed};
    use crate::request_metrics;
    use crate::telemetry::Telemetry;

    const MESSAGE: &str = "line one\nline \"two\"";

    /// Panics in a handler and in a spawned task, in a process of its own: see the test below.
    #[tokio::test]
    #[ignore = "run by the test below, in a process of its own"]
    async fn program_that_panics() {
        let telemetry = Telemetry::start("test", &TelemetryConfig::default()).unwrap();
        let observer = Observer { metrics: request_metrics!("test"), env: Env::system() };
        let handler = async || -> StatusCode { panic!("{MESSAGE}") };
        let app = observed(Router::new().route("/", get(handler)), observer);
        let response = app.oneshot(Request::get("/").body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let lifecycle = Lifecycle::new();
        lifecycle.spawn(async { std::panic::panic_any(7_u8) });
        lifecycle.drain().await;
        telemetry.finish();
    }

    #[test]
    fn a_panic_is_one_json_line_and_nothing_on_standard_error() {
        let program = Command::new(std::env::current_exe().unwrap())
            .args(["telemetry::panics::tests::program_that_panics", "--exact", "--ignored"])
            .arg("--nocapture")
            .output()
            .unwrap();
        assert!(program.status.success(), "{program:?}");
        assert_eq!(String::from_utf8_lossy(&program.stderr), "");
        let out = String::from_utf8(program.stdout).unwrap();
        // The test runner says what it runs, on lines of its own.
        let lines: Vec<Value> =
            out.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let panics: Vec<&Value> =
            lines.iter().filter(|line| line["panic.location"].is_string()).collect();
        assert_eq!(panics.len(), 2, "{out}");
        assert_eq!(panics[0]["panic.message"], MESSAGE);
        assert_eq!(panics[1]["panic.message"], "a panic without a message");
        for panic in panics {
            assert_eq!(panic["level"], "ERROR");
            assert!(panic["panic.location"].as_str().unwrap().contains("panics.rs:"), "{panic}");
            assert!(
                panic["backtrace"].as_str().unwrap().contains("program_that_panics"),
                "{panic}"
            );
        }
        let stray = |line: &&str| line.contains("panics.rs") && !line.starts_with('{');
        assert_eq!(out.lines().find(stray), None);
    }
}
