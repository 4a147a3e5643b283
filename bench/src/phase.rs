//! One phase: proofs made, load to warm up, the same load measured, with a look at every
//! process before and after.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use contracts::clock::Clock;
use futures_util::StreamExt;
use reqwest::Response;
use serde::Deserialize;
use tokio::time::Instant;

use crate::cli::{Form, LoadArguments};
use crate::load::{closed, open, schedule};
use crate::proofs::{self, Pace, Ticket};
use crate::report::{Phase, ProcessFigures, Used};
use crate::seats::{Aim, draw};
use crate::stage::{Stage, Target, Watched};
use crate::system::{Machine, Processes, Usage, cores};
use crate::tally::{Reply, Tally, Verdict};

/// A request that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(5);
/// Requests a second that are prepared for before it is known how many there will be.
const GUESS: u32 = 3000;

/// How the load is made.
#[derive(Debug, Clone, Copy)]
enum Mode {
    Open { rate: u32 },
    Closed { clients: u32 },
}

impl Mode {
    fn of(arguments: &LoadArguments) -> Self {
        match arguments.closed {
            Some(clients) => Self::Closed { clients: clients.get() },
            None => Self::Open { rate: arguments.rate.get() },
        }
    }
}

/// Loads one target for a while.
pub(crate) async fn run(
    stage: &Stage,
    target: Target,
    length: Duration,
    arguments: &LoadArguments,
) -> anyhow::Result<Phase> {
    let (aims, flood) = split(stage.aims(target).await?, arguments.flood)?;
    let run = Run { aims, flood, target, mode: Mode::of(arguments) };
    let warmup = Duration::from_secs(arguments.warmup.into());
    let warm = run.load(warmup, GUESS, !arguments.seed).await?;
    let expected = (warm.throughput() * 1.5) as u32 + 10;
    let flood = run.flood(length).await?;
    let tickets = run.tickets(length, expected, arguments.seed).await?;
    let watched = stage.watched()?;
    let before = Look::now(&watched)?;
    let (tally, beside) = tokio::join!(run.send(length, tickets), run.pour(flood));
    let (tally, ()) = (tally?, beside?);
    let after = Look::now(&watched)?;
    Ok(Phase::new(target, &tally, figures(&watched, &before, &after, &tally)))
}

/// Loads one target for a while and looks at nothing but the answers.
pub(crate) async fn alone(
    stage: &Stage,
    target: Target,
    length: Duration,
    arguments: &LoadArguments,
) -> anyhow::Result<Tally> {
    let (aims, mode) = (stage.aims(target).await?, Mode::of(arguments));
    let run = Run { aims, flood: None, target, mode };
    run.load(length, GUESS, arguments.seed).await
}

/// Whose requests are measured, and of whom a flood comes.
fn split(
    aims: Arc<Vec<Aim>>,
    flood: Option<NonZeroU32>,
) -> anyhow::Result<(Arc<Vec<Aim>>, Option<Flood>)> {
    let Some(rate) = flood else { return Ok((aims, None)) };
    let aims = Arc::into_inner(aims).context("the aims are this phase's alone")?;
    let first = aims.first().context("there is no connection")?.tenant().to_owned();
    let (flooding, others): (Vec<_>, Vec<_>) =
        aims.into_iter().partition(|it| it.tenant() == first);
    anyhow::ensure!(!others.is_empty(), "There is one tenant only: take more connections.");
    Ok((Arc::new(others), Some(Flood { aims: Arc::new(flooding), rate: rate.get() })))
}

/// Requests of a tenant that is not measured.
struct Flood {
    aims: Arc<Vec<Aim>>,
    rate: u32,
}

struct Run {
    aims: Arc<Vec<Aim>>,
    flood: Option<Flood>,
    target: Target,
    mode: Mode,
}

impl Run {
    async fn load(&self, length: Duration, expected: u32, seed: u64) -> anyhow::Result<Tally> {
        let tickets = self.tickets(length, expected, seed).await?;
        self.send(length, tickets).await
    }

    /// What is sent while the others are measured.
    async fn flood(&self, length: Duration) -> anyhow::Result<Vec<Ticket>> {
        let Some(Flood { aims, rate }) = &self.flood else { return Ok(vec![]) };
        let count = (f64::from(*rate) * length.as_secs_f64()) as usize;
        let draw = draw(aims.len(), count, 0);
        proofs::make(aims, &draw, Pace::Scheduled { rate: *rate }, &Clock::system()).await
    }

    /// As many as the schedule needs, or as `expected` a second makes likely.
    async fn tickets(
        &self,
        length: Duration,
        expected: u32,
        seed: u64,
    ) -> anyhow::Result<Vec<Ticket>> {
        let seconds = length.as_secs_f64();
        let (count, pace) = match self.mode {
            Mode::Open { rate } => (f64::from(rate) * seconds, Pace::Scheduled { rate }),
            Mode::Closed { .. } => {
                let likely = f64::from(expected) * seconds;
                (likely.min(proofs::MOST as f64), Pace::Within { length })
            }
        };
        let draw = draw(self.aims.len(), count as usize, seed);
        proofs::make(&self.aims, &draw, pace, &Clock::system()).await
    }

    async fn pour(&self, tickets: Vec<Ticket>) -> anyhow::Result<()> {
        let Some(Flood { aims, rate }) = &self.flood else { return Ok(()) };
        let send = async |number: usize| {
            let ticket: &Ticket = &tickets[number];
            self.ask(&aims[ticket.seat], &ticket.proof).await
        };
        let tally = open(schedule(tickets.len(), *rate)?, send).await;
        let (failed, all) = (tally.failed(), tally.requests());
        // A flood that is refused is not one.
        anyhow::ensure!(
            failed == 0,
            "Of the flood's {all} requests {failed} failed: lower --flood."
        );
        Ok(())
    }

    async fn send(&self, length: Duration, tickets: Vec<Ticket>) -> anyhow::Result<Tally> {
        let send = async |number: usize| {
            let ticket = &tickets[number];
            self.ask(&self.aims[ticket.seat], &ticket.proof).await
        };
        Ok(match self.mode {
            Mode::Open { rate } => open(schedule(tickets.len(), rate)?, send).await,
            Mode::Closed { clients } => closed(clients, tickets.len(), length, send).await,
        })
    }

    async fn ask(&self, aim: &Aim, proof: &str) -> Reply {
        match aim.request(proof).timeout(PATIENCE).send().await {
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
        let verdict = if status.is_success() {
            judge(self.target, &body)
        } else {
            Verdict::Failed(format!("{} {}", status.as_u16(), problem_code(&body)))
        };
        Reply { verdict, first_byte, done, bytes: body.len() as u64 }
    }
}

fn failed(error: &reqwest::Error, first_byte: Option<Instant>, bytes: usize) -> Reply {
    let why = if error.is_timeout() {
        "no answer within 5 s"
    } else if error.is_connect() {
        "no connection"
    } else {
        "the connection broke"
    };
    let verdict = Verdict::Failed(why.to_owned());
    Reply { verdict, first_byte, done: Instant::now(), bytes: bytes as u64 }
}

#[derive(Deserialize)]
struct Ending {
    partial: bool,
}

/// Whether a dashboard is whole: `partial` of the document, or of the last record. Of anything
/// else the status has said it.
fn judge(target: Target, body: &[u8]) -> Verdict {
    let text = match target {
        Target::Hello | Target::Session(_) | Target::Read(_) => return Verdict::Whole,
        Target::Dashboard(Form::Json) => body,
        Target::Dashboard(Form::Ndjson) => {
            body.trim_ascii_end().rsplit(|byte| *byte == b'\n').next().unwrap_or_default()
        }
    };
    match serde_json::from_slice::<Ending>(text) {
        Ok(Ending { partial: false }) => Verdict::Whole,
        Ok(Ending { partial: true }) => Verdict::Partial,
        Err(_) => Verdict::Failed("200, but not a dashboard".to_owned()),
    }
}

fn problem_code(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Coded {
        code: String,
    }
    serde_json::from_slice::<Coded>(body).map(|it| it.code).unwrap_or_default()
}

/// Every watched process, this one and the whole machine at one moment.
struct Look {
    usages: Vec<Usage>,
    own: Usage,
    machine: Machine,
    at: Instant,
}

impl Look {
    fn now(watched: &[Watched]) -> anyhow::Result<Self> {
        let processes = Processes::look()?;
        let usages = watched.iter().map(|it| processes.usage(it.pid)).collect::<Result<_, _>>()?;
        Ok(Self {
            usages,
            own: processes.usage_alone(std::process::id())?,
            machine: Machine::look()?,
            at: Instant::now(),
        })
    }
}

/// What each process spent, and last what the rest of the machine did meanwhile.
fn figures(watched: &[Watched], before: &Look, after: &Look, tally: &Tally) -> Used {
    let (requests, took) = (tally.requests(), after.at - before.at);
    let of = |name: &str, now: &Usage, then: &Usage| {
        ProcessFigures::new(name, now, now.since(then), requests, took)
    };
    let looks = watched.iter().zip(after.usages.iter().zip(&before.usages));
    let mut processes: Vec<_> =
        looks.map(|(watched, (now, then))| of(&watched.name, now, then)).collect();
    processes.push(of("load generator", &after.own, &before.own));
    let busy = after.machine.busy_since(&before.machine).div_duration_f64(took);
    let ours: f64 = processes.iter().map(|process| process.cores).sum();
    let others = (busy - ours).max(0.0);
    Used { processes, others, idle: (cores() as f64 - busy).max(0.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dashboard_is_judged_by_its_end() {
        let lines = b"{\"record\":\"skeleton\"}\n{\"record\":\"done\",\"partial\":true}\n";
        assert_eq!(judge(Target::Dashboard(Form::Ndjson), lines), Verdict::Partial);
        let json = br#"{"widgets":{"a":{"data":{"partial":true}}},"partial":false}"#;
        assert_eq!(judge(Target::Dashboard(Form::Json), json), Verdict::Whole);
        let cut = judge(Target::Dashboard(Form::Ndjson), b"{\"record\":\"skeleton\"}\n");
        assert!(matches!(cut, Verdict::Failed(_)));
    }

    #[test]
    fn a_problem_is_named_by_its_code() {
        assert_eq!(problem_code(br#"{"code":"MELMASTOON.X","status":401}"#), "MELMASTOON.X");
        assert_eq!(problem_code(b"<html>"), "");
    }
}
