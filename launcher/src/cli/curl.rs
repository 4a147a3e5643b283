//! `launcher curl`: sends one request as a signed-in desktop and prints the response in colour.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use console::style;
use contracts::clock::Clock;
use reqwest::header::{ACCEPT, HeaderName, HeaderValue};
use reqwest::{Method, Response};
use serde_json::Value;

use super::print;
use crate::data_dir::DataDir;
use crate::desktop::{Call, Desktop};
use crate::stack_info::{Operator, StackInfo};

/// Exit code for an error status, as of `curl --fail`.
const EXIT_REFUSED: u8 = 22;

#[derive(Debug, Args)]
pub(super) struct CurlArguments {
    /// GET, POST, PUT, DELETE …
    method: Method,
    /// Path relative to the API's base URL: '/dashboard?propertyId=…'.
    path: String,
    /// Operator who signs in; the first demo operator by default.
    #[arg(long, short)]
    user: Option<String>,
    /// JSON body.
    #[arg(long, short)]
    data: Option<String>,
    /// Additional header, 'Name: value'.
    #[arg(long, short = 'H', value_name = "HEADER")]
    header: Vec<String>,
    /// Print the response headers.
    #[arg(long, short)]
    include: bool,
    /// Request newline-delimited JSON and print records as they arrive.
    #[arg(long)]
    ndjson: bool,
}

/// Opens the desktop of an operator of the running stack.
pub(super) fn desktop(local: &Path, user: Option<&str>) -> anyhow::Result<Desktop> {
    let info = StackInfo::read(&local.join("stack.json"))?;
    let user = operator(&info, user)?.username.as_str();
    let folder = DataDir::open(local)?.dir("desktop")?;
    Desktop::open(&info, user, &folder, Clock::system())
}

/// Finds the demo operator of this name, or the first one.
pub(super) fn operator<'a>(
    info: &'a StackInfo,
    user: Option<&str>,
) -> anyhow::Result<&'a Operator> {
    match user {
        Some(user) => info.operator(user),
        None => info.operators.first().context("the stack has no demo operators"),
    }
}

pub(super) async fn run(arguments: CurlArguments, local: PathBuf) -> anyhow::Result<ExitCode> {
    let desktop = desktop(&local, arguments.user.as_deref())?;
    let response = desktop.send(&arguments.call()?).await?;
    print_response(response, arguments.include).await
}

impl CurlArguments {
    fn call(&self) -> anyhow::Result<Call> {
        let mut call = Call::new(self.method.clone(), &self.path);
        for header in &self.header {
            let (name, value) = header.split_once(':').context("a header is 'Name: value'")?;
            let name: HeaderName = name.trim().parse()?;
            call.headers.insert(name, value.trim().parse()?);
        }
        if self.ndjson {
            call.headers.insert(ACCEPT, HeaderValue::from_static("application/x-ndjson"));
        }
        if self.ndjson || self.path.starts_with("/sse") {
            call.within = None;
        }
        let json = self.data.as_deref().map(serde_json::from_str).transpose();
        call.json = json.context("--data is not JSON")?;
        Ok(call)
    }
}

/// Prints the status to standard error, so that the body can be piped into `jq`.
pub(super) async fn print_response(
    mut response: Response,
    include: bool,
) -> anyhow::Result<ExitCode> {
    let ok = response.status().is_success();
    let code = if ok { ExitCode::SUCCESS } else { ExitCode::from(EXIT_REFUSED) };
    // A closed standard error must not suppress the body.
    let _ = std::io::stderr().lock().write_all(head(&response, include).as_bytes());
    let kind = response.headers().get("content-type").and_then(|kind| kind.to_str().ok());
    if kind.is_some_and(|kind| kind.ends_with("json") && !kind.contains("ndjson")) {
        let body: Value = serde_json::from_slice(&response.bytes().await?)?;
        print(&format!("{}\n", pretty(&body, 0)))?;
        return Ok(code);
    }
    while let Some(chunk) = response.chunk().await? {
        print(&String::from_utf8_lossy(&chunk))?;
    }
    Ok(code)
}

fn head(response: &Response, include: bool) -> String {
    let status = style(response.status()).for_stderr();
    let status = if response.status().is_success() { status.green() } else { status.red() };
    let version = style(format!("{:?}", response.version())).dim().for_stderr();
    let first = format!("{version} {status}\n");
    let headers = response.headers().iter().filter(|_| include).map(|(name, value)| {
        let value = String::from_utf8_lossy(value.as_bytes());
        format!("{} {value}\n", style(format!("{name}:")).cyan().for_stderr())
    });
    std::iter::once(first).chain(headers).collect()
}

/// Formats JSON with two spaces per level and a colour per type.
fn pretty(value: &Value, depth: usize) -> String {
    let (outer, inner) = ("  ".repeat(depth), "  ".repeat(depth + 1));
    match value {
        Value::Object(members) if !members.is_empty() => {
            let lines = members.iter().map(|(name, value)| {
                let name = style(&Value::from(name.as_str()).to_string()).cyan().to_string();
                format!("{inner}{name}: {}", pretty(value, depth + 1))
            });
            format!("{{\n{}\n{outer}}}", lines.collect::<Vec<_>>().join(",\n"))
        }
        Value::Array(items) if !items.is_empty() => {
            let lines = items.iter().map(|v| format!("{inner}{}", pretty(v, depth + 1)));
            format!("[\n{}\n{outer}]", lines.collect::<Vec<_>>().join(",\n"))
        }
        Value::String(_) => style(value).green().to_string(),
        Value::Number(_) => style(value).yellow().to_string(),
        other => style(other).dim().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pretty_json_is_json() {
        console::set_colors_enabled(false);
        let value = serde_json::json!({"a": [1, {"b": null}], "c": {}, "d": "e\n"});
        let text = pretty(&value, 0);
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
    }
}
