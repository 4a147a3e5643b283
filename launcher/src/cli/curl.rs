//! `launcher curl`: one request as a signed-in desktop, its answer in colour.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use contracts::clock::Clock;
use reqwest::header::{ACCEPT, HeaderName, HeaderValue};
use reqwest::{Method, Response};
use serde_json::Value;

use super::print;
use crate::desktop::{Call, Desktop};
use crate::folder::DataFolder;
use crate::info::{Operator, StackInfo};
use crate::paint::Paint;

/// What `curl --fail` answers to a refusal.
pub(super) const REFUSED: u8 = 22;

#[derive(Debug, Args)]
pub(super) struct CurlArguments {
    /// GET, POST, PUT, DELETE …
    method: Method,
    /// Relative to the API's base: '/dashboard?propertyId=…'.
    path: String,
    /// Who signs in; the first demo operator unless given.
    #[arg(long, short)]
    user: Option<String>,
    /// Body, as JSON.
    #[arg(long, short)]
    data: Option<String>,
    /// Further header, 'Name: value'.
    #[arg(long, short = 'H', value_name = "HEADER")]
    header: Vec<String>,
    /// Show the answer's headers.
    #[arg(long, short)]
    include: bool,
    /// Ask for one JSON record per line, shown as they come.
    #[arg(long)]
    ndjson: bool,
}

/// The desktop of one operator of the running stack.
pub(super) fn desktop(local: &Path, user: Option<&str>, clock: Clock) -> anyhow::Result<Desktop> {
    let info = StackInfo::read(&local.join("stack.json"))?;
    let user = operator(&info, user)?.username.as_str();
    let folder = DataFolder::open(local)?.dir("desktop")?;
    Desktop::open(&info, user, &folder, clock)
}

/// The demo operator of this name, or the first.
pub(super) fn operator<'a>(
    info: &'a StackInfo,
    user: Option<&str>,
) -> anyhow::Result<&'a Operator> {
    match user {
        Some(user) => info.operator(user),
        None => info.operators.first().context("the stack has no demo operators"),
    }
}

pub(super) async fn run(
    arguments: CurlArguments,
    local: PathBuf,
    clock: Clock,
) -> anyhow::Result<ExitCode> {
    let desktop = desktop(&local, arguments.user.as_deref(), clock)?;
    let response = desktop.send(&arguments.call()?).await?;
    let ok = response.status().is_success();
    show(response, arguments.include).await?;
    Ok(if ok { ExitCode::SUCCESS } else { ExitCode::from(REFUSED) })
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

/// The status goes to standard error, so that the body can be piped into `jq`.
pub(super) async fn show(mut response: Response, include: bool) -> anyhow::Result<()> {
    let paint = Paint::for_stdout();
    eprint(&head(&response, include));
    let kind = response.headers().get("content-type").and_then(|kind| kind.to_str().ok());
    if kind.is_some_and(|kind| kind.ends_with("json") && !kind.contains("ndjson")) {
        let body: Value = serde_json::from_slice(&response.bytes().await?)?;
        return Ok(print(&format!("{}\n", pretty(&body, paint, 0)))?);
    }
    while let Some(chunk) = response.chunk().await? {
        print(&String::from_utf8_lossy(&chunk))?;
    }
    Ok(())
}

fn head(response: &Response, include: bool) -> String {
    let paint = Paint::for_stderr();
    let status = response.status().to_string();
    let status =
        if response.status().is_success() { paint.green(&status) } else { paint.red(&status) };
    let first = format!("{} {status}\n", paint.dim(&format!("{:?}", response.version())));
    let headers = response.headers().iter().filter(|_| include).map(|(name, value)| {
        let value = String::from_utf8_lossy(value.as_bytes());
        format!("{} {value}\n", paint.cyan(&format!("{name}:")))
    });
    std::iter::once(first).chain(headers).collect()
}

fn eprint(text: &str) {
    // A closed standard error takes nothing from the answer.
    let _ = std::io::Write::write_all(&mut std::io::stderr().lock(), text.as_bytes());
}

/// JSON with two spaces per level and a colour per kind.
fn pretty(value: &Value, paint: Paint, depth: usize) -> String {
    let (outer, inner) = ("  ".repeat(depth), "  ".repeat(depth + 1));
    match value {
        Value::Object(members) if !members.is_empty() => {
            let lines = members.iter().map(|(name, value)| {
                let name = paint.cyan(&Value::from(name.as_str()).to_string());
                format!("{inner}{name}: {}", pretty(value, paint, depth + 1))
            });
            format!("{{\n{}\n{outer}}}", lines.collect::<Vec<_>>().join(",\n"))
        }
        Value::Array(items) if !items.is_empty() => {
            let lines = items.iter().map(|v| format!("{inner}{}", pretty(v, paint, depth + 1)));
            format!("[\n{}\n{outer}]", lines.collect::<Vec<_>>().join(",\n"))
        }
        Value::String(_) => paint.green(&value.to_string()),
        Value::Number(_) => paint.yellow(&value.to_string()),
        other => paint.dim(&other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pretty_json_is_json() {
        let value = serde_json::json!({"a": [1, {"b": null}], "c": {}, "d": "e\n"});
        let text = pretty(&value, Paint::never(), 0);
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
    }
}
