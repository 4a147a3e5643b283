//! `launcher dashboard`: prints one property's dashboard as text.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;
use console::style;
use contracts::dashboard::Dashboard;
use tokio::time::Instant;

use super::curl::desktop;
use super::print;
use crate::desktop::Call;
use crate::seed;

mod figures;
mod highlights;
mod tiles;

#[derive(Debug, Args)]
pub(super) struct DashboardArguments {
    /// Operator who signs in; the first demo operator by default.
    #[arg(long, short)]
    user: Option<String>,
    /// Property ID; the operator's first property by default.
    #[arg(long, short)]
    property: Option<String>,
}

pub(super) async fn run(arguments: DashboardArguments, local: PathBuf) -> anyhow::Result<ExitCode> {
    let desktop = desktop(&local, arguments.user.as_deref())?;
    let own = desktop.operator().property_ids.first();
    let property = arguments.property.as_ref().or(own);
    let property = property.context("this operator has no property: name one with --property")?;
    // Sign in before the measured request.
    desktop.access_token().await?;
    let begun = Instant::now();
    let response = desktop.send(&Call::get(format!("/dashboard?propertyId={property}"))).await?;
    let (status, body) = (response.status(), response.bytes().await?);
    let took_ms = begun.elapsed().as_millis();
    if !status.is_success() {
        bail!("The gateway responded {status}: {}", String::from_utf8_lossy(&body));
    }
    let dashboard: Dashboard = serde_json::from_slice(&body).context("reading the dashboard")?;
    let who = &desktop.operator().username;
    let property_name = seed::property_name(property).unwrap_or_else(|| property.clone());
    print(&format!(
        "{}{}",
        heading(&dashboard, &property_name, who, took_ms),
        tiles::render(&dashboard)
    ))?;
    Ok(ExitCode::SUCCESS)
}

fn heading(dashboard: &Dashboard, property_name: &str, who: &str, took_ms: u128) -> String {
    let partial = dashboard.partial;
    let state = if partial { style("partial").yellow() } else { style("complete").green() };
    format!(
        "\n  {}  {}\n  {who}, {state}, {took_ms} ms (deadline {} ms)\n\n",
        style(property_name).bold(),
        style(dashboard.property_id).dim(),
        dashboard.deadline_ms
    )
}
