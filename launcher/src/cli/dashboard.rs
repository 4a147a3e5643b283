//! `launcher dashboard`: the tiles of one property, as a person reads them.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;
use contracts::clock::Clock;
use contracts::dashboard::Dashboard;
use tokio::time::Instant;

use super::curl::desktop;
use super::print;
use crate::desktop::Call;
use crate::paint::Paint;
use crate::seed;

mod figures;
mod highlights;
mod tiles;

#[derive(Debug, Args)]
pub(super) struct DashboardArguments {
    /// Who signs in; the first demo operator unless given.
    #[arg(long, short)]
    user: Option<String>,
    /// Which property; the operator's first unless given.
    #[arg(long, short)]
    property: Option<String>,
}

pub(super) async fn run(
    arguments: DashboardArguments,
    local: PathBuf,
    clock: Clock,
) -> anyhow::Result<ExitCode> {
    let desktop = desktop(&local, arguments.user.as_deref(), clock)?;
    let own = desktop.operator().property_ids.first();
    let property = arguments.property.as_ref().or(own);
    let property = property.context("this operator has no property: name one with --property")?;
    // Signing in is done before the clock runs.
    desktop.access_token().await?;
    let begun = Instant::now();
    let response = desktop.send(&Call::get(format!("/dashboard?propertyId={property}"))).await?;
    let (status, body) = (response.status(), response.bytes().await?);
    let took_ms = begun.elapsed().as_millis();
    if !status.is_success() {
        bail!("The gateway answered {status}: {}", String::from_utf8_lossy(&body));
    }
    let dashboard: Dashboard = serde_json::from_slice(&body).context("reading the dashboard")?;
    let paint = Paint::for_stdout();
    let who = &desktop.operator().username;
    let place = seed::property_name(property).unwrap_or_else(|| property.clone());
    print(&format!(
        "{}{}",
        heading(&dashboard, &place, who, took_ms, paint),
        tiles::render(&dashboard, paint)
    ))?;
    Ok(ExitCode::SUCCESS)
}

fn heading(dashboard: &Dashboard, place: &str, who: &str, took_ms: u128, paint: Paint) -> String {
    let state = if dashboard.partial { paint.yellow("partial") } else { paint.green("complete") };
    format!(
        "\n  {}  {}\n  {who}, {state}, in {took_ms} ms of the {} ms it may take\n\n",
        paint.bold(place),
        paint.dim(&dashboard.property_id.to_string()),
        dashboard.deadline_ms
    )
}
