//! Replay attacker: sends stolen proofs repeatedly, over many connections, to every instance.

use std::collections::BTreeMap;

use anyhow::Context;
use contracts::clock::Clock;
use futures_util::{StreamExt, stream};
use launcher::desktop::{Call, Desktop};
use reqwest::Method;
use serde_json::Value;

use crate::drill_env::DrillEnv;

/// Maximum requests in flight.
const MAX_IN_FLIGHT: usize = 64;
const REPLAYED_PATH: &str = "/session";
const DPOP_INVALID_CODE: &str = "MELMASTOON.BFF.DPOP_INVALID";

/// Token and proof of one request, valid until the proof expires.
#[derive(Debug, Clone)]
pub struct StolenProof {
    token: String,
    proof: String,
}

/// Outcome of one replayed request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReplayOutcome {
    Accepted,
    /// 401 `DPOP_INVALID`
    Refused,
    Other(String),
}

/// Outcomes of many requests.
#[derive(Debug, Default)]
pub struct ReplayCounts {
    /// Times each proof was accepted.
    pub accepted: Vec<usize>,
    pub refused: usize,
    pub other: BTreeMap<String, usize>,
}

impl ReplayCounts {
    fn add(mut self, proof: usize, outcome: ReplayOutcome) -> Self {
        match outcome {
            ReplayOutcome::Accepted => self.accepted[proof] += 1,
            ReplayOutcome::Refused => self.refused += 1,
            ReplayOutcome::Other(what) => *self.other.entry(what).or_default() += 1,
        }
        self
    }

    /// Number of acceptances beyond the first of each proof.
    pub fn replayed(&self) -> usize {
        self.accepted.iter().map(|times| times.saturating_sub(1)).sum()
    }

    pub fn used(&self) -> usize {
        self.accepted.iter().filter(|times| **times > 0).count()
    }
}

/// Has its own connections. Connection n goes to instance n modulo the number of instances.
#[derive(Debug)]
pub struct Attacker<'a> {
    env: &'a DrillEnv,
    connections: Vec<Desktop>,
}

impl<'a> Attacker<'a> {
    /// `connections`: number per instance.
    pub fn with(env: &'a DrillEnv, connections: usize) -> anyhow::Result<Self> {
        let (info, folder) = (env.stack.info(), env.folder.join("desktop"));
        let username = &env.desktop.operator().username;
        let gateways = env.gateways();
        let connection = |number: usize| {
            let mut info = info.clone();
            info.gateway = gateways[number % gateways.len()].clone();
            Desktop::open(&info, username, &folder, Clock::system())
        };
        let connections =
            (0..connections * gateways.len()).map(connection).collect::<anyhow::Result<_>>()?;
        Ok(Self { env, connections })
    }

    /// Creates the credentials that the operator's desktop would send next.
    pub async fn steal_proof(&self) -> anyhow::Result<StolenProof> {
        let desktop = &self.env.desktop;
        let (token, url) = (desktop.access_token().await?, desktop.url(REPLAYED_PATH)?);
        let proof = desktop.proof(&Method::GET, &url, &token).sign(desktop.key())?;
        Ok(StolenProof { token, proof })
    }

    pub async fn steal_proofs(&self, count: usize) -> anyhow::Result<Vec<StolenProof>> {
        let mut stolen = Vec::with_capacity(count);
        for _ in 0..count {
            stolen.push(self.steal_proof().await?);
        }
        Ok(stolen)
    }

    /// Sends over connection number `connection`.
    pub async fn send(&self, connection: usize, stolen: &StolenProof) -> ReplayOutcome {
        let desktop = &self.connections[connection % self.connections.len()];
        match send_once(desktop, stolen).await {
            Ok((200, _)) => ReplayOutcome::Accepted,
            Ok((401, code)) if code == DPOP_INVALID_CODE => ReplayOutcome::Refused,
            Ok((status, code)) => ReplayOutcome::Other(format!("{status} {code}")),
            Err(error) => ReplayOutcome::Other(format!("no response: {:#}", error.root_cause())),
        }
    }

    /// Sends a fresh request to an instance.
    pub async fn send_fresh(&self, instance: usize) -> anyhow::Result<ReplayOutcome> {
        Ok(self.send(instance, &self.steal_proof().await?).await)
    }

    /// Sends each proof `copies` times over all connections. If `racing`, all copies of a proof are sent
    /// at once, its first use included; otherwise every proof once, then every proof again.
    pub async fn flood(&self, stolen: &[StolenProof], copies: usize, racing: bool) -> ReplayCounts {
        let counts = ReplayCounts { accepted: vec![0; stolen.len()], ..ReplayCounts::default() };
        let requests = stream::iter(0..stolen.len() * copies).map(|number| async move {
            let proof = if racing { number / copies } else { number % stolen.len() };
            (proof, self.send(number, &stolen[proof]).await)
        });
        requests
            .buffer_unordered(MAX_IN_FLIGHT)
            .fold(counts, async |counts, (proof, outcome)| counts.add(proof, outcome))
            .await
    }
}

async fn send_once(desktop: &Desktop, stolen: &StolenProof) -> anyhow::Result<(u16, String)> {
    let request = desktop.request(&Call::get(REPLAYED_PATH), &stolen.token, &stolen.proof)?;
    let answer = request.send().await?;
    let status = answer.status().as_u16();
    let body: Value = answer.json().await.context("a response is JSON")?;
    Ok((status, body["code"].as_str().unwrap_or_default().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_acceptances_are_counted() {
        let counts = ReplayCounts { accepted: vec![0; 3], ..ReplayCounts::default() };
        let answers = [
            (0, ReplayOutcome::Accepted),
            (1, ReplayOutcome::Accepted),
            (1, ReplayOutcome::Accepted),
        ];
        let counts = answers
            .into_iter()
            .fold(counts, |counts, (proof, outcome)| counts.add(proof, outcome))
            .add(0, ReplayOutcome::Refused);
        assert_eq!((counts.used(), counts.replayed(), counts.refused), (2, 1, 1));
    }
}
