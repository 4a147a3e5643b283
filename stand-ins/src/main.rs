//! The program: reads its configuration, starts every stand-in, and stops on a signal.

use std::process::ExitCode;

use contracts::env::Env;
use service_kit::lifecycle::Lifecycle;
use service_kit::program;
use service_kit::telemetry::Telemetry;
use stand_ins::app;
use stand_ins::config::Config;

#[tokio::main]
async fn main() -> ExitCode {
    program::main(run).await
}

async fn run(config: Config) -> anyhow::Result<()> {
    let telemetry = Telemetry::start("stand-ins", &config.telemetry)?;
    let lifecycle = Lifecycle::new();
    let dependencies = app::Dependencies {
        env: Env::system(),
        metrics: telemetry.router(),
        lifecycle: lifecycle.clone(),
    };
    let running = app::start(&config, dependencies).await?;
    tracing::info!(control = %running.control, "The stand-ins are up.");
    lifecycle.run_until_signal().await?;
    telemetry.finish();
    Ok(())
}
