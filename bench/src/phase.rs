//! One measurement phase: signs the proofs, warms up, and measures the same load, sampling every
//! process before and after.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use futures_util::StreamExt;
use reqwest::Response;
use serde::Deserialize;
use serde_json::Value;
use tokio::time::Instant;

use crate::clients::{RequestTemplate, pick_connections};
use crate::environment::{Environment, MeasuredProcess};
use crate::load::{closed, open, schedule};
use crate::options::{Form, LoadArguments, Pace, Target};
use crate::presigned::{self, MAX_PROOFS, PresignedRequest};
use crate::recorder::{Figures, Outcome, Recorder, Reply};
use crate::report::{CpuUse, Phase, ProcessFigures};
use crate::system::{Processes, Usage, busy_time, cores};

/// A request that takes longer counts as failed.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);
/// Requests a second to sign proofs for before the real rate is known.
const ASSUMED_RATE: u32 = 3000;

/// Measures one target.
pub(crate) async fn run(
    environment: &Environment,
    target: Target,
    length: Duration,
    arguments: &LoadArguments,
) -> anyhow::Result<Phase> {
    let (templates, flood) = split(environment.templates(target).await?, arguments.flood)?;
    let run = Run { templates, flood, target, pace: arguments.pace() };
    let warmup = Duration::from_secs(arguments.warmup.into());
    let warm = run.load(warmup, ASSUMED_RATE, !arguments.seed).await?;
    let expected = (warm.figures().per_second * 1.5) as u32 + 10;
    let flood = run.presign_flood(length).await?;
    let requests = run.presign(length, expected, arguments.seed).await?;
    let processes = environment.measured_processes()?;
    let before = UsageSample::take(&processes)?;
    let (recorder, flood_sent) = tokio::join!(run.send(length, requests), run.send_flood(flood));
    let (recorder, ()) = (recorder?, flood_sent?);
    let after = UsageSample::take(&processes)?;
    let figures = recorder.figures();
    let used = cpu_use(&processes, &before, &after, figures.requests);
    Ok(Phase { name: target.name(), target, figures, used })
}

/// Loads one target and records responses only, no processes.
pub(crate) async fn alone(
    environment: &Environment,
    target: Target,
    length: Duration,
    arguments: &LoadArguments,
) -> anyhow::Result<Recorder> {
    let (templates, pace) = (environment.templates(target).await?, arguments.pace());
    let run = Run { templates, flood: None, target, pace };
    run.load(length, ASSUMED_RATE, arguments.seed).await
}

/// Splits the connections into measured ones and those of the flooding tenant.
fn split(
    templates: Arc<Vec<RequestTemplate>>,
    flood: Option<NonZeroU32>,
) -> anyhow::Result<(Arc<Vec<RequestTemplate>>, Option<Flood>)> {
    let Some(rate) = flood else { return Ok((templates, None)) };
    let templates = Arc::into_inner(templates).context("the templates are not shared")?;
    let first = templates.first().context("there is no connection")?.tenant().to_owned();
    let (flooding, others): (Vec<_>, Vec<_>) =
        templates.into_iter().partition(|template| template.tenant() == first);
    anyhow::ensure!(!others.is_empty(), "There is only one tenant: use more connections.");
    Ok((Arc::new(others), Some(Flood { templates: Arc::new(flooding), rate: rate.get() })))
}

/// Background load of a tenant that is not measured.
struct Flood {
    templates: Arc<Vec<RequestTemplate>>,
    rate: u32,
}

struct Run {
    templates: Arc<Vec<RequestTemplate>>,
    flood: Option<Flood>,
    target: Target,
    pace: Pace,
}

impl Run {
    async fn load(&self, length: Duration, expected: u32, seed: u64) -> anyhow::Result<Recorder> {
        let requests = self.presign(length, expected, seed).await?;
        self.send(length, requests).await
    }

    /// Signs the requests of the flood.
    async fn presign_flood(&self, length: Duration) -> anyhow::Result<Vec<PresignedRequest>> {
        let Some(Flood { templates, rate }) = &self.flood else { return Ok(vec![]) };
        let count = (f64::from(*rate) * length.as_secs_f64()) as usize;
        let picks = pick_connections(templates.len(), count, 0);
        presigned::sign(templates, &picks, Pace::Open { rate: *rate }, length).await
    }

    /// Signs the requests that the schedule needs, or `expected` a second for a closed loop.
    async fn presign(
        &self,
        length: Duration,
        expected: u32,
        seed: u64,
    ) -> anyhow::Result<Vec<PresignedRequest>> {
        let seconds = length.as_secs_f64();
        let count = match self.pace {
            Pace::Open { rate } => f64::from(rate) * seconds,
            Pace::Closed { .. } => (f64::from(expected) * seconds).min(MAX_PROOFS as f64),
        };
        let picks = pick_connections(self.templates.len(), count as usize, seed);
        presigned::sign(&self.templates, &picks, self.pace, length).await
    }

    async fn send_flood(&self, requests: Vec<PresignedRequest>) -> anyhow::Result<()> {
        let Some(Flood { templates, rate }) = &self.flood else { return Ok(()) };
        let send = async |number: usize| {
            let request: &PresignedRequest = &requests[number];
            self.send_one(&templates[request.connection], &request.proof).await
        };
        let recorder = open(schedule(requests.len(), *rate)?, send).await;
        let Figures { failed, requests: all, .. } = recorder.figures();
        // A refused flood would not be a load.
        anyhow::ensure!(failed == 0, "{failed} of {all} flood requests failed: lower --flood.");
        Ok(())
    }

    async fn send(
        &self,
        length: Duration,
        requests: Vec<PresignedRequest>,
    ) -> anyhow::Result<Recorder> {
        let send = async |number: usize| {
            let request = &requests[number];
            self.send_one(&self.templates[request.connection], &request.proof).await
        };
        Ok(match self.pace {
            Pace::Open { rate } => open(schedule(requests.len(), rate)?, send).await,
            Pace::Closed { clients } => closed(clients, requests.len(), length, send).await,
        })
    }

    async fn send_one(&self, template: &RequestTemplate, proof: &str) -> Reply {
        match template.request(proof).timeout(RESPONSE_TIMEOUT).send().await {
            Ok(response) => self.read(response).await,
            Err(error) => failed(&error, None, 0),
        }
    }

    async fn read(&self, response: Response) -> Reply {
        let status = response.status();
        let (mut body, mut first_byte) = (Vec::new(), None);
        let mut chunks = response.bytes_stream();
        while let Some(chunk) = chunks.next().await {
            match chunk {
                Ok(chunk) => {
                    first_byte.get_or_insert_with(Instant::now);
                    body.extend_from_slice(&chunk);
                }
                Err(error) => return failed(&error, first_byte, body.len()),
            }
        }
        let done = Instant::now();
        let outcome = if status.is_success() {
            classify(self.target, &body)
        } else {
            Outcome::Failed(format!("{} {}", status.as_u16(), problem_code(&body)))
        };
        Reply { outcome, first_byte, done, bytes: body.len() as u64 }
    }
}

fn failed(error: &reqwest::Error, first_byte: Option<Instant>, bytes: usize) -> Reply {
    let why = if error.is_timeout() {
        "no response within 5 s"
    } else if error.is_connect() {
        "no connection"
    } else {
        "connection lost"
    };
    let outcome = Outcome::Failed(why.to_owned());
    Reply { outcome, first_byte, done: Instant::now(), bytes: bytes as u64 }
}

#[derive(Deserialize)]
struct DashboardEnd {
    partial: bool,
}

/// Classifies a successful response. A dashboard is whole unless `partial` is set in the document, or
/// in the last NDJSON record.
fn classify(target: Target, body: &[u8]) -> Outcome {
    let text = match target {
        Target::Hello | Target::Session(_) | Target::Read(_) => return Outcome::Whole,
        Target::Dashboard(Form::Json) => body,
        Target::Dashboard(Form::Ndjson) => {
            body.trim_ascii_end().rsplit(|byte| *byte == b'\n').next().unwrap_or_default()
        }
    };
    match serde_json::from_slice::<DashboardEnd>(text) {
        Ok(DashboardEnd { partial: false }) => Outcome::Whole,
        Ok(DashboardEnd { partial: true }) => Outcome::Partial,
        Err(_) => Outcome::Failed("200, but not a dashboard".to_owned()),
    }
}

fn problem_code(body: &[u8]) -> String {
    let problem: Value = serde_json::from_slice(body).unwrap_or_default();
    problem["code"].as_str().unwrap_or_default().to_owned()
}

/// CPU and memory use of the measured processes, of this one and of the machine at one moment.
struct UsageSample {
    usages: Vec<Usage>,
    own: Usage,
    /// Of all cores.
    busy: Duration,
    at: Instant,
}

impl UsageSample {
    fn take(processes: &[MeasuredProcess]) -> anyhow::Result<Self> {
        let all = Processes::read()?;
        let usages =
            processes.iter().map(|process| all.usage(process.pid)).collect::<Result<_, _>>()?;
        Ok(Self {
            usages,
            own: all.usage_alone(std::process::id())?,
            busy: busy_time()?,
            at: Instant::now(),
        })
    }
}

/// Computes what each process and the rest of the machine used between two samples.
fn cpu_use(
    processes: &[MeasuredProcess],
    before: &UsageSample,
    after: &UsageSample,
    requests: u64,
) -> CpuUse {
    let took = after.at - before.at;
    let of = |name: &str, now: &Usage, then: &Usage| {
        ProcessFigures::new(name, now, now.since(then), requests, took)
    };
    let looks = processes.iter().zip(after.usages.iter().zip(&before.usages));
    let mut processes: Vec<_> =
        looks.map(|(processes, (now, then))| of(&processes.name, now, then)).collect();
    processes.push(of("load generator", &after.own, &before.own));
    let busy = after.busy.saturating_sub(before.busy).div_duration_f64(took);
    let ours: f64 = processes.iter().map(|process| process.cores).sum();
    let others = (busy - ours).max(0.0);
    CpuUse { processes, others, idle: (cores() as f64 - busy).max(0.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dashboard_is_classified_by_its_end() {
        let lines = b"{\"record\":\"skeleton\"}\n{\"record\":\"done\",\"partial\":true}\n";
        assert_eq!(classify(Target::Dashboard(Form::Ndjson), lines), Outcome::Partial);
        let json = br#"{"widgets":{"a":{"data":{"partial":true}}},"partial":false}"#;
        assert_eq!(classify(Target::Dashboard(Form::Json), json), Outcome::Whole);
        let cut = classify(Target::Dashboard(Form::Ndjson), b"{\"record\":\"skeleton\"}\n");
        assert!(matches!(cut, Outcome::Failed(_)));
    }

    #[test]
    fn a_problem_is_named_by_its_code() {
        assert_eq!(problem_code(br#"{"code":"MELMASTOON.X","status":401}"#), "MELMASTOON.X");
        assert_eq!(problem_code(b"<html>"), "");
    }
}
